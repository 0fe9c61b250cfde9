"""`python -m steps.verify_approval`: arguments in, exit code out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from delivery.job import frame
from delivery.names import NOT_GIVEN
from steps.verify_approval import step
from steps.verify_approval.models import VerificationArguments


def main(arguments: Sequence[str]) -> None:
    """Read the arguments, do the work."""
    parser = argparse.ArgumentParser(prog="python -m steps.verify_approval", description=step.__doc__)
    parser.add_argument("--model-package", required=True, help="the version's ARN")
    parser.add_argument("--bucket", required=True, help="where the ledger is")
    parser.add_argument(
        "--intent",
        choices=["promotion", "rollback", "retirement"],
        default="promotion",
        help="rollback: to a version that production served; retirement: of the one that it serves",
    )
    parser.add_argument(
        "--output", type=Path, required=True, help="the folder that approval.json and release.json are written to"
    )
    parser.add_argument("--execution", default=NOT_GIVEN, help="which pipeline execution this is")
    given = parser.parse_args(arguments)
    step.run(VerificationArguments(given.model_package, given.bucket, given.intent, given.output, given.execution))


if __name__ == "__main__":
    sys.exit(frame.main(main, sys.argv[1:]))
