"""The staging endpoint: there while the evaluation runs, gone afterwards, whatever happened in between."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from config.schema import Release
from steps.hosting import Deployment, Hosting
from steps.job import progress, say, uninterrupted
from steps.registry import ModelPackage

_CAPACITY_S = 900  # what SageMaker may take to find the instances, on top of download and start-up


@contextmanager
def staging(hosting: Hosting, release: Release, package: ModelPackage, execution: str) -> Iterator[str]:
    """The name of a staging endpoint that serves the version and is InService.

    Deleted on success, failure, exception and SIGTERM. It also carries the time after which `python -m steps.reap` deletes it, for when
    this process is killed outright. StepError when it does not come up, with its container's last words.
    """
    evaluation, serving = release.model.evaluation, release.model.serving
    expires = datetime.now(UTC) + timedelta(seconds=evaluation.max_runtime_s)
    deployment = Deployment(
        release, package, "staging", execution, evaluation.instance_count, expires_at=expires.isoformat(timespec="seconds")
    )
    endpoint = deployment.name
    timeout_s = min(evaluation.max_runtime_s, serving.download_timeout_s + serving.startup_timeout_s + _CAPACITY_S)
    try:
        _clear(hosting, endpoint)
        hosting.create(endpoint, deployment)
        say(f"staging endpoint {endpoint} is being created; it expires at {deployment.expires_at}")
        hosting.wait(endpoint, timeout_s, progress)
        say(f"staging endpoint {endpoint} is InService")
        yield endpoint
    finally:
        with uninterrupted():
            hosting.remove(endpoint)
            say(f"staging endpoint {endpoint} is deleted")


def _clear(hosting: Hosting, endpoint: str) -> None:
    """Remove what a killed earlier try of this step left: its endpoint would expire under this one, or has failed."""
    if hosting.state(endpoint) is not None:
        say(f"{endpoint} is there already, from an earlier try of this step; it is replaced")
        hosting.remove(endpoint)
        hosting.wait_gone(endpoint)
