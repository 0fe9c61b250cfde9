"""Which versions production served, and which one a rollback returns to, by what the ledger tells and what the endpoint serves."""

from __future__ import annotations

from typing import Any

import pytest

from config.production import Autoscaling
from delivery.errors import InputError
from delivery.history import serving_history
from delivery.history.ledger import Event, EventKind
from delivery.history.serving_history import DeployedVersion

NOTHING_ELSE = "production never served another version than 5: there is nothing to return to; --to names one, and retire takes it out of service"


def history(*told: int) -> list[Event]:
    """Make promotions, one a version; a negative one is a rollback to it."""
    kinds: list[tuple[EventKind, int]] = [("promoted", one) if one > 0 else ("rolled_back", -one) for one in told]
    return [
        Event(sequence=number, at="2026-11-25T00:00:00+00:00", kind=kind, version=version, by="test")
        for number, (kind, version) in enumerate(kinds, 1)
    ]


def lineage(*told: int) -> list[tuple[int, int | None]]:
    """Return the sequence number and the version of each event of the lineage."""
    return [(event.sequence, event.version) for event in serving_history.serving_lineage(history(*told))]


@pytest.mark.parametrize(
    ("told", "events"),
    [
        ((), []),
        ((3,), [(1, 3)]),
        ((3, 4, 5), [(1, 3), (2, 4), (3, 5)]),
        ((3, 4, 5, -4), [(1, 3), (4, 4)]),  # what 4 ran is what the rollback brought
        ((3, 4, 5, -3), [(4, 3)]),
        ((3, 4, 5, -5), [(1, 3), (2, 4), (4, 5)]),
        ((3, 4, 5, -4, -3), [(5, 3)]),
        ((3, 4, 5, -4, 6), [(1, 3), (4, 4), (5, 6)]),
        ((3, 4, 3), [(2, 4), (3, 3)]),  # promoted once more: it is not twice in the lineage
        ((3, 4, 5, -4, -5), [(1, 3), (5, 5)]),  # to one that an earlier rollback left: it takes the place of the last
        ((-2,), [(1, 2)]),  # the ledger begins with a rollback
    ],
)
def test_the_lineage_is_what_serves_and_what_can_be_returned_to(told: tuple[int, ...], events: list[tuple[int, int]]) -> None:
    assert lineage(*told) == events


def test_other_events_are_no_part_of_the_lineage() -> None:
    refused = history(4)[0].model_copy(update={"kind": "refused", "sequence": 2})
    approved = history(4)[0].model_copy(update={"kind": "approved", "sequence": 3})
    assert serving_history.serving_lineage([*history(3), refused, approved]) == history(3)


@pytest.mark.parametrize(
    ("told", "version"), [((), None), ((3,), 3), ((3, 4), 4), ((3, 4, -3), 3), ((3, 4, 5, -4), 4), ((3, 4, -3, 5), 5)]
)
def test_what_production_serves_by_the_ledger(told: tuple[int, ...], version: int | None) -> None:
    assert serving_history.version_now(history(*told)) == version


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


def test_a_rollback_to_a_named_version_returns_to_what_it_ran_last() -> None:
    assert serving_history.returning_to(history(3, 4, -3, 5), 3).sequence == 3
    assert serving_history.returning_to(history(3, 4, 5), 3).sequence == 1


def test_a_version_that_was_only_refused_is_not_among_those_that_served() -> None:
    refused = history(1, 2, 8)[-1].model_copy(update={"kind": "refused"})
    with pytest.raises(InputError, match=r"production never served version 8; it served 1, 2$"):
        serving_history.returning_to([*history(1, 2), refused], 8)


@pytest.mark.parametrize(
    ("told", "version", "serving", "says"),
    [
        ((), None, None, "production never served a version: there is nothing to return to"),
        ((), 3, None, "production never served a version: there is nothing to return to"),
        ((5,), None, None, NOTHING_ELSE),
        ((5,), None, 5, NOTHING_ELSE),
        ((3, 4), 4, None, "production serves version 4 now"),
        ((3, 4), 5, 5, "production serves version 5 now"),
        ((3, 4, -3), 7, None, "production never served version 7; it served 3, 4"),
    ],
)
def test_what_cannot_be_returned_to_is_said(told: tuple[int, ...], version: int | None, serving: int | None, says: str) -> None:
    with pytest.raises(InputError) as caught:
        serving_history.returning_to(history(*told), version, serving)
    assert str(caught.value) == says


def deployed(config: str, **changes: Any) -> dict[str, Any]:
    return {
        "endpoint": "chat",
        "config": config,
        "instance_type": "ml.p5.48xlarge",
        "instance_count": 2,
        "container": {"Image": "i"},
        "facts": {"weights:revision": "0" * 40},
        **changes,
    }


def bringing(kind: EventKind, config: str, sequence: int, **changes: Any) -> Event:
    return Event(
        sequence=sequence, at="", kind=kind, version=sequence, by="test", details={"deployment": deployed(config, **changes)}
    )


AUTOSCALING = {"min_instances": 1, "max_instances": 3, "concurrent_requests_per_instance": 16}
EVENTS = [
    bringing("promoted", "one", 1),
    bringing("promoted", "two", 2, autoscaling=AUTOSCALING, instance_bounds=[1, 3]),
    bringing("rolled_back", "one", 3, instance_count=5),
    bringing("refused", "two", 4, instance_count=9),
]


def test_what_was_deployed_is_what_the_last_event_of_that_config_left() -> None:
    found = serving_history.deployment_of(EVENTS, "one")
    assert found == DeployedVersion.model_validate(deployed("one", instance_count=5))
    assert found is not None and found.autoscaling is None


def test_autoscaling_comes_back_as_the_model_file_said() -> None:
    found = serving_history.deployment_of(EVENTS, "two")
    assert found is not None
    assert found.instance_count == 2, "a refused promotion left nothing"
    assert found.instance_bounds == (1, 3)
    assert found.autoscaling == Autoscaling(min_instances=1, max_instances=3, concurrent_requests_per_instance=16)


@pytest.mark.parametrize("config", ["three", "", None])
def test_a_config_that_the_ledger_does_not_know_left_nothing(config: str | None) -> None:
    assert serving_history.deployment_of(EVENTS, config) is None


def test_an_event_that_does_not_say_what_it_left_is_named() -> None:
    with pytest.raises(InputError, match=r"the ledger's event 1 \(promoted\) does not say what it left in production"):
        DeployedVersion.of(history(3)[0])
