"""`python -m steps.reject`: arguments in, exit code out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from delivery.job import frame
from steps.reject import step


def main(arguments: Sequence[str]) -> None:
    """Read the arguments, do the work."""
    parser = argparse.ArgumentParser(prog="python -m steps.reject", description=step.__doc__)
    parser.add_argument("--release", type=Path, required=True, help="the resolved model file, release.json")
    parser.add_argument("--model-package", required=True, help="the version's ARN")
    parser.add_argument("--execution", required=True, help="which pipeline execution this is")
    parser.add_argument("--evaluation", type=Path, required=True, help="the evaluation.json that the gate read")
    parser.add_argument("--output", type=Path, required=True, help="the folder that rejection.json is written to")
    given = parser.parse_args(arguments)
    step.run(frame.read_release(given.release), given.model_package, given.execution, given.evaluation, given.output)


if __name__ == "__main__":
    sys.exit(frame.main(main, sys.argv[1:]))
