"""The staging endpoint: there while the evaluation runs, gone afterwards, whatever happened in between."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from config.schema import Release
from delivery.endpoint.deployment import Deployment
from delivery.endpoint.hosting import EndpointState, Hosting
from delivery.errors import DeliveryError, followed_by
from delivery.job.frame import progress, uninterrupted
from delivery.registry.model_packages import ModelPackage

logger = logging.getLogger(__name__)

_NO_CAPACITY = ("InsufficientInstanceCapacity", "CapacityError", "ResourceLimitExceeded")
"""How AWS says that it has none of these instances for this account now: in DescribeEndpoint's FailureReason ("Unable to provision
requested ML compute capacity due to InsufficientInstanceCapacity error", quoted in aws/deep-learning-containers, pull request 6673;
"CapacityError: …" before that), or as CreateEndpoint's error (ResourceLimitExceeded: the account's quota is in use)."""


@dataclass
class StagingEndpoint:
    """A staging endpoint that is InService."""

    endpoint: str
    instance_type: str
    """What it runs on: one of `evaluation.staging.instance_types`."""
    until_s: float
    """When it expires, on the monotonic clock. Seconds."""
    state: EndpointState
    """What it was when it came up."""
    left_behind: str = ""
    """Behind the `with` block: why it could not be deleted, and who deletes it; empty when it is gone."""


@contextmanager
def staging(hosting: Hosting, release: Release, package: ModelPackage, execution: str) -> Iterator[StagingEndpoint]:
    """Keep a staging endpoint for the time of the `with` block. It is deleted on success, failure, exception and SIGTERM.

    Where there is no capacity, other instance types are tried, and all of them again, as the model file says. (SageMaker's own instance pools
    are not used: a pool may mix types, and numbers of a mixture are nobody's.) The endpoint also carries the time after which
    `python -m steps.reap` deletes it, for when this process is killed outright.

    Args:
        hosting: The endpoints of the environment's account.
        release: The resolved model file.
        package: The version to serve.
        execution: The pipeline execution.

    Yields:
        The endpoint, InService. That it cannot be deleted costs nothing that was measured, and hides no other failure: `left_behind` says so.

    Raises:
        DeliveryError: It did not come up; with the last lines of its container's log.
    """
    start = _Start(hosting, release, package, execution)
    try:
        staged = start.run()
        yield staged
    except DeliveryError as error:
        if left := start.end():
            raise followed_by(error, left) from error
        raise
    except BaseException:
        start.end()
        raise
    staged.left_behind = start.end()


class _Start:
    """The tries to bring one up."""

    def __init__(self, hosting: Hosting, release: Release, package: ModelPackage, execution: str) -> None:
        self._hosting, self._release, self._package, self._execution = hosting, release, package, execution
        self.endpoint = self._deployment(release).name
        self._until_s = 0.0
        self._expires_at: str | None = None

    def run(self) -> StagingEndpoint:
        """Try every instance type, then all again; DeliveryError when none comes up."""
        wanted = self._release.model.evaluation.staging
        types = wanted.instance_types or [self._release.model.serving.instance_type]
        for retry in range(wanted.capacity_retries + 1):
            if retry:
                logger.info(f"trying again in {wanted.capacity_wait_s:g} s, {retry} of {wanted.capacity_retries}")
                progress(f"no capacity of {' or '.join(types)}; waiting, retry {retry} of {wanted.capacity_retries}")
                time.sleep(wanted.capacity_wait_s)
            for instance_type in types:
                found = self._try(instance_type)
                if isinstance(found, EndpointState):
                    return StagingEndpoint(self.endpoint, instance_type, self._until_s, found)
                reason = found
                logger.warning(f"there is no capacity of {instance_type} now: {reason}")
        raise DeliveryError(
            f"there was no capacity of {' or '.join(types)} in {wanted.capacity_retries + 1} tries, the last time: {reason}; name more "
            "types in evaluation.staging.instance_types, raise capacity_retries or capacity_wait_s there, or reserve capacity"
        )

    def end(self) -> str:
        """Delete it and what was made for it; say what stays, empty when nothing does."""
        if self._expires_at is None:
            return ""  # nothing was made
        return delete(self._hosting, self.endpoint, self._expires_at)

    def _try(self, instance_type: str) -> EndpointState | str:
        """Start it once; its state when it is up, else why there was no capacity. DeliveryError for every other failure."""
        clear(self._hosting, self.endpoint)
        self._until_s = time.monotonic() + self._release.model.evaluation.max_runtime_s
        deployment = self._deployment(on_instances(self._release, instance_type))
        timeout_s = min(self._release.model.evaluation.max_runtime_s, self._release.start_s)
        self._expires_at = deployment.expires_at
        try:
            self._hosting.create(self.endpoint, deployment)
            logger.info(
                f"staging endpoint {self.endpoint} is being created on {instance_type}; it expires at {deployment.expires_at}"
            )
            state = self._hosting.wait(self.endpoint, timeout_s, progress)
        except DeliveryError as error:
            reason = self._why(error)
            if not any(words in reason for words in _NO_CAPACITY):
                raise
            return reason
        logger.info(f"staging endpoint {self.endpoint} is InService")
        return state

    def _why(self, error: DeliveryError) -> str:
        """Return what AWS says, without the container's log: of the endpoint, or where it refused to make one."""
        try:
            state = self._hosting.state(self.endpoint)
        except DeliveryError:
            return str(error)
        return state.failure if state is not None else str(error)

    def _deployment(self, release: Release) -> Deployment:
        evaluation = release.model.evaluation
        expires = self._hosting.clock.now() + timedelta(seconds=evaluation.max_runtime_s)
        return Deployment(
            release,
            self._package,
            "staging",
            self._execution,
            evaluation.instance_count,
            expires_at=expires.isoformat(timespec="seconds"),
        )


def on_instances(release: Release, instance_type: str) -> Release:
    """Return the release with another instance type.

    Args:
        release: The resolved model file.
        instance_type: What it is to run on.
    """
    serving = release.model.serving.model_copy(update={"instance_type": instance_type})
    return release.model_copy(update={"model": release.model.model_copy(update={"serving": serving})})


def delete(hosting: Hosting, endpoint: str, expires_at: str | None) -> str:
    """Delete a staging endpoint and what was made for it, uninterrupted. Nothing that fails here may cost what was measured.

    Args:
        hosting: The endpoints there.
        endpoint: The name of the endpoint, and of its config and model.
        expires_at: When the reaper deletes it, ISO 8601 UTC.

    Returns:
        Why it could not be deleted, and who deletes it; empty when it is gone.
    """
    with uninterrupted():
        try:
            hosting.remove(endpoint)
        except Exception as error:  # noqa: BLE001  (a library's, of any kind)
            expiry = f"it expires at {expires_at}, and the reaper deletes it then"
            left = f"the staging endpoint {endpoint} could not be deleted ({expiry}): {error}"
            logger.warning(left)
            return left
        logger.info(f"staging endpoint {endpoint} is deleted")
    return ""


def clear(hosting: Hosting, endpoint: str) -> None:
    """Remove what an earlier try left, of this start or of a step that was killed: its config is another, or it would expire under this one.

    Args:
        hosting: The endpoints there.
        endpoint: The name of the endpoint, and of its config and model.

    Raises:
        DeliveryError: It cannot be removed.
    """
    if hosting.state(endpoint) is not None:
        logger.info(f"{endpoint} is there already, from an earlier try; it is replaced")
    elif hosting.config(endpoint) is None:
        return  # a model alone serves as it is; deleting what is not there is refused to a role that may delete by tag
    hosting.remove(endpoint)
    hosting.wait_gone(endpoint)
