"""`python -m steps.reap`: arguments in, exit code out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from delivery.job import frame
from steps.reap import step
from steps.reap.models import ReapArguments


def main(arguments: Sequence[str]) -> None:
    """Read the arguments, do the work."""
    parser = argparse.ArgumentParser(prog="python -m steps.reap", description=step.__doc__)
    parser.add_argument("--region", required=True, help="the AWS region to look in")
    parser.add_argument("--dry-run", action="store_true", help="say what would be deleted, delete nothing")
    parser.add_argument(
        "--wait-s",
        type=float,
        default=1800,
        help="how long to wait for endpoints that are still starting (SageMaker deletes none)",
    )
    parser.add_argument("--output", type=Path, help="a folder to write reaped.json to")
    given = parser.parse_args(arguments)
    step.run(ReapArguments(given.region, given.dry_run, given.wait_s, given.output))


if __name__ == "__main__":
    sys.exit(frame.main(main, sys.argv[1:]))
