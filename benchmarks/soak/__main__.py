"""Release many times, print a table, exit with 1 when something grows: ``python -m benchmarks.soak [--releases N] [--models N]``."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from unittest import mock

from benchmarks.soak.growth import growing
from benchmarks.soak.stack import soak


def main() -> int:
    """Soak a stack in a temporary folder; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--releases", type=int, default=100, help="in a row (default 100)")
    parser.add_argument("--models", type=int, default=20, help="at once (default 20)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as made:
        folder = Path(made)
        with mock.patch.dict(os.environ, {"TMPDIR": str(folder / "tmp")}):
            found = soak(folder, options.releases, options.models)
    print(f"{options.models} models at once: {found.at_once_s:.1f} s")
    said = growing(found)
    print("\n".join(said) if said else "nothing grows")
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
