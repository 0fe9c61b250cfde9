"""Approved, rejected: a decision about a version stands in the registry, and in the ledger with who made it and why.

The command and the gate write both. One made elsewhere, in the console or with the AWS CLI, is in the registry alone until VerifyApproval
notes it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal

from steps.ledger import Event, Ledger
from steps.registry import ModelPackage

Decision = Literal["approved", "rejected"]
DECISIONS: dict[str, Decision] = {"Approved": "approved", "Rejected": "rejected"}
"""A version's approval status in the registry → the kind of ledger event that says so."""


def last_decision(events: Iterable[Event], version: int) -> Event | None:
    """The last decision about the version, None when there was none."""
    found = [event for event in events if event.version == version and event.kind in DECISIONS.values()]
    return found[-1] if found else None


def note(
    ledger: Ledger,
    decision: Decision,
    package: ModelPackage,
    *,
    by: str,
    comment: str,
    not_before: datetime | None = None,
    **details: Any,
) -> Event:
    """Write the decision behind the ledger's last event, unless it is there already: then that one is returned.

    It is there when the last decision about this version is the same one and, with `not_before`, was written no earlier than that.
    """
    last = last_decision(ledger.events(), package.version)
    if last is not None and last.kind == decision and (not_before is None or datetime.fromisoformat(last.at) >= not_before):
        return last
    return ledger.append(
        decision, by=by, version=package.version, model_package=package.arn, details={"comment": comment, **details}
    )


def note_if_made_elsewhere(ledger: Ledger, package: ModelPackage) -> Event | None:
    """Write the decision that the registry has and the ledger has not: it was made in the console or with the AWS CLI. None when there is
    none, or the ledger has it."""
    decision = DECISIONS.get(package.approval_status)
    last = last_decision(ledger.events(), package.version)
    if decision is None or (last is not None and last.kind == decision):
        return None
    by = package.changed_by or "unknown: CloudTrail has it as UpdateModelPackage"
    return note(ledger, decision, package, by=by, comment=package.approval_description)


def failed_try(events: Iterable[Event], version: int) -> Event | None:
    """Why the version's last promotion failed; None when it did not, or was approved anew since.

    The registry's event of an approval may start a promotion when another one of the same version has just failed, as after the gate's own
    approval. It must not be tried again unless somebody wants it.
    """
    found: Event | None = None
    for event in events:
        if event.version != version:
            continue
        if event.kind in ("approved", "promoted", "rolled_back"):
            found = None
        elif event.kind == "refused" and event.details.get("tried") is True:
            found = event
    return found
