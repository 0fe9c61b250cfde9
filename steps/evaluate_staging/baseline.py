"""What is in production now, and what its evaluation measured: the other side of relative objectives."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from pydantic import ValidationError

from config.schema import Release
from delivery.aws import s3
from delivery.endpoint.hosting import Hosting
from delivery.errors import StepError
from delivery.job.frame import say
from delivery.names import MODEL_TAG, Fact
from delivery.registry import model_packages
from steps.evaluate_staging.models import Evaluation, InProduction


@dataclass(frozen=True)
class Baseline:
    """Production's stored evaluation."""

    evaluation: Evaluation
    reference: InProduction


def read(
    release: Release, hosting: Hosting, sagemaker: model_packages.SageMakerClient, client: s3.S3Client
) -> tuple[Baseline | None, str]:
    """The evaluation of the version that production serves. None when there is none to compare with; then why, where something is there."""
    endpoint = release.model.production.endpoint
    state = hosting.state(endpoint)
    if state is None or hosting.tags(state.arn).get(MODEL_TAG) != release.name:
        say(f"nothing of {release.name} is in production to compare with")
        return None, ""
    version = hosting.version_of(state.config)
    if version is None:
        return None, _log_incomparable(f"what {endpoint} serves was not made by this pipeline")
    package = state.arn.rsplit(":", 1)[0] + f":model-package/{release.package_group}/{version}"
    try:
        facts = model_packages.read(sagemaker, package).facts
        return _evaluation(version, facts[Fact.EVALUATION_REPORT], facts[Fact.EVALUATION_SHA256], client), ""
    except StepError as error:
        return None, _log_incomparable(
            f"the evaluation of version {version}, which is in production, cannot be compared with: {error}"
        )
    except KeyError as error:
        return None, _log_incomparable(f"version {version} is in production without an evaluation: it has no {error.args[0]}")
    except ValidationError:
        return None, _log_incomparable(f"the evaluation of version {version}, which is in production, is of another format")


def _log_incomparable(why: str) -> str:
    say(why)
    return why


def _evaluation(version: int, report: str, sha256: str, client: s3.S3Client) -> Baseline:
    body = s3.read(client, s3.S3Uri.parse(report))
    if body is None or hashlib.sha256(body).hexdigest() != sha256:
        raise StepError(f"{report} is gone, or not what was registered")
    return Baseline(Evaluation.model_validate_json(body), InProduction(version=version, report=report))
