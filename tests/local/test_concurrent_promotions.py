"""Many versions of one model are approved at once: their promotions take turns, and what is left is one of them, as the ledger says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from delivery.history.ledger import Event
from tests.support.waiting import WHOLE_SYSTEM_S
from tests.support.worlds.registry import RegistryWorld, Version, registry_world

pytestmark = pytest.mark.timeout(WHOLE_SYSTEM_S)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[RegistryWorld]:
    with registry_world(tmp_path) as made:
        yield made


def race(world: RegistryWorld, versions: list[Version]) -> dict[int, tuple[int, str]]:
    """Promote them all at once; every version's exit code and log."""
    started = {version.number: world.start_promotion(version, f"exec-{version.number:08d}") for version in versions}
    return {number: (promotion.wait(WHOLE_SYSTEM_S), promotion.text) for number, promotion in started.items()}


def in_production(world: RegistryWorld, endpoint: str) -> int:
    """The version of the endpoint, by the tags of what it serves."""
    sagemaker = world.client("sagemaker")
    described = sagemaker.describe_endpoint(EndpointName=endpoint)
    assert described["EndpointStatus"] == "InService"
    arn = sagemaker.describe_endpoint_config(EndpointConfigName=described["EndpointConfigName"])["EndpointConfigArn"]
    return int({tag["Key"]: tag["Value"] for tag in sagemaker.list_tags(ResourceArn=arn)["Tags"]}["release:version"])


def promotions(events: list[Event]) -> list[Event]:
    return [event for event in events if event.kind == "promoted"]


def check(world: RegistryWorld, model: str, ended: dict[int, tuple[int, str]]) -> list[Event]:
    """What holds whoever was first; returns the promotions in their order."""
    done = promotions(world.ledger(model))  # raises if the chain does not hold
    assert {event.version for event in done} == {number for number, (code, _) in ended.items() if code == 0}
    assert all(code in (0, 1) for code, _ in ended.values())
    assert not any("Traceback" in text or "in-progress" in text for _, text in ended.values())
    # One at a time: each found in production what the one before it had left there.
    assert [event.details.get("previous_version") for event in done] == [None, *(event.version for event in done[:-1])]
    assert in_production(world, model) == done[-1].version
    return done


def wait_their_turn(world: RegistryWorld, count: int) -> None:
    versions = [world.version("busy") for _ in range(count)]
    ended = race(world, versions)
    done = check(world, "busy", ended)
    # Everybody waits, so the newest gets its turn too, and no older one comes after it.
    numbers = [event.version or 0 for event in done]
    assert numbers == sorted(numbers)
    assert numbers[-1] == count
    for code, text in ended.values():
        assert code == 0 or "newer" in text


def test_promotions_at_once_take_turns_and_the_newest_stays(world: RegistryWorld) -> None:
    wait_their_turn(world, 5)


@pytest.mark.soak
def test_twenty_promotions_at_once_take_turns_and_the_newest_stays(world: RegistryWorld) -> None:
    wait_their_turn(world, 20)


def leave_at_once(world: RegistryWorld, count: int) -> None:
    versions = [world.version("hasty", lease={"wait_s": 0}) for _ in range(count)]
    ended = race(world, versions)
    check(world, "hasty", ended)
    for code, text in ended.values():
        assert code == 0 or "another promotion works on hasty" in text or "newer" in text


@pytest.mark.soak
def test_of_twenty_that_do_not_wait_the_losers_leave_and_say_who_has_it(world: RegistryWorld) -> None:
    leave_at_once(world, 20)
