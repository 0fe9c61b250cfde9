"""A promotion that another execution is making already: an approval's event may come twice, and the gate's own approval is an event, too."""

from __future__ import annotations

import logging

from delivery.endpoint.lease import LeaseRecord
from delivery.history import decisions
from delivery.history.ledger import Event, Ledger
from steps.promote.models import Promotion, PromotionArguments

logger = logging.getLogger(__name__)


class UnderWay(Exception):
    """Another execution is promoting the version, by the same approval."""

    def __init__(self, promotion: Promotion) -> None:
        super().__init__(promotion.execution)
        self.promotion = promotion


def work(arguments: PromotionArguments) -> str:
    """Say what the lease is held for."""
    return f"{arguments.intent} {arguments.model_package}"


def raise_if_under_way(arguments: PromotionArguments, ledger: Ledger, holder: LeaseRecord) -> None:
    """Raise UnderWay when the lease's holder promotes the same version, by the approval that this execution would go by.

    Args:
        arguments: Arguments of this run.
        ledger: The model's.
        holder: Who has the lease, and was seen to renew it: one that died has left its work to this execution.

    Raises:
        UnderWay: It does: this execution has nothing to do.
        DeliveryError: The ledger could not be read.
    """
    version = arguments.version
    if arguments.intent != "promotion" or version is None or holder.work != work(arguments):
        return
    if not _covers(ledger.events(), version, holder.execution):
        return
    logger.info(f"version {version} is being promoted by {holder.execution} ({holder.owner}): nothing is done here")
    raise UnderWay(
        Promotion(
            endpoint=arguments.release.model.production.endpoint,
            model_package=arguments.model_package,
            version=version,
            previous_version=None,
            action="under_way",
            smoke=[],
            seconds=0,
            execution=holder.execution,
        )
    )


def _covers(events: list[Event], version: int, execution: str) -> bool:
    """Tell whether that execution goes by the version's last approval: it has not failed, nor begun before somebody approved anew."""
    failed = decisions.failed_try(events, version)
    if failed is not None and failed.details.get("execution") == execution:
        return False
    about = [event for event in events if event.version == version]
    begun = [event.sequence for event in about if event.kind == "changing" and event.details.get("execution") == execution]
    approved = [event.sequence for event in about if event.kind == "approved"]
    return not begun or max(approved, default=0) < begun[-1]
