"""Approved, rejected: a decision about a version stands in the registry, and in the ledger with who made it and why.

The command and the gate write both. One made elsewhere, in the console or with the AWS CLI, is in the registry alone until VerifyApproval
notes it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal

from delivery.history.ledger import Event, Ledger
from delivery.registry.model_packages import ModelPackage

Decision = Literal["approved", "rejected"]
DECISIONS: dict[str, Decision] = {"Approved": "approved", "Rejected": "rejected"}
"""A version's approval status in the registry → the kind of ledger event that says so."""


def last_decision(events: Iterable[Event], version: int) -> Event | None:
    """Return the last decision about the version.

    Args:
        events: The ledger's, oldest first.
        version: Its number.

    Returns:
        The event; None when there was none.

    Example:
        >>> last_decision([], version=3)
    """
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
    """Write a decision into the ledger. Idempotent: unless it is there already.

    It is there when the last decision about this version is the same one and, with `not_before`, was written no earlier than that.

    Args:
        ledger: The model's.
        decision: What was decided.
        package: About which version.
        by: Who decided.
        comment: Why.
        not_before: An older event is another decision.
        details: What else is known.

    Returns:
        The event, the one written before or the new one.

    Raises:
        DeliveryError: S3 refused.
        LedgerBroken: The chain does not hold.
    """
    last = last_decision(ledger.events(), package.version)
    if last is not None and last.kind == decision and (not_before is None or datetime.fromisoformat(last.at) >= not_before):
        return last
    return ledger.append(
        decision, by=by, version=package.version, model_package=package.arn, details={"comment": comment, **details}
    )


def note_if_made_elsewhere(ledger: Ledger, package: ModelPackage) -> Event | None:
    """Write the decision that the registry has and the ledger has not: it was made in the console or with the AWS CLI.

    Args:
        ledger: The model's.
        package: The version, as the registry has it now.

    Returns:
        The new event; None when there is no decision, or the ledger has it.

    Raises:
        DeliveryError: S3 refused.
        LedgerBroken: The chain does not hold.
    """
    decision = DECISIONS.get(package.approval_status)
    events = ledger.events()
    last = last_decision(events, package.version)
    again = _approved_again(events, package)
    if decision is None or (last is not None and last.kind == decision and again is None):
        return None
    by = package.changed_by or "unknown: CloudTrail has it as UpdateModelPackage"
    details = {"after": f"event {again.sequence}"} if again else {}
    return ledger.append(
        decision,
        by=by,
        version=package.version,
        model_package=package.arn,
        details={"comment": package.approval_description, **details},
    )


def _approved_again(events: Iterable[Event], package: ModelPackage) -> Event | None:
    """Find the try that failed and after which somebody decided anew to approve the version.

    Anew is: with other words than those of the approval that it was tried with. A fact that was noted on the version since is no decision.
    """
    failed = failed_try(events, package.version)
    words = failed.details.get("approval") if failed else None
    is_anew = package.approval_status == "Approved" and words is not None and words != package.approval_description
    return failed if is_anew else None


def failed_try(events: Iterable[Event], version: int) -> Event | None:
    """Find why the version's last promotion failed.

    The registry's event of an approval may start a promotion when another one of the same version has just failed, as after the gate's own
    approval. It must not be tried again unless somebody wants it.

    Args:
        events: The ledger's, oldest first.
        version: Its number.

    Returns:
        The event `refused`; None when the last promotion did not fail, or the version was approved anew since.
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
