"""Mistakes that were made once, put back one at a time: a machine that does not find them finds no others either."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NoReturn
from unittest import mock

from delivery.errors import DeliveryError
from delivery.history import changes, decisions, registry_decisions
from delivery.history.ledger import Event, EventKind, Ledger
from steps.promote import prepare, record
from steps.promote import step as promote

_append = Ledger.append


def _append_unchecked(ledger: Ledger, kind: EventKind, *, check: object = None, **more: Any) -> Event:
    return _append(ledger, kind, **more)


def _leave_it(_: object, __: object, error: DeliveryError) -> NoReturn:
    raise error


Patch = tuple[Any, str, Any]
BUGS: dict[str, list[Patch]] = {
    "what a person rejected is approved with a bare approve": [(decisions, "standing_rejection", lambda *_: None)],
    "a promotion does not ask who is against the version": [(decisions, "refusals", lambda *_: [])],
    "of two who decide at once both win": [
        (Ledger, "append", _append_unchecked),
        (registry_decisions, "settle", lambda *_: None),
    ],
    "the gate rejects what a person approved": [(decisions, "is_persons", lambda _: False)],
}
RARE: dict[str, list[Patch]] = {
    "a rejection between the last look and the record is lost": [(record, "_compare", lambda *_: None)],
    "a promotion that was made already is made again by a late event": [(prepare, "_superseded", lambda *_: None)],
    "a promotion that is under way waits for the lease until it fails": [(promote, "raise_if_under_way", lambda *_: None)],
    "a promotion that the ledger cannot be told of stays in production": [(record, "take_out", _leave_it)],
    "a rollback that is ended leaves what it left approved": [(changes, "rejections_due", lambda _: [])],
}
"""What is wrong → what is put in whose place. Those that are rare take a moment of a few calls to AWS, and many histories."""


@contextmanager
def seeded(bug: str) -> Iterator[None]:
    """Put one of them back for the time of the `with` block."""
    with ExitStack() as patched:
        for owner, name, wrong in {**BUGS, **RARE}[bug]:
            patched.enter_context(mock.patch.object(owner, name, wrong))
        yield
