"""The version that a rollback returns to: what the ledger remembers of it, and what the registry still says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from delivery.errors import InputError
from delivery.history import serving_history
from delivery.history.ledger import Event
from delivery.registry import model_packages

if TYPE_CHECKING:
    from types_boto3_sagemaker.client import SageMakerClient


@dataclass(frozen=True)
class RollbackTarget:
    """A version that production served before."""

    event: Event
    """The event that brought it into production the last time."""
    package: model_packages.ModelPackage
    """The version, with what it ran in production, even if the registry has it no more."""
    is_deployable: bool
    """Whether SageMaker makes a model from the version itself: it does from approved ones only, and from none that is gone. Otherwise its
    container is spelled out."""


def find(events: Iterable[Event], model_package: str, sagemaker: SageMakerClient, *, begun: bool = False) -> RollbackTarget:
    """Find the version with this ARN in the ledger.

    Args:
        events: The ledger's, oldest first.
        model_package: The version's ARN.
        sagemaker: The client of the registry.
        begun: Whether it may also be one that production was only begun to be given.

    Returns:
        The version as it ran in production, even if the registry has it no more.

    Raises:
        InputError: Production never served it.
        DeliveryError: SageMaker refused.
    """
    kinds = ("promoted", "rolled_back", "changing") if begun else ("promoted", "rolled_back")
    about = [event for event in events if event.kind in kinds and event.model_package == model_package]
    brought = [event for event in about if "deployment" in event.details]
    if not brought or brought[-1].version is None:
        raise InputError(f"production never served {model_package} by the ledger: there is nothing to return to")
    event = brought[-1]
    left = serving_history.DeployedVersion.of(event)
    status = _approval_status(sagemaker, model_package)
    container: dict[str, Any] = left.container
    package = model_packages.ModelPackage(
        arn=model_package,
        group=model_package.split("/")[1],
        version=event.version or 0,
        approval_status=status,
        facts=left.facts,
        container=container,
    )
    return RollbackTarget(event, package, status == "Approved")


def _approval_status(sagemaker: SageMakerClient, arn: str) -> str:
    """Read its status as the registry has it now; empty when the version is gone."""
    try:
        return model_packages.read(sagemaker, arn).approval_status
    except InputError:
        return ""
