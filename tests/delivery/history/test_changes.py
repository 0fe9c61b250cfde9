"""Changes of production by the ledger: which one is open, what is unfinished, who is to be rejected."""

from __future__ import annotations

from typing import Any

import pytest

from delivery.history import changes
from delivery.history.ledger import Event, EventKind

Told = tuple[EventKind, int, dict[str, Any]]


def history(*told: Told) -> list[Event]:
    return [
        Event(sequence=number, at="2026-11-25T00:00:00+00:00", kind=kind, version=version, by="test", details=details)
        for number, (kind, version, details) in enumerate(told, 1)
    ]


BEGUN_2: Told = ("changing", 2, {"from_version": 1, "to": "two"})
BEGUN_3: Told = ("changing", 3, {"from_version": 2, "to": "three"})


@pytest.mark.parametrize(
    ("told", "is_open"),
    [
        ([], None),
        ([("promoted", 1, {})], None),
        ([BEGUN_2], 1),
        ([BEGUN_2, ("promoted", 2, {})], None),
        ([BEGUN_2, ("rolled_back", 1, {})], None),
        ([BEGUN_2, ("retired", 2, {})], None),
        ([BEGUN_2, ("refused", 2, {"closes": 1})], None),
        ([BEGUN_2, ("refused", 2, {"reason": "not approved"})], 1),  # VerifyApproval's, of another execution
        ([BEGUN_2, ("approved", 2, {}), ("rejected", 2, {}), ("settled", 1, {})], 1),
        ([BEGUN_2, BEGUN_3], 2),
        (
            [BEGUN_2, BEGUN_3, ("refused", 3, {"closes": 2})],
            1,
        ),  # SageMaker took the update of 3 back: 2 serves, and nobody looked it over
        ([BEGUN_2, BEGUN_3, ("promoted", 3, {})], None),
        ([BEGUN_2, ("promoted", 2, {}), BEGUN_3], 3),
    ],
)
def test_a_change_is_open_until_its_own_end_is_told(told: list[Told], is_open: int | None) -> None:
    found = changes.open_change(history(*told))
    assert (found.sequence if found else None) == is_open


@pytest.mark.parametrize(("serving", "tells"), [("two", 1), ("three", 2), ("another", 3), (None, 3)])
def test_of_several_open_changes_the_one_to_what_is_served_tells_most(serving: str | None, tells: int) -> None:
    begun = history(BEGUN_2, BEGUN_3, ("changing", 4, {"from_version": 2, "to": "four"}))
    found = changes.open_change(begun, serving)
    assert found is not None and found.sequence == tells


def test_what_an_endpoint_config_is_says_the_newest_change_to_it() -> None:
    events = history(BEGUN_2, BEGUN_3, BEGUN_2)
    found = changes.change_to(events, "two")
    assert found is not None and found.sequence == 3
    assert changes.version_before(found) == 1
    assert changes.change_to(events, "four") is None


LEFT: dict[str, Any] = {"unfinished": ["autoscaling: AccessDenied"]}


@pytest.mark.parametrize(
    ("told", "left"),
    [
        ([("promoted", 1, {})], []),
        ([("promoted", 1, LEFT)], ["autoscaling: AccessDenied"]),
        ([("rolled_back", 1, LEFT), ("refused", 2, {}), BEGUN_2], ["autoscaling: AccessDenied"]),
        ([("promoted", 1, LEFT), ("settled", 1, {})], []),
        ([("promoted", 1, {}), ("refused", 2, LEFT), ("refused", 3, LEFT)], ["autoscaling: AccessDenied"]),
        ([("promoted", 1, {}), ("refused", 2, LEFT), ("settled", 1, {})], []),
        ([("promoted", 1, {}), ("refused", 2, LEFT), ("rolled_back", 1, {})], []),
        ([("promoted", 1, LEFT), ("promoted", 2, {})], []),
        ([("promoted", 1, LEFT), ("retired", 1, {})], []),
    ],
)
def test_what_is_unfinished_is_so_until_it_is_settled_or_replaced(told: list[Told], left: list[str]) -> None:
    assert changes.unfinished(history(*told)) == left


BACK: Told = ("rolled_back", 1, {"previous_version": 2})
OUT: Told = ("retired", 2, {"previous_version": 2})


@pytest.mark.parametrize(
    ("told", "due"),
    [
        ([BACK], [2]),
        ([OUT], [2]),
        ([BACK, ("rejected", 2, {})], []),
        ([BACK, ("approved", 2, {})], [2]),  # by an event, or in the console
        ([BACK, ("approved", 2, {"despite": "production was rolled back from it"})], []),
        ([BACK, ("promoted", 2, {})], []),
        ([OUT, ("rolled_back", 2, {"previous_version": None})], []),
        ([BACK, ("rolled_back", 0, {"previous_version": 1})], [2, 1]),
        ([("promoted", 2, {"previous_version": 1})], []),
        ([("rolled_back", 2, {"previous_version": 2})], []),
    ],
)
def test_what_was_taken_out_is_to_be_rejected_until_it_is_or_somebody_wants_it_again(told: list[Told], due: list[int]) -> None:
    assert [event.details["previous_version"] for event in changes.rejections_due(history(*told))] == due
