"""The Model Registry as the steps use it: read a version, note facts on it, approve it, reject it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import ClientError

from delivery.aws.client_errors import is_absent, translate_client_errors
from delivery.errors import DeliveryError, InputError

if TYPE_CHECKING:
    from types_boto3_sagemaker.client import SageMakerClient
    from types_boto3_sagemaker.type_defs import UserContextTypeDef

ApprovalStatus = Literal["Approved", "Rejected", "PendingManualApproval"]
_DESCRIPTION_LIMIT = 1024  # ApprovalDescription (API reference of UpdateModelPackage)
_FACT_LIMIT = 256  # CustomerMetadataValue (likewise)


@dataclass(frozen=True)
class ModelPackage:
    """One version of a model, as the registry knows it now."""

    arn: str
    group: str
    version: int
    approval_status: str
    """Approved, Rejected or PendingManualApproval."""
    facts: Mapping[str, str]
    """Its CustomerMetadataProperties; the keys are those of `delivery.names.Fact`, and what else a person added."""
    container: Mapping[str, Any] = field(default_factory=dict)
    """Its serving container: Image, Environment, ModelDataSource."""
    approval_description: str = ""
    """What whoever decided about it last said."""
    changed_by: str = ""
    """Who changed it last: an IAM identity or a user of SageMaker Studio; empty where the registry does not say."""


def read(sagemaker: SageMakerClient, arn: str) -> ModelPackage:
    """Read a version.

    Args:
        sagemaker: The client of the registry's account and region.
        arn: The version's ARN.

    Returns:
        The version, as the registry knows it now.

    Raises:
        InputError: The registry has no such version.
        DeliveryError: SageMaker refused, or could not be reached.
    """
    with translate_client_errors(f"read {arn}"):
        try:
            described = sagemaker.describe_model_package(ModelPackageName=arn)
        except ClientError as error:
            if is_absent(error):
                raise InputError(
                    f"the Model Registry has no {arn}; it was deleted, or it is another account's or region's"
                ) from error
            raise
    return ModelPackage(
        arn=described["ModelPackageArn"],
        group=described["ModelPackageGroupName"],
        version=described["ModelPackageVersion"],
        approval_status=described.get("ModelApprovalStatus", "PendingManualApproval"),
        facts=described.get("CustomerMetadataProperties", {}),
        container=described.get("InferenceSpecification", {}).get("Containers", [{}])[0],
        approval_description=described.get("ApprovalDescription", ""),
        changed_by=_who(described.get("LastModifiedBy") or {}),
    )


def _who(user: UserContextTypeDef) -> str:
    """Put a UserContext into one word."""
    return str((user.get("IamIdentity") or {}).get("Arn") or user.get("UserProfileArn") or "")


def annotate(sagemaker: SageMakerClient, arn: str, facts: Mapping[str, str]) -> None:
    """Note facts on the version. Only they change; facts that it has already stay.

    Args:
        sagemaker: The client of the registry's account and region.
        arn: The version's ARN.
        facts: Key → value, of 256 characters at most.

    Raises:
        DeliveryError: A value is too long, or SageMaker refused.
    """
    too_long = [key for key, value in facts.items() if len(value) > _FACT_LIMIT]
    if too_long:
        raise DeliveryError(
            f"{too_long[0]} cannot be noted on {arn}: it has more than {_FACT_LIMIT} characters: {facts[too_long[0]]}"
        )
    with translate_client_errors(f"note {', '.join(facts)} on {arn}"):
        sagemaker.update_model_package(
            ModelPackageArn=arn, CustomerMetadataProperties={str(key): value for key, value in facts.items()}
        )


def approve(sagemaker: SageMakerClient, arn: str, description: str) -> None:
    """Approve the version; `description` says who and why. On AWS the change is an event, which starts the promotion pipeline."""
    _decide(sagemaker, arn, "Approved", description)


def reject(sagemaker: SageMakerClient, arn: str, description: str) -> None:
    """Reject the version; `description` says why."""
    _decide(sagemaker, arn, "Rejected", description)


def reopen(sagemaker: SageMakerClient, arn: str, description: str) -> None:
    """Take an approval back without rejecting the version, so that approving it again is a change, and an event."""
    _decide(sagemaker, arn, "PendingManualApproval", description)


def _decide(sagemaker: SageMakerClient, arn: str, status: ApprovalStatus, description: str) -> None:
    with translate_client_errors(f"mark {arn} as {status}"):
        sagemaker.update_model_package(
            ModelPackageArn=arn,
            ModelApprovalStatus=status,
            ApprovalDescription=shortened(description),
        )


def shortened(description: str) -> str:
    """Return an ApprovalDescription as the registry keeps it: one line of 1,024 characters at most."""
    return " ".join(description.split())[:_DESCRIPTION_LIMIT]
