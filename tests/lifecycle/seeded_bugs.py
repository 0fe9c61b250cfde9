"""Mistakes that were made once, put back one at a time: a machine that does not find them finds no others either."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from delivery.history import decisions
from delivery.history.ledger import Event, EventKind, Ledger

_append = Ledger.append


def _append_unchecked(ledger: Ledger, kind: EventKind, *, check: object = None, **more: Any) -> Event:
    return _append(ledger, kind, **more)


Patch = tuple[Any, str, Any]
BUGS: dict[str, list[Patch]] = {
    "what a person rejected is approved with a bare approve": [(decisions, "standing_rejection", lambda *_: None)],
    "a promotion does not ask who is against the version": [(decisions, "refusals", lambda *_: [])],
    "of two who decide at once both win": [(Ledger, "append", _append_unchecked), (decisions, "settle", lambda *_: None)],
    "the gate rejects what a person approved": [(decisions, "_is_persons", lambda _: False)],
}
"""What is wrong → what is put in whose place."""


@contextmanager
def seeded(bug: str) -> Iterator[None]:
    """Put one of them back for the time of the `with` block."""
    with ExitStack() as patched:
        for owner, name, wrong in BUGS[bug]:
            patched.enter_context(mock.patch.object(owner, name, wrong))
        yield
