"""`python -m steps.evaluate_staging`: arguments in, exit code out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from delivery.job import frame, host_registry
from steps.evaluate_staging import step
from steps.evaluate_staging.coordination import host as coordination
from steps.evaluate_staging.models import EvaluationArguments

_RESOURCES = Path("/opt/ml/config/resourceconfig.json")  # where SageMaker puts it
_JOB = "processingjobconfig.json"  # beside it


def main(arguments: Sequence[str]) -> None:
    """Read the arguments, do the work."""
    parser = argparse.ArgumentParser(prog="python -m steps.evaluate_staging", description=step.__doc__)
    parser.add_argument("--release", type=Path, required=True, help="the resolved model file, release.json")
    parser.add_argument("--model-package", required=True, help="the version's ARN")
    parser.add_argument("--execution", required=True, help="which pipeline execution this is")
    parser.add_argument("--output", type=Path, required=True, help="the folder that evaluation.json is written to")
    parser.add_argument(
        "--resource-config", type=Path, default=_RESOURCES, help="which hosts share the load (default: %(default)s)"
    )
    parser.add_argument(
        "--host-silence-s", type=float, default=60, help="a host that has said nothing for so long is dead (default: %(default)s)"
    )
    given = parser.parse_args(arguments)
    release = frame.read_release(given.release)
    evaluation = release.model.evaluation
    config: Path = given.resource_config
    named = host_registry.read_hosts(config, evaluation.hosts, "evaluation.hosts")
    timing = coordination.Timing(host_silence_s=given.host_silence_s)
    with coordination.join(release, given.execution, named, host_registry.read_job_name(config.with_name(_JOB)), timing) as host:
        if host.leads:
            step.run(EvaluationArguments(release, given.model_package, given.execution, given.output, host))
        else:
            host.follow(evaluation.client_processes)


if __name__ == "__main__":
    sys.exit(frame.main(main, sys.argv[1:]))
