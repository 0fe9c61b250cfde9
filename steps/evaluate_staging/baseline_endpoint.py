"""A second staging endpoint, with the version that production serves: `evaluation.baseline: interleaved` asks it the same in alternating blocks.

It decides nothing by itself: where it cannot be had (no capacity, an image that is gone), the version is compared with production's stored
evaluation, and the report says why.
"""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from types import TracebackType
from typing import Self

from delivery.endpoint.deployment import Deployment
from delivery.errors import DeliveryError
from delivery.job.frame import progress
from delivery.registry.model_packages import ModelPackage
from steps.evaluate_staging.prepare import Prepared
from steps.evaluate_staging.staging import StagingEndpoint, clear, delete, on_instances

logger = logging.getLogger(__name__)

_NOT_BESIDE = "production's version could not be measured beside this one"


class BaselineEndpoint:
    """Production's version on staging, as long as the `with` block lasts.

    It is begun when the version is InService: of the last instance of a type the version has need first.
    """

    def __init__(self, prepared: Prepared, staged: StagingEndpoint) -> None:
        """Know which version that is.

        Args:
            prepared: What `prepare` found.
            staged: The endpoint of the version, on whose instance type it runs, and with which it expires.
        """
        self._prepared, self._release, self._staged = prepared, prepared.arguments.release, staged
        self._hosting = prepared.hosting
        self._begun: Deployment | None = None
        self.endpoint: StagingEndpoint | None = None
        """It; None where there is none."""
        self.why_none = ""
        """Why there is none although it is wanted; empty where there is one, or nobody wants it, or nothing is in production."""
        self.left_behind = ""
        """Behind the `with` block: why it could not be deleted, and who deletes it; empty when it is gone."""

    def __enter__(self) -> Self:
        baseline, evaluation = self._prepared.baseline, self._release.model.evaluation
        if not evaluation.has_second_endpoint:
            return self
        if baseline.package is None:
            self.why_none = f"{_NOT_BESIDE}: {baseline.why_none}" if baseline.why_none else ""
            return self
        try:
            self.endpoint = self._start(baseline.package)
        except DeliveryError as error:
            self.why_none = f"{_NOT_BESIDE}: {error}"
            logger.warning(f"{self.why_none}; its stored evaluation is compared with")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.left_behind = self._end()

    def _start(self, package: ModelPackage) -> StagingEndpoint:
        """Make it and wait until it is InService; DeliveryError where it cannot be had in time."""
        self._begun = deployment = self._deployment(package)
        clear(self._hosting, deployment.name)
        self._hosting.create(deployment.name, deployment)
        logger.info(f"version {package.version}, which is in production, comes up beside it as {deployment.name}")
        state = self._hosting.wait(deployment.name, self._patience_s(), progress)
        logger.info(f"staging endpoint {deployment.name} is InService")
        return StagingEndpoint(deployment.name, self._staged.instance_type, self._staged.until_s, state)

    def _patience_s(self) -> float:
        """Return how long it may take to come up: the version's own loads come first. Seconds."""
        needed_s = sum(profile.least_s + profile.timeout_s for profile in self._release.model.evaluation.load_profiles.values())
        return max(0.0, min(self._release.start_s, self._staged.until_s - time.monotonic() - needed_s))

    def _end(self) -> str:
        """Delete it and what was made for it; say what stays, empty when nothing does."""
        return delete(self._hosting, self._begun.name, self._begun.expires_at) if self._begun is not None else ""

    def _deployment(self, package: ModelPackage) -> Deployment:
        evaluation = self._release.model.evaluation
        expires = self._hosting.clock.now() + timedelta(seconds=evaluation.max_runtime_s)
        return Deployment(
            on_instances(self._release, self._staged.instance_type),
            package,
            "staging",
            self._prepared.arguments.execution,
            evaluation.instance_count,
            expires_at=expires.isoformat(timespec="seconds"),
            is_baseline=True,
        )
