"""`python -m steps.fetch_weights`: arguments in, exit code out."""

from __future__ import annotations

import argparse
import gc
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path

from delivery.job import frame
from delivery.job.host_registry import read_hosts, read_job_name
from steps.fetch_weights import expectations, step
from steps.fetch_weights.models import FetchArguments

_RESOURCES = Path("/opt/ml/config/resourceconfig.json")  # where SageMaker puts it
_JOB = "processingjobconfig.json"  # beside it
_NEW_OBJECTS = 50_000  # before garbage is looked for; the clients that are imported are many times that, and all of them stay


def main(arguments: Sequence[str]) -> None:
    """Read the arguments, do the work."""
    parser = argparse.ArgumentParser(prog="python -m steps.fetch_weights", description=step.__doc__)
    parser.add_argument("--release", type=Path, required=True, help="the resolved model file, release.json")
    parser.add_argument("--hub-endpoint", required=True, help="the Hub's URL, as in https://huggingface.co")
    parser.add_argument(
        "--execution",
        default="",
        help="a name for this run in the journal (default: the processing job's; the release gives none, as its fetch is cached)",
    )
    parser.add_argument("--output", type=Path, required=True, help="the folder that weights.json is written to")
    parser.add_argument(
        "--resource-config", type=Path, default=_RESOURCES, help="which hosts share the fetch (default: %(default)s)"
    )
    parser.add_argument(
        "--expectations",
        action=argparse.BooleanOptionalAction,
        help="check the manifest with the great_expectations suite, too (default: of 10 GB and more, if it is installed)",
    )
    given = parser.parse_args(arguments)
    gc.set_threshold(_NEW_OBJECTS)
    release = frame.read_release(given.release)
    hosts = read_hosts(given.resource_config, release.model.weights.hosts)
    execution = given.execution or read_job_name(given.resource_config.with_name(_JOB)) or f"run-{uuid.uuid4().hex[:12]}"
    step.run(
        FetchArguments(release, given.hub_endpoint, execution, given.output, hosts, expectations.checker(given.expectations))
    )
    gc.freeze()  # the process ends: looking for garbage first takes longer than asking S3 for a finished manifest


if __name__ == "__main__":
    sys.exit(frame.main(main, sys.argv[1:]))
