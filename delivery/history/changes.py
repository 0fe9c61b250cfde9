"""Changes of production in the ledger: what was begun, what came of it, and what is still to be done.

Before a promotion, rollback or retirement touches the endpoint it writes an event `changing`: from what, to what (a write-ahead record). The
event that says how it ended closes it. One that stays open was ended half-way: whoever runs next compares the endpoint with it, and knows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from delivery.history.ledger import Event, EventKind

ENDINGS: Final[tuple[EventKind, ...]] = ("promoted", "rolled_back", "retired")
"""The kinds of events that say what production serves from then on."""


def open_changes(events: Iterable[Event]) -> list[Event]:
    """Find the changes of production whose end the ledger does not know.

    Args:
        events: The ledger's, oldest first.

    Returns:
        Such events `changing`, oldest first; none when every change was ended.

    Example:
        >>> def event(sequence, kind, **details):
        ...     return Event(sequence=sequence, at="", kind=kind, version=4, by="me", details=details)
        >>> ledger = [event(1, "promoted"), event(2, "changing"), event(3, "refused", closes=2), event(4, "changing")]
        >>> [change.sequence for change in open_changes(ledger)], open_changes(ledger[:3])
        ([4], [])
    """
    found: list[Event] = []
    for event in events:
        if event.kind == "changing":
            found.append(event)
        elif event.kind in ENDINGS:
            found = []
        elif "closes" in event.details:
            found = [change for change in found if change.sequence != event.details["closes"]]
    return found


def open_change(events: Iterable[Event], serving: str | None = None) -> Event | None:
    """Find the open change that tells most about the endpoint: an older one may be what it serves, where a newer one came to nothing.

    Args:
        events: The ledger's, oldest first.
        serving: The endpoint config that it serves; None: nothing, or not known.

    Returns:
        The newest open change to that; else the newest one; None when every change was ended.
    """
    found = open_changes(events)
    to_that = [change for change in found if change.details.get("to") == serving]
    return next(reversed(to_that or found), None)


def change_to(events: Iterable[Event], config: str) -> Event | None:
    """Find the event `changing` that says what an endpoint config is.

    Args:
        events: The ledger's, oldest first.
        config: The endpoint config's name.

    Returns:
        The newest one; None when no change was to that config.
    """
    found = [event for event in events if event.kind == "changing" and event.details.get("to") == config]
    return found[-1] if found else None


def version_before(change: Event) -> int | None:
    """Return the version that production served before the change, as an event `changing` says; None: none, or one not of this project."""
    version = change.details.get("from_version")
    return version if isinstance(version, int) else None


def unfinished(events: Iterable[Event]) -> list[str]:
    """Return what the last change of production could not do beside the change itself, or one that came to nothing lost, and nobody did since.

    Args:
        events: The ledger's, oldest first.

    Returns:
        One sentence each, as in `autoscaling: could not register …`.
    """
    found: list[str] = []
    for event in events:
        named = event.details.get("unfinished")
        left = [str(one) for one in named] if isinstance(named, list) else []
        if event.kind in ENDINGS:
            found = left
        elif event.kind == "settled":
            found = []
        elif event.kind == "refused":
            found += [one for one in left if one not in found]
    return found


def rejections_due(events: Iterable[Event]) -> list[Event]:
    """Find what took a version out of production that was not rejected yet: the registry may have it as Approved, and an event promote it.

    Args:
        events: The ledger's, oldest first.

    Returns:
        The events `rolled_back` and `retired`; the version that each left is its `previous_version`.
    """
    due: dict[int, Event] = {}
    for event in events:
        left = event.details.get("previous_version")
        if event.kind in ("promoted", "rolled_back", "rejected") or (event.kind == "approved" and event.details.get("despite")):
            due.pop(event.version or 0, None)
        if (
            event.kind in ("rolled_back", "retired")
            and isinstance(left, int)
            and (event.kind, event.version) != ("rolled_back", left)
        ):
            due[left] = event
    return list(due.values())
