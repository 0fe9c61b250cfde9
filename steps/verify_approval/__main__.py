"""`python -m steps.verify_approval`: arguments in, exit code out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from steps import job
from steps.verify_approval import step


def main(arguments: Sequence[str]) -> None:
    """Read the arguments, do the work."""
    parser = argparse.ArgumentParser(prog="python -m steps.verify_approval", description=step.__doc__)
    parser.add_argument("--model-package", required=True, help="the version's ARN")
    parser.add_argument(
        "--output", type=Path, required=True, help="the folder that approval.json and release.json are written to"
    )
    given = parser.parse_args(arguments)
    step.run(given.model_package, given.output)


if __name__ == "__main__":
    sys.exit(job.main(main, sys.argv[1:]))
