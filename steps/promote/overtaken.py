"""A rollback or a retirement that was ended half-way and is overtaken by another change of production: its end is told first.

Otherwise the other change would close it, and what it left would be forgotten: that version stays Approved, nobody is against it, and its
next event promotes it again.
"""

from __future__ import annotations

import logging
from typing import Any

from delivery.endpoint.hosting import EndpointState
from delivery.errors import LeaseLost
from delivery.history import changes
from delivery.history.ledger import Event
from steps.promote.context import PromotionContext

logger = logging.getLogger(__name__)


def end_overtaken(context: PromotionContext, events: list[Event], state: EndpointState | None) -> list[Event]:
    """Write the event that an ended rollback or retirement could not, where it did its work and this run is not the one that goes on with it.

    Args:
        context: What the phases share.
        events: The ledger's, oldest first.
        state: The endpoint at rest; None when there is none.

    Returns:
        The ledger's events as they are now.

    Raises:
        DeliveryError: S3 refused. Nothing has been touched.
        LeaseLost: Another run took over.
    """
    if state is not None and state.has_failed:
        return events
    serving = state.config if state is not None else None
    change = changes.open_change(events, serving)
    if change is None or change.details["to"] != serving or not _is_overtaken(context, change):
        return events
    intent, left = change.details["intent"], changes.version_before(change)
    logger.info(
        f"the {intent} of version {change.version}, begun at {change.at} by {change.by}, was ended half-way: it is told first"
    )
    context.lease.confirm()
    context.ledger.append(
        "retired" if intent == "retirement" else "rolled_back",
        by=change.by,
        version=change.version,
        model_package=change.model_package,
        details={**_end(change), "previous_version": change.version if intent == "retirement" else left},
        check=lambda now: _check_open(now, change),
    )
    return context.ledger.events()


def _is_overtaken(context: PromotionContext, change: Event) -> bool:
    """Tell whether it is a rollback or a retirement that this run does not go on with."""
    arguments, intent = context.arguments, change.details["intent"]
    return intent in ("rollback", "retirement") and (intent, change.version) != (arguments.intent, arguments.version)


def _end(change: Event) -> dict[str, Any]:
    """Return the details of the event that says how it ended."""
    begun = change.details
    found = {"endpoint": begun["endpoint"], "execution": begun["execution"], "begun": change.sequence}
    if "comment" in begun:
        found["comment"] = begun["comment"]
    if begun["intent"] == "retirement":
        return {**found, "config": begun["from"]}
    return {
        **found,
        "deployment": begun["deployment"],
        "action": "updated" if begun["from"] else "created",
        "unfinished": ["it was ended half-way, and nobody looked it over"],
    }


def _check_open(now: list[Event], change: Event) -> None:
    """Raise LeaseLost when it is open no more: another run told its end, or took over."""
    if change.sequence not in [each.sequence for each in changes.open_changes(now)]:
        raise LeaseLost(f"the ledger has the end of its event {change.sequence} by now: nothing more is done here")
