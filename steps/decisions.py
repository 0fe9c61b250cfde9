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


def who_changed(described: dict[str, Any]) -> str:
    """Who changed a version last, out of DescribeModelPackage's answer: the IAM identity, or the user of SageMaker Studio."""
    user = described.get("LastModifiedBy") or {}
    return str(
        (user.get("IamIdentity") or {}).get("Arn")
        or user.get("UserProfileArn")
        or "unknown; CloudTrail has it as UpdateModelPackage"
    )
