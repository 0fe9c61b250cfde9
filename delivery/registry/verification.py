"""What must hold before a version may reach production: approved now, evaluated, passed, recent enough, and no drift since.

`verify_approval` asks it for the promotion pipeline, `promote` asks it again right before it touches production. Each refusal is one
sentence that begins with the name of the check: approval, evaluation, weights, image, order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pydantic import BaseModel, ValidationError

from config.schema import Release
from delivery.aws import s3
from delivery.names import Fact
from delivery.registry import images
from delivery.registry.model_packages import ModelPackage
from delivery.weights import stored_weights

if TYPE_CHECKING:
    from types_boto3_ecr.client import ECRClient
    from types_boto3_s3.client import S3Client


class _Report(BaseModel):
    """The part of an evaluation that decides, whatever else its format has."""

    verdict: str
    model_package: str
    evaluated_at: datetime


def refusals(package: ModelPackage, release: Release, client: S3Client, make_ecr: Callable[[str], ECRClient]) -> list[str]:
    """Return why the version must not be promoted.

    Args:
        package: The version, as the registry has it now.
        release: The resolved model file.
        client: S3 of the environment's account.
        make_ecr: Gives an ECR client of a region.

    Returns:
        One sentence a reason, which begins with the name of the check; none when it may be promoted.

    Raises:
        DeliveryError: S3 or ECR could not be asked.
    """
    return [
        *_approval(package),
        *_evaluation(package, release.model.production.evaluation_max_age_days, client),
        *unchanged(package, release, client, make_ecr),
    ]


def unchanged(package: ModelPackage, release: Release, client: S3Client, make_ecr: Callable[[str], ECRClient]) -> list[str]:
    """Return why the version is not what was evaluated any more: all that a rollback asks. Arguments and errors as of `refusals`."""
    return [*_weights(package, client), *_image(package, release, make_ecr)]


def older(version: int, serving: int | None) -> list[str]:
    """Return why the version is out of order: production serves a newer one.

    Args:
        version: The one to promote.
        serving: The one that production serves; None: none, or one that this project did not make.

    Returns:
        One sentence, or none.

    Example:
        >>> older(version=3, serving=5)
        ['order: production serves version 5, which is newer than 3; to go back, use rollback']
        >>> older(version=5, serving=3)
        []
    """
    if serving is None or serving <= version:
        return []
    return [f"order: production serves version {serving}, which is newer than {version}; to go back, use rollback"]


def _approval(package: ModelPackage) -> Iterator[str]:
    if package.approval_status != "Approved":
        yield f"approval: the version is {package.approval_status} now, not Approved; approve it in the Model Registry"


def _evaluation(package: ModelPackage, max_age_days: float | None, client: S3Client) -> Iterator[str]:
    """Check that the report that the registry names is there, is the one that was stored, of this version, recent enough, and says passed."""
    location = package.facts.get(Fact.EVALUATION_REPORT)
    expected = package.facts.get(Fact.EVALUATION_SHA256)
    if not location or not expected:
        yield "evaluation: the version was never evaluated; release the model file again"
        return
    body = s3.read(client, s3.S3Uri.parse(location))
    if body is None:
        yield f"evaluation: {location} is gone; release the model file again"
        return
    actual = hashlib.sha256(body).hexdigest()
    if actual != expected:
        yield f"evaluation: {location} was changed after it was stored (sha256 {actual}, registered {expected}); evaluate again"
        return
    try:
        report = _Report.model_validate_json(body)
    except ValidationError as error:
        yield f"evaluation: {location} is not an evaluation: {error}; release the model file again"
        return
    if report.model_package != package.arn:
        yield f"evaluation: {location} is of {report.model_package}, not of this version; release the model file again"
    if report.verdict != "passed" and Fact.GATE_WAIVED_BY not in package.facts:
        yield f"evaluation: the verdict in {location} is {report.verdict!r}, not passed"
    age = datetime.now(UTC) - report.evaluated_at
    if max_age_days is not None and age > timedelta(days=max_age_days):
        yield (
            f"evaluation: it is {age.total_seconds() / 86400:.1f} days old, and production.evaluation_max_age_days is {max_age_days:g}; "
            "release the model file again"
        )


def _weights(package: ModelPackage, client: S3Client) -> Iterator[str]:
    """Check that the manifest is the one that was registered, and every object the one that it lists: no drift."""
    prefix = package.facts.get(Fact.WEIGHTS_PREFIX)
    if not prefix:
        yield "weights: the version does not say where they are; release the model file again"
        return
    yield from (
        f"weights: {difference}"
        for difference in stored_weights.differences(
            client, s3.S3Uri.parse(prefix), package.facts.get(Fact.WEIGHTS_MANIFEST_SHA256, "")
        )
    )


def _image(package: ModelPackage, release: Release, make_ecr: Callable[[str], ECRClient]) -> Iterator[str]:
    """Check that the tag means the image that was evaluated. On AWS a digest must have been noted; on this machine images need no registry."""
    uri = str(package.container.get("Image", ""))
    evaluated = package.facts.get(Fact.IMAGE_DIGEST)
    now = images.digest_of(uri, make_ecr, release.environment.kind)
    if evaluated and now != evaluated:
        yield f"image: {uri} is {now or 'not in a registry'} now, but {evaluated} was evaluated: the tag was moved; release again"
    elif now and not evaluated:
        yield f"image: which image {uri} meant when the version was evaluated is not known; release the model file again"
