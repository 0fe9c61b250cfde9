"""The baseline: what is in production now, and what its evaluation measured. The other side of relative objectives."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from config.schema import Release
from delivery.aws import s3
from delivery.endpoint.hosting import Hosting
from delivery.errors import DeliveryError
from delivery.history.ledger import Ledger
from delivery.history.serving_history import version_now
from delivery.names import MODEL_TAG, Fact
from delivery.registry import model_packages
from delivery.registry.model_packages import ModelPackage
from loadtest.measurement.models import ObjectiveResult, ProfileResult
from steps.evaluate_staging.models import Evaluation, InProduction

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client
    from types_boto3_sagemaker.client import SageMakerClient

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Baseline:
    """What production serves, as far as a new version can be compared with it."""

    evaluation: Evaluation | None = None
    """Its stored evaluation; None where there is nothing to compare with."""
    reference: InProduction | None = None
    """Which version that is, and where its evaluation is."""
    why_none: str = ""
    """Why there is no evaluation although something serves; empty where nothing serves."""
    package: ModelPackage | None = None
    """The version that production serves; None where nothing serves, or it is not in the registry any more."""

    @property
    def lm_eval(self) -> dict[str, ObjectiveResult]:
        """Its lm-eval scores, by task."""
        return self.evaluation.lm_eval if self.evaluation else {}

    def profile(self, name: str) -> ProfileResult | None:
        """Return what it measured under the load profile of this name; None where it did not."""
        return self.evaluation.profiles.get(name) if self.evaluation else None

    def why_incomparable(self, name: str, instances: str) -> str:
        """Say why its numbers must not be compared with.

        Args:
            name: The load profile.
            instances: What the new version was measured on, as in `1 ml.p5.48xlarge`.

        Returns:
            One clause; empty where they may be compared with, or where there is nothing in production.
        """
        if self.evaluation is None:
            return self.why_none
        before = self.evaluation.environment.get("instances")
        if before not in {None, instances}:
            return f"production was measured on {before}"
        return "" if name in self.evaluation.profiles else "production was measured without this load profile"


def read(
    release: Release, hosting: Hosting, ledger: Ledger, sagemaker: SageMakerClient, client: S3Client, group_of: str
) -> Baseline:
    """Read the evaluation of the version that production serves.

    Args:
        release: The resolved model file.
        hosting: The endpoints of this account. Where production is in another one, which the evaluation has no role in, the ledger says what
            it serves.
        ledger: The model's.
        sagemaker: The registry's client.
        client: S3's.
        group_of: The ARN of a version of the same model.

    Returns:
        What there is to compare with.

    Raises:
        DeliveryError: SageMaker or the ledger could not be asked.
    """
    try:
        version = _version_in_production(release, hosting, ledger)
    except _NotOurs as error:
        return _none(str(error))
    if version is None:
        logger.info(f"nothing of {release.name} is in production to compare with")
        return Baseline()
    package = None
    try:
        package = model_packages.read(sagemaker, f"{group_of.rsplit('/', 1)[0]}/{version}")
        return _evaluated(package, client)
    except DeliveryError as error:
        why = f"the evaluation of version {version}, which is in production, cannot be compared with: {error}"
    except KeyError as error:
        why = f"version {version} is in production without an evaluation: it has no {error.args[0]}"
    except ValidationError:
        why = f"the evaluation of version {version}, which is in production, is of another format"
    return _none(why, package)


class _NotOurs(Exception):
    """Production serves what this project did not make."""


def _version_in_production(release: Release, hosting: Hosting, ledger: Ledger) -> int | None:
    if release.environment.production is not None:
        return version_now(ledger.events())
    endpoint = release.model.production.endpoint
    state = hosting.state(endpoint)
    if state is None or hosting.tags(state.arn).get(MODEL_TAG) != release.name:
        return None
    version = hosting.version_of(state.config)
    if version is None:
        raise _NotOurs(f"what {endpoint} serves was not made by this pipeline")
    return version


def _none(why: str, package: ModelPackage | None = None) -> Baseline:
    logger.warning(why)
    return Baseline(why_none=why, package=package)


def _evaluated(package: ModelPackage, client: S3Client) -> Baseline:
    report, sha256 = package.facts[Fact.EVALUATION_REPORT], package.facts[Fact.EVALUATION_SHA256]
    body = s3.read(client, s3.S3Uri.parse(report))
    if body is None or hashlib.sha256(body).hexdigest() != sha256:
        raise DeliveryError(f"{report} is gone, or not what was registered")
    reference = InProduction(version=package.version, report=report)
    return Baseline(Evaluation.model_validate_json(body), reference, package=package)
