"""A second staging endpoint, with the version that production serves: `evaluation.baseline: interleaved` asks it the same in alternating blocks.

It decides nothing by itself: where it cannot be had (no capacity, an image that is gone), the version is compared with production's stored
evaluation, and the report says why.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from types import TracebackType
from typing import Self

from delivery.endpoint.deployment import Deployment
from delivery.errors import DeliveryError
from delivery.job.frame import progress, uninterrupted
from delivery.registry.model_packages import ModelPackage
from steps.evaluate_staging.prepare import Prepared
from steps.evaluate_staging.staging import StagingEndpoint, clear, on_instances

logger = logging.getLogger(__name__)


class BaselineEndpoint:
    """Production's version on staging, as long as the `with` block lasts; nothing is made before `begin`."""

    def __init__(self, prepared: Prepared) -> None:
        """Know which version that is.

        Args:
            prepared: What `prepare` found.
        """
        self._prepared, self._release = prepared, prepared.arguments.release
        self._hosting = prepared.hosting
        is_wanted = self._release.model.evaluation.has_second_endpoint
        self._package: ModelPackage | None = prepared.baseline.package if is_wanted else None
        self._begun: Deployment | None = None
        self._until_s = 0.0
        self.why_none = ""
        """Why there is none although it is wanted; empty where there is one, or nobody wants it, or nothing is in production."""
        if is_wanted and self._package is None and prepared.baseline.why_none:
            self.why_none = f"production's version could not be measured beside this one: {prepared.baseline.why_none}"
        self.left_behind = ""
        """Behind the `with` block: why it could not be deleted, and who deletes it; empty when it is gone."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.left_behind = self._end()

    def begin(self, instance_type: str, until_s: float) -> None:
        """Ask for it, and do not wait: it comes up while the version does.

        Args:
            instance_type: What the version is being created on.
            until_s: When the version's endpoint expires, on the monotonic clock. Seconds.
        """
        if self._package is None:
            return
        self._end()  # of an instance type that there was no capacity of
        self.why_none, self._until_s = "", until_s
        deployment = self._deployment(self._package, instance_type)
        try:
            clear(self._hosting, deployment.name)
            self._begun = deployment
            self._hosting.create(deployment.name, deployment)
        except DeliveryError as error:
            self._cannot(error)
            return
        logger.info(f"version {self._package.version}, which is in production, comes up beside it as {deployment.name}")

    def wait(self) -> StagingEndpoint | None:
        """Wait until it is InService.

        Returns:
            The endpoint; None where there is none, and `why_none` says why.
        """
        if self._begun is None or self.why_none:
            return None
        name = self._begun.name
        timeout_s = min(self._release.model.evaluation.max_runtime_s, self._release.start_s)
        try:
            state = self._hosting.wait(name, timeout_s, progress)
        except DeliveryError as error:
            self._cannot(error)
            return None
        logger.info(f"staging endpoint {name} is InService")
        return StagingEndpoint(name, self._begun.release.model.serving.instance_type, self._until_s, state)

    def _cannot(self, error: DeliveryError) -> None:
        """Go on without it: what production measured is stored."""
        self.why_none = f"production's version could not be measured beside this one: {error}"
        logger.warning(f"{self.why_none}; its stored evaluation is compared with")
        self._end()

    def _end(self) -> str:
        """Delete it and what was made for it; say what stays, empty when nothing does."""
        if self._begun is None:
            return ""
        begun, self._begun = self._begun, None
        with uninterrupted():
            try:
                self._hosting.remove(begun.name)
            except Exception as error:  # noqa: BLE001  (nothing that fails here may cost what was measured)
                left = (
                    f"the staging endpoint {begun.name} could not be deleted (it expires at {begun.expires_at}, and the reaper deletes it "
                    f"then): {error}"
                )
                logger.warning(left)
                return left
            logger.info(f"staging endpoint {begun.name} is deleted")
        return ""

    def _deployment(self, package: ModelPackage, instance_type: str) -> Deployment:
        evaluation = self._release.model.evaluation
        expires = self._hosting.clock.now() + timedelta(seconds=evaluation.max_runtime_s)
        return Deployment(
            on_instances(self._release, instance_type),
            package,
            "staging",
            self._prepared.arguments.execution,
            evaluation.instance_count,
            expires_at=expires.isoformat(timespec="seconds"),
            is_baseline=True,
        )
