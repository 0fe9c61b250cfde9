"""Approved, rejected: a decision about a version stands in the registry, and in the ledger with who made it and why.

The command and the gate write both, the ledger first: the registry takes every change of an approval, in whatever order it comes, and the
ledger's order is the one that counts. One made elsewhere, in the console or with the AWS CLI, is in the registry alone until VerifyApproval
notes it.

A person's rejection, a rollback from a version and its retirement stand until a person overrules them by name (`approve --force --comment`): no later
event, no approval in the console and no gate does.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from delivery.errors import DecisionOvertaken
from delivery.history.ledger import Event, Ledger
from delivery.registry import model_packages
from delivery.registry.model_packages import ModelPackage

if TYPE_CHECKING:
    from types_boto3_sagemaker.client import SageMakerClient

Decision = Literal["approved", "rejected"]
GATE = "the gate of "
"""How the name of the gate begins, as opposed to a person's."""
DECISIONS: dict[str, Decision] = {"Approved": "approved", "Rejected": "rejected"}
"""A version's approval status in the registry → the kind of ledger event that says so."""
_TAKEN_OUT = {"rolled_back": "production was rolled back from it", "retired": "it was taken out of service"}


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


def standing_rejection(events: Iterable[Event], version: int) -> Event | None:
    """Find what keeps a version out of production until a person overrules it: a person's rejection, a rollback from it, its retirement.

    Args:
        events: The ledger's, oldest first.
        version: Its number.

    Returns:
        The event `rejected`, `rolled_back` or `retired`; None when there was none, or it was overruled since.
    """
    found: Event | None = None
    for event in events:
        if _takes_out(event, version):
            found = event
        elif event.version != version:
            continue
        elif event.kind == "rejected" and not event.by.startswith(GATE):
            found = event
        elif (event.kind == "approved" and event.details.get("despite")) or _returns_to(event, found):
            found = None
    return found


def _returns_to(event: Event, found: Event | None) -> bool:
    """Tell whether the event is a rollback to the version that began after the rejection: only such a one overrules it."""
    begun = event.details.get("begun")
    since = begun if isinstance(begun, int) else event.sequence
    return event.kind == "rolled_back" and (found is None or found.sequence <= since)


def objection(events: Iterable[Event], version: int) -> str:
    """Say what of the version's history is against its promotion, as `standing_rejection` finds it; empty when nothing is."""
    event = standing_rejection(events, version)
    return describe(event) if event is not None else ""


def refusals(events: Iterable[Event], version: int, model: str) -> list[str]:
    """Say that a person is against the version.

    Args:
        events: The ledger's, oldest first.
        version: Its number.
        model: The model's name, for the command that overrules it.

    Returns:
        One sentence; empty when nobody is.
    """
    against = objection(events, version)
    if not against:
        return []
    return [
        f"approval: {against}; whoever wants it in production all the same says so by name: python -m pipelines.run approve {model} "
        f"{version} --force --comment WHY"
    ]


def failed_evaluation(events: Iterable[Event], version: int) -> list[str]:
    """Say that the version's newest evaluation did not pass, unless somebody overruled a verdict about it by name.

    Args:
        events: The ledger's, oldest first.
        version: Its number.

    Returns:
        One sentence; empty when it passed, there is none, or it was overruled.
    """
    about = [event for event in events if event.version == version]
    newest = next((event.details for event in reversed(about) if event.kind == "evaluated"), None)
    is_overruled = any(event.kind == "approved" and event.details.get("despite") for event in about)
    if newest is None or newest.get("verdict") == "passed" or is_overruled:
        return []
    return [f"evaluation: the verdict in {newest.get('report')} is {newest.get('verdict')!r}, not passed"]


def decide(
    ledger: Ledger, decision: Decision, package: ModelPackage, *, by: str, comment: str, seen: list[Event], **details: Any
) -> Event:
    """Write a decision into the ledger, unless somebody else decided about the version since: compare and set.

    Args:
        ledger: The model's.
        decision: What was decided.
        package: About which version.
        by: Who decided.
        comment: Why.
        seen: The ledger's events that the decision goes by.
        details: What else is known.

    Returns:
        The event; the registry is to be changed after it.

    Raises:
        DecisionOvertaken: There is a newer decision than those in `seen`; the message says whose.
        DeliveryError: S3 refused.
        LedgerBroken: The chain does not hold.
    """
    known = _newest_decision(seen, package.version)

    def check(events: list[Event]) -> None:
        newest = _newest_decision(events, package.version)
        if newest is not None and newest != known:
            raise _overtaken(newest, package.version)

    return ledger.append(
        decision,
        by=by,
        version=package.version,
        model_package=package.arn,
        details={"comment": comment, **details},
        check=check,
    )


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
        newest = _newest_decision(events, package.version)
        if newest is not None and _is_persons(newest):
            raise _overtaken(newest, package.version)
        if (newer := _evaluated_since(events, package.version, execution)) is not None:
            raise DecisionOvertaken(
                f"version {package.version} was evaluated again by {newer.by} at {newer.at}, and is {newer.details.get('verdict')}: that stands"
            )

    note_if_made_elsewhere(ledger, package)  # an approval in the console is a person's, too
    by, events = f"{GATE}{execution}", ledger.events()
    event = last_decision(events, package.version)
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
        newest = last_decision(ledger.events(), package.version)
        if newest is not None and _is_overtaken_in_registry(events, package):
            _give_registry(registry, package, newest)  # what an earlier run of this step did, and did not live to settle
        return stands
    return None


def _evaluated_since(events: Iterable[Event], version: int, execution: str) -> Event | None:
    """Find the version's newest evaluation, where it did not fail and is newer than this execution's."""
    found, is_newer = None, False
    for event in events:
        if (event.kind, event.version) == ("evaluated", version):
            found, is_newer = event, event.by != execution and (is_newer or (found is not None and found.by == execution))
    return found if found is not None and is_newer and found.details.get("verdict") != "failed" else None


def _is_persons(event: Event) -> bool:
    """Tell whether a person decided: by an ARN, or in the console, where CloudTrail knows who; the policy is an execution."""
    return not event.by.startswith(GATE) and ":" in event.by


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
    newest = last_decision(ledger.events(), package.version)
    if newest is None or newest.sequence <= event.sequence or newest.kind == event.kind:
        return
    _give_registry(registry, package, newest)
    raise _overtaken(newest, package.version)


def _give_registry(registry: SageMakerClient, package: ModelPackage, decision: Event) -> None:
    set_status = model_packages.approve if decision.kind == "approved" else model_packages.reject
    set_status(registry, package.arn, description(decision.kind, decision.by, str(decision.details.get("comment") or "")))


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


def _is_overtaken_in_registry(events: Iterable[Event], package: ModelPackage) -> bool:
    """Tell whether the registry has an older decision than the ledger's last one, in the words of whoever made it by command, gate or policy."""
    decided = [event for event in events if event.version == package.version and event.kind in DECISIONS.values()]
    older = [event for event in decided[:-1] if event.kind == DECISIONS.get(package.approval_status) != decided[-1].kind]
    return any(package.approval_description in _words_in_registry(event) for event in older)


def _words_in_registry(event: Event) -> set[str]:
    """Return what the registry may have been given for a decision. A person's comment by itself is the console's: a decision of its own."""
    comment = str(event.details.get("comment") or "")
    words = {description(event.kind, event.by, comment), f"{comment} (by {event.by})"}
    return {model_packages.shortened(text) for text in (words if _is_persons(event) else words | {comment})}


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
    against = standing_rejection(ledger.events(), package.version)
    if against is None or package.approval_status != "Approved":
        return
    model_packages.reject(registry, package.arn, describe(against))
    with suppress(DecisionOvertaken):  # somebody overruled it by name just now, and the registry has that
        settle(ledger, registry, package, against)


def _newest_decision(events: Iterable[Event], version: int) -> Event | None:
    """Find the last event that decides about the version: what took it out of production does, too."""
    found = None
    for event in events:
        is_about = event.version == version and event.kind in DECISIONS.values()
        if is_about or _takes_out(event, version):
            found = event
    return found


def _takes_out(event: Event, version: int) -> bool:
    """Tell whether the event took the version out of production because somebody wanted it out."""
    return event.kind in ("rolled_back", "retired") and event.details.get("previous_version") == version


def _overtaken(event: Event, version: int) -> DecisionOvertaken:
    return DecisionOvertaken(
        f"version {version} was decided about by somebody else meanwhile: {describe(event)}, and that stands; look at it, then decide again"
    )


def describe(event: Event) -> str:
    """Say what was decided, when, by whom and why.

    Args:
        event: One that `standing_rejection` or `last_decision` returns.

    Returns:
        A clause without its subject's name, as in `it was rejected at … by …, 'why'`.
    """
    comment = event.details.get("comment")
    what = _TAKEN_OUT.get(event.kind) or f"it was {event.kind}"
    return f"{what} at {event.at} by {event.by}{f', {comment!r}' if comment else ''}"


def note(
    ledger: Ledger,
    decision: Decision,
    package: ModelPackage,
    *,
    by: str,
    comment: str,
    **details: Any,
) -> Event:
    """Write a decision into the ledger. Idempotent: unless the last decision about this version is the same one already.

    Args:
        ledger: The model's.
        decision: What was decided.
        package: About which version.
        by: Who decided.
        comment: Why.
        details: What else is known.

    Returns:
        The event, the one written before or the new one.

    Raises:
        DeliveryError: S3 refused.
        LedgerBroken: The chain does not hold.
    """
    last = last_decision(ledger.events(), package.version)
    if last is not None and last.kind == decision:
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
    if decision == "approved" and standing_rejection(events, package.version):
        return None  # it is refused, whoever made it: no decision of the ledger's
    if again is None and _is_overtaken_in_registry(events, package):
        return None  # made by command, gate or policy, and in the ledger since
    if decision is None or (last is not None and last.kind == decision and again is None):
        return None
    by = package.changed_by or "unknown: CloudTrail has it as UpdateModelPackage"
    details: dict[str, Any] = {"after": f"event {again.sequence}"} if again else {}
    try:
        return decide(ledger, decision, package, by=by, comment=package.approval_description, seen=events, **details)
    except DecisionOvertaken:
        return None  # an event may come twice: the other one noted it


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
        if event.kind in ("approved", "promoted", "rolled_back", "retired"):
            found = None
        elif event.kind == "refused" and event.details.get("tried") is True:
            found = event
    return found
