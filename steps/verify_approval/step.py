"""VerifyApproval: every reason against the version, and its release file for the steps that follow.

A rollback returns to a version that production served: its approval then is in the ledger, and the registry may have it no more. Nothing is
asked of a version that is to be taken out of service.
"""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING

import boto3

from config.schema import Release
from delivery.aws import s3
from delivery.errors import DeliveryError, InputError
from delivery.history import decisions, registry_decisions, rollback_target
from delivery.history.ledger import Ledger
from delivery.names import APPROVAL_FILE, RELEASE_FILE, Fact, model_of
from delivery.registry import model_packages, verification
from steps.verify_approval.models import Approval, VerificationArguments

if TYPE_CHECKING:
    from types_boto3_ecr.client import ECRClient
    from types_boto3_s3.client import S3Client
    from types_boto3_sagemaker.client import SageMakerClient

logger = logging.getLogger(__name__)


def run(arguments: VerificationArguments) -> Approval:
    """Verify the version and write OUTPUT/approval.json and OUTPUT/release.json.

    Args:
        arguments: Arguments of this run.

    Returns:
        Whether the version may reach production, and why or why not.

    Raises:
        InputError: The version names no release file that is intact, or production never served what a rollback names.
        DeliveryError: AWS refused.
    """
    region = arguments.model_package.split(":")[3]
    client = s3.client(region)
    sagemaker = boto3.client("sagemaker", region_name=region)
    ledger = Ledger(client, arguments.bucket, model_of(arguments.model_package))
    if arguments.intent != "promotion":
        begun = arguments.intent == "retirement"
        package = rollback_target.find(ledger.events(), arguments.model_package, sagemaker, begun=begun).package
    else:
        package = model_packages.read(sagemaker, arguments.model_package)
        registry_decisions.note_if_made_elsewhere(ledger, package)
    body = _release_file(package, client)
    release = Release.model_validate_json(body)
    if arguments.intent == "retirement":
        against, reason = list[str](), f"version {package.version} is to be taken out of service"
    elif arguments.intent == "rollback":
        against = verification.unchanged(package, release, client, _make_ecr)
        reason = f"production served version {package.version} before, and it is unchanged since"
    else:
        against = verification.refusals(package, release, client, _make_ecr)
        if overruled := decisions.refusals(ledger.events(), package.version, release.name):
            against += overruled
            _restore_rejection(ledger, sagemaker, package)
        reason = f"version {package.version} is approved, passed its evaluation, and is unchanged since"
    if against:
        ledger.append(
            "refused",
            by=arguments.execution,
            version=package.version,
            model_package=package.arn,
            details={"reason": "; ".join(against), "intent": arguments.intent, "execution": arguments.execution},
        )
    approval = Approval(model_package=arguments.model_package, approved=not against, reason="; ".join(against) or reason)
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / RELEASE_FILE).write_bytes(body)
    (arguments.output / APPROVAL_FILE).write_text(approval.model_dump_json(indent=2) + "\n", encoding="utf-8")
    logger.info(approval.reason)
    return approval


def _restore_rejection(ledger: Ledger, registry: SageMakerClient, package: model_packages.ModelPackage) -> None:
    """Let the registry say what the ledger says. Where it cannot be changed, the version is refused all the same."""
    try:
        registry_decisions.restore_rejection(ledger, registry, package)
    except DeliveryError as error:
        logger.warning("%s goes on to be approved in the registry: %s", package.arn, error)


def _make_ecr(region: str) -> ECRClient:
    return boto3.client("ecr", region_name=region)


def _release_file(package: model_packages.ModelPackage, client: S3Client) -> bytes:
    """Read the release file that the version was registered from. Its folder is named by its digest, so it cannot have been changed unseen."""
    location = package.facts.get(Fact.RELEASE_FILE)
    if not location:
        raise InputError(f"{package.arn} was not registered by this pipeline: it has no {Fact.RELEASE_FILE}")
    body = s3.read(client, s3.S3Uri.parse(location))
    if body is None:
        raise InputError(f"{location}, which {package.arn} was released from, is gone; release the model file again")
    digest = hashlib.sha256(body).hexdigest()
    if digest not in location.split("/"):
        raise InputError(
            f"{location} was changed after {package.arn} was registered (its sha256 is {digest}); release the model file again"
        )
    return body
