"""Which version a rollback returns to, by what the ledger tells and what the endpoint serves."""

from __future__ import annotations

import pytest

from delivery.errors import InputError
from delivery.history import serving_history
from delivery.history.ledger import Event, EventKind


def history(*told: int) -> list[Event]:
    """Promotions, one a version; a negative one is a rollback to it."""
    kinds: list[tuple[EventKind, int]] = [("promoted", one) if one > 0 else ("rolled_back", -one) for one in told]
    return [
        Event(sequence=number, at="2026-11-25T00:00:00+00:00", kind=kind, version=version, by="test")
        for number, (kind, version) in enumerate(kinds, 1)
    ]


@pytest.mark.parametrize(
    ("told", "serving", "returns_to"),
    [
        ((3, 4, 5), 5, 4),
        ((3, 4, 5), None, 4),
        ((3, 4, 5, -4), 4, 3),
        ((3, 4, 5), 6, 5),  # 6 serves, and its promotion was never done
        ((5,), 6, 5),
        ((3, 4, 5), 4, 4),  # somebody went back by hand: that is no promotion that was cut off
    ],
)
def test_what_a_rollback_returns_to(told: tuple[int, ...], serving: int | None, returns_to: int) -> None:
    assert serving_history.returning_to(history(*told), None, serving).version == returns_to


def test_a_version_that_is_named() -> None:
    assert serving_history.returning_to(history(3, 4, 5), 5, 6).version == 5
    assert serving_history.returning_to(history(3, 4, 5), 3, 6).version == 3
    with pytest.raises(InputError, match="production serves version 6 now"):
        serving_history.returning_to(history(3, 4, 5), 6, 6)
    with pytest.raises(InputError, match="production serves version 5 now"):
        serving_history.returning_to(history(3, 4, 5), 5)
    with pytest.raises(InputError, match="never served version 9; it served 3, 4, 5"):
        serving_history.returning_to(history(3, 4, 5), 9)


@pytest.mark.parametrize("told", [(), (3,)])
def test_nothing_to_return_to(told: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="nothing to return to"):
        serving_history.returning_to(history(*told), None)
