"""The registry and the ledger say the same of a version: whoever decides changes both, and what came in between is settled.

The command and the gate write the ledger first: the registry takes every change of an approval, in whatever order it comes, and the ledger's order is
the one that counts. A decision made elsewhere, in the console or with the AWS CLI, is in the registry alone until VerifyApproval notes it.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from delivery.errors import DecisionOvertaken
from delivery.history import decisions
from delivery.history.decisions import DECISIONS, GATE
from delivery.history.ledger import Event, Ledger
from delivery.registry import model_packages
from delivery.registry.model_packages import ModelPackage

if TYPE_CHECKING:
    from types_boto3_sagemaker.client import SageMakerClient


def reject_for_gate(
    ledger: Ledger, registry: SageMakerClient, package: ModelPackage, *, execution: str, reason: str
) -> DecisionOvertaken | None:
    """Reject a version that the gate refused, in ledger and registry. Idempotent.

    Not where a person decided about it, whose word wins, and not where a newer evaluation did not refuse it: a step may run again late.

    Args:
        ledger: The model's.
        registry: A boto3 SageMaker client of the registry's account.
        package: The version, as the registry has it now.
        execution: The gate's.
        reason: Why it refused.

    Returns:
        Whose decision stands in its way; None where the version is rejected.

    Raises:
        DeliveryError: AWS refused.
        LedgerBroken: The chain does not hold.
    """

    def check(events: list[Event]) -> None:
        newest = decisions.newest_decision(events, package.version)
        if newest is not None and decisions.is_persons(newest):
            raise decisions.overtaken(newest, package.version)
        if (newer := _evaluated_since(events, package.version, execution)) is not None:
            raise DecisionOvertaken(
                f"version {package.version} was evaluated again by {newer.by} at {newer.at}, and is {newer.details.get('verdict')}: that stands"
            )

    note_if_made_elsewhere(ledger, package)  # an approval in the console is a person's, too
    by, events = f"{GATE}{execution}", ledger.events()
    event = decisions.last_decision(events, package.version)
    try:
        if event is None or event.by != by:
            event = ledger.append(
                "rejected", by=by, version=package.version, model_package=package.arn, details={"comment": reason}, check=check
            )
        else:
            check(events)
        model_packages.reject(registry, package.arn, reason)
        settle(ledger, registry, package, event)
    except DecisionOvertaken as stands:
        newest = decisions.last_decision(ledger.events(), package.version)
        if newest is not None and _is_overtaken_in_registry(events, package):
            _give_registry(registry, package, newest)  # what an earlier run of this step did, and did not live to settle
        return stands
    return None


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
    last = decisions.last_decision(events, package.version)
    again = _approved_again(events, package)
    if decision == "approved" and decisions.standing_rejection(events, package.version):
        return None  # it is refused, whoever made it: no decision of the ledger's
    if again is None and _is_overtaken_in_registry(events, package):
        return None  # made by command, gate or policy, and in the ledger since
    if decision is None or (last is not None and last.kind == decision and again is None):
        return None
    by = package.changed_by or "unknown: CloudTrail has it as UpdateModelPackage"
    details: dict[str, Any] = {"after": f"event {again.sequence}"} if again else {}
    try:
        return decisions.decide(ledger, decision, package, by=by, comment=package.approval_description, seen=events, **details)
    except DecisionOvertaken:
        return None  # an event may come twice: the other one noted it


def settle(ledger: Ledger, registry: SageMakerClient, package: ModelPackage, event: Event) -> None:
    """Give the registry the ledger's last word, after it was changed to say `event`: another decision may have come in between.

    Args:
        ledger: The model's.
        registry: A boto3 SageMaker client of the registry's account.
        package: The version.
        event: The decision that the registry was changed to.

    Raises:
        DecisionOvertaken: A newer decision stands, and the registry has it now.
        DeliveryError: AWS refused.
    """
    newest = decisions.last_decision(ledger.events(), package.version)
    if newest is None or newest.sequence <= event.sequence or newest.kind == event.kind:
        return
    _give_registry(registry, package, newest)
    raise decisions.overtaken(newest, package.version)


def restore_rejection(ledger: Ledger, registry: SageMakerClient, package: ModelPackage) -> None:
    """Reject in the registry a version that is approved there although a person is against it, in the ledger's words. Idempotent.

    An approval that was overtaken may reach the registry last, when whoever made it was killed before `settle`; one in the console overrules nobody.

    Args:
        ledger: The model's.
        registry: A boto3 SageMaker client of the registry's account.
        package: The version, as the registry has it now.

    Raises:
        DeliveryError: AWS refused.
        LedgerBroken: The chain does not hold.
    """
    against = decisions.standing_rejection(ledger.events(), package.version)
    if against is None or package.approval_status != "Approved":
        return
    model_packages.reject(registry, package.arn, decisions.describe(against))
    with suppress(DecisionOvertaken):  # somebody overruled it by name just now, and the registry has that
        settle(ledger, registry, package, against)


def description(decision: str, by: str, comment: str) -> str:
    """Return what the registry keeps of a decision as its ApprovalDescription; by these words a later run knows that it was no console's.

    Args:
        decision: The kind of its event.
        by: Who decided.
        comment: Why; may be empty.

    Example:
        >>> description("rejected", "arn:aws:iam::1:user/ben", "bad")
        'rejected by arn:aws:iam::1:user/ben: bad'
    """
    return f"{decision} by {by}{f': {comment}' if comment else ''}"


def _give_registry(registry: SageMakerClient, package: ModelPackage, decision: Event) -> None:
    set_status = model_packages.approve if decision.kind == "approved" else model_packages.reject
    set_status(registry, package.arn, description(decision.kind, decision.by, str(decision.details.get("comment") or "")))


def _is_overtaken_in_registry(events: Iterable[Event], package: ModelPackage) -> bool:
    """Tell whether the registry has an older decision than the ledger's last one, in the words of whoever made it by command, gate or policy."""
    decided = [event for event in events if event.version == package.version and event.kind in DECISIONS.values()]
    older = [event for event in decided[:-1] if event.kind == DECISIONS.get(package.approval_status) != decided[-1].kind]
    return any(package.approval_description in _words_in_registry(event) for event in older)


def _words_in_registry(event: Event) -> set[str]:
    """Return what the registry may have been given for a decision. A person's comment by itself is the console's: a decision of its own."""
    comment = str(event.details.get("comment") or "")
    words = {description(event.kind, event.by, comment), f"{comment} (by {event.by})"}
    return {model_packages.shortened(text) for text in (words if decisions.is_persons(event) else words | {comment})}


def _approved_again(events: Iterable[Event], package: ModelPackage) -> Event | None:
    """Find the try that failed and after which somebody decided anew to approve the version.

    Anew is: with other words than those of the approval that it was tried with. A fact that was noted on the version since is no decision.
    """
    failed = decisions.failed_try(events, package.version)
    words = failed.details.get("approval") if failed else None
    is_anew = package.approval_status == "Approved" and words is not None and words != package.approval_description
    return failed if is_anew else None


def _evaluated_since(events: Iterable[Event], version: int, execution: str) -> Event | None:
    """Find the version's newest evaluation, where it did not fail and is newer than this execution's."""
    found, is_newer = None, False
    for event in events:
        if (event.kind, event.version) == ("evaluated", version):
            found, is_newer = event, event.by != execution and (is_newer or (found is not None and found.by == execution))
    return found if found is not None and is_newer and found.details.get("verdict") != "failed" else None
