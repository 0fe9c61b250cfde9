"""Approved, rejected: what the ledger says that was decided about a version, by whom and why. The registry's side is `registry_decisions`.

A person's rejection, a rollback from a version and its retirement stand until a person overrules them by name (`approve --force --comment`): no later
event, no approval in the console and no gate does.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from delivery.errors import DecisionOvertaken
from delivery.history.ledger import Event, Ledger
from delivery.registry.model_packages import ModelPackage

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
    known = newest_decision(seen, package.version)

    def check(events: list[Event]) -> None:
        newest = newest_decision(events, package.version)
        if newest is not None and newest != known:
            raise overtaken(newest, package.version)

    return ledger.append(
        decision,
        by=by,
        version=package.version,
        model_package=package.arn,
        details={"comment": comment, **details},
        check=check,
    )


def is_persons(event: Event) -> bool:
    """Tell whether a person decided: by an ARN, or in the console, where CloudTrail knows who; the policy is an execution."""
    return not event.by.startswith(GATE) and ":" in event.by


def newest_decision(events: Iterable[Event], version: int) -> Event | None:
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


def overtaken(event: Event, version: int) -> DecisionOvertaken:
    """Return what is raised where somebody else's decision about the version, `event`, came first."""
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
