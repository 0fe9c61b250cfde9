"""`python -m steps.promote`: arguments in, exit code out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from delivery.job import frame
from delivery.names import NOT_GIVEN
from steps.promote import step
from steps.promote.models import PromotionArguments


def main(arguments: Sequence[str]) -> None:
    """Read the arguments, do the work."""
    parser = argparse.ArgumentParser(prog="python -m steps.promote", description=step.__doc__)
    parser.add_argument("--release", type=Path, required=True, help="the resolved model file, release.json")
    parser.add_argument("--model-package", required=True, help="the version's ARN")
    parser.add_argument("--execution", required=True, help="which pipeline execution this is")
    parser.add_argument(
        "--approval", choices=["manual", "automatic"], required=True, help="automatic: approve a pending version first"
    )
    parser.add_argument(
        "--intent",
        choices=["promotion", "rollback", "retirement"],
        default="promotion",
        help="rollback: to a version that production served; retirement: the endpoint is taken out of service",
    )
    parser.add_argument("--by", default=NOT_GIVEN, help="who asked for a rollback or a retirement")
    parser.add_argument("--comment", default=NOT_GIVEN, help="and why")
    parser.add_argument("--ledger-seen", default=NOT_GIVEN, help="the ledger's last event that a rollback was asked for by")
    parser.add_argument("--output", type=Path, required=True, help="the folder that promotion.json is written to")
    given = parser.parse_args(arguments)
    step.run(
        PromotionArguments(
            frame.read_release(given.release),
            given.model_package,
            given.execution,
            given.approval,
            given.output,
            given.intent,
            given.by,
            given.comment,
            None if given.ledger_seen == NOT_GIVEN else int(given.ledger_seen),
        )
    )


if __name__ == "__main__":
    sys.exit(frame.main(main, sys.argv[1:]))
