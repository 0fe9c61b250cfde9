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
from delivery.names import MODEL_TAG, Fact
from delivery.registry import model_packages
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


def read(release: Release, hosting: Hosting, sagemaker: SageMakerClient, client: S3Client) -> Baseline:
    """Read the evaluation of the version that production serves."""
    endpoint = release.model.production.endpoint
    state = hosting.state(endpoint)
    if state is None or hosting.tags(state.arn).get(MODEL_TAG) != release.name:
        logger.info(f"nothing of {release.name} is in production to compare with")
        return Baseline()
    version = hosting.version_of(state.config)
    if version is None:
        return _none(f"what {endpoint} serves was not made by this pipeline")
    package = state.arn.rsplit(":", 1)[0] + f":model-package/{release.package_group}/{version}"
    try:
        facts = model_packages.read(sagemaker, package).facts
        return _evaluated(version, facts[Fact.EVALUATION_REPORT], facts[Fact.EVALUATION_SHA256], client)
    except DeliveryError as error:
        return _none(f"the evaluation of version {version}, which is in production, cannot be compared with: {error}")
    except KeyError as error:
        return _none(f"version {version} is in production without an evaluation: it has no {error.args[0]}")
    except ValidationError:
        return _none(f"the evaluation of version {version}, which is in production, is of another format")


def _none(why: str) -> Baseline:
    logger.warning(why)
    return Baseline(why_none=why)


def _evaluated(version: int, report: str, sha256: str, client: S3Client) -> Baseline:
    body = s3.read(client, s3.S3Uri.parse(report))
    if body is None or hashlib.sha256(body).hexdigest() != sha256:
        raise DeliveryError(f"{report} is gone, or not what was registered")
    return Baseline(Evaluation.model_validate_json(body), InProduction(version=version, report=report))
