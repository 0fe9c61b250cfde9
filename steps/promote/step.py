"""Promote: verify, create or update the production endpoint, wait, ask it the canary prompts; on a wrong answer give the old version back.

Doing it twice is doing it once: an endpoint that serves the version already is left alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import boto3

from config.schema import Release
from steps import canaries, registry, s3, verification
from steps.errors import InputError, StepError
from steps.hosting import MODEL_TAG, Deployment, EndpointState, Hosting
from steps.job import progress
from steps.names import PROMOTION_FILE, Fact
from steps.promote.models import Promotion

_TIMEOUT_S = 3 * 3600.0


@dataclass(frozen=True)
class Request:
    """What one start of the step is told."""

    release: Release
    model_package: str
    execution: str
    approval: Literal["manual", "automatic"]
    """With `automatic` the step itself approves a pending version: the gate's verdict is enough."""
    output: Path


def run(request: Request) -> Promotion:
    """Promote the version and write OUTPUT/promotion.json. StepError when it must not or cannot be; production then serves what it did."""
    region = request.release.environment.region
    sagemaker = boto3.client("sagemaker", region_name=region)
    promotion = Promoter(
        request,
        sagemaker,
        Hosting(sagemaker, boto3.client("logs", region_name=region)),
        boto3.client("sagemaker-runtime", region_name=region),
        s3.client(region),
    ).run()
    request.output.mkdir(parents=True, exist_ok=True)
    (request.output / PROMOTION_FILE).write_text(promotion.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return promotion


class Promoter:
    """One promotion."""

    def __init__(
        self, request: Request, sagemaker: registry.SageMakerClient, hosting: Hosting, runtime: object, client: s3.S3Client
    ) -> None:
        self._request = request
        self._sagemaker = sagemaker
        self._hosting = hosting
        self._runtime = runtime
        self._s3 = client
        self._production = request.release.model.production
        self._started = time.monotonic()

    def run(self) -> Promotion:
        """The whole of it; see the module."""
        package = self._approved_package()
        endpoint = self._production.endpoint
        before = self._hosting.state(endpoint)
        deployment = Deployment(
            self._request.release, package, "production", self._request.execution, self._production.instance_count
        )
        if before is None:
            smoke = self._create(deployment)
            return self._promotion(package, None, "created", smoke)
        self._check_owner(before)
        if before.status != "InService":
            before = self._hosting.wait(
                endpoint, _TIMEOUT_S, progress
            )  # an earlier try of this step may have been killed half-way
        previous = self._hosting.version_of(before.config)
        if previous == package.version:
            return self._promotion(package, previous, "unchanged", [])
        smoke = self._update(before, deployment)
        return self._promotion(package, previous, "updated", smoke)

    def _approved_package(self) -> registry.ModelPackage:
        """The version, approved and verified; StepError names every reason against it."""
        arn = self._request.model_package
        package = registry.read(self._sagemaker, arn)
        if self._request.approval == "automatic" and package.approval_status == "PendingManualApproval":
            verdict = package.facts.get(Fact.EVALUATION_VERDICT, "unknown")
            registry.approve(self._sagemaker, arn, f"approved by the gate in {self._request.execution}: {verdict}")
            package = registry.read(self._sagemaker, arn)
        against = verification.refusals(package, self._s3)
        if against:
            raise StepError(f"version {package.version} is not promoted; production is untouched: {'; '.join(against)}")
        return package

    def _check_owner(self, state: EndpointState) -> None:
        """InputError when the endpoint serves something that is not this model."""
        owner = self._hosting.tags(state.arn).get(MODEL_TAG)
        if owner != self._request.release.name:
            raise InputError(
                f"the endpoint {self._production.endpoint} exists, but was not made for {self._request.release.name} by this pipeline "
                f"(its tag release:model is {owner!r}); choose another production.endpoint, or delete that one"
            )

    def _create(self, deployment: Deployment) -> list[canaries.CanaryResult]:
        """A first endpoint that does not come up, or answers wrongly, is deleted: nobody is served by it."""
        endpoint = self._production.endpoint
        self._hosting.create(endpoint, deployment)
        try:
            self._hosting.wait(endpoint, _TIMEOUT_S, progress)
            return self._smoke()
        except StepError:
            self._hosting.delete(endpoint)
            raise

    def _update(self, before: EndpointState, deployment: Deployment) -> list[canaries.CanaryResult]:
        """Replace what it serves; whatever goes wrong, it ends with what it served before."""
        endpoint = self._production.endpoint
        self._hosting.update(endpoint, deployment)
        after = self._hosting.wait(endpoint, _TIMEOUT_S, progress)
        if after.config != deployment.name:
            self._hosting.delete_config(deployment.name)
            reason = after.failure or f"an alarm went off ({', '.join(self._production.alarms) or 'none of ours'})"
            raise StepError(
                f"SageMaker rolled {endpoint} back to what it served before: {reason}{self._hosting.last_words(endpoint)}"
            )
        try:
            smoke = self._smoke()
        except StepError:
            self._hosting.return_to(endpoint, before.config)
            self._hosting.wait(endpoint, _TIMEOUT_S, progress)
            self._hosting.delete_config(deployment.name)
            raise
        self._hosting.tag(after.arn, deployment)
        self._hosting.delete_config(before.config)
        return smoke

    def _smoke(self) -> list[canaries.CanaryResult]:
        """Ask production the canary prompts; StepError for the first wrong answer."""
        results = canaries.ask_all(self._runtime, self._production.endpoint, self._request.release.model.evaluation.canaries)
        for result in results:
            if not result.passed:
                raise StepError(
                    f"after the update {self._production.endpoint} answered {result.prompt!r} with {result.answer!r}, which does not contain "
                    f"{result.expect!r}; the version was taken out of production again"
                )
        return results

    def _promotion(
        self,
        package: registry.ModelPackage,
        previous: int | None,
        action: Literal["created", "updated", "unchanged"],
        smoke: list[canaries.CanaryResult],
    ) -> Promotion:
        progress(f"{self._production.endpoint} serves version {package.version} ({action})")
        return Promotion(
            endpoint=self._production.endpoint,
            model_package=package.arn,
            version=package.version,
            previous_version=previous,
            action=action,
            smoke=smoke,
            seconds=round(time.monotonic() - self._started, 3),
        )
