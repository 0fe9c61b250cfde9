"""Promotions and a rollback that nobody notices: streaming traffic all the while, no failed request, no stream cut short, no gap."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.support.traffic import counting, traffic
from tests.support.waiting import WHOLE_SYSTEM_S
from tests.support.worlds.promotion import ServedPromotions, Version

pytestmark = pytest.mark.timeout(WHOLE_SYSTEM_S)

ROLLING = {"strategy": "rolling", "batch_percent": 50, "bake_s": 1}
CANARY = {"strategy": "canary", "canary_percent": 50, "bake_s": 1}
LINEAR = {"strategy": "linear", "step_percent": 50, "bake_s": 1}


def promoted_unnoticed(served: ServedPromotions, version: Version, instances: int, *more: str) -> None:
    """Promote (or roll back to) the version under traffic, and see what the traffic and the instances say."""
    with traffic(served, version.endpoint) as sent, counting(served, version.endpoint) as count:
        sent.wait_for(10)
        served.promote(version, *more)
        switched = time.monotonic()
        sent.wait_for(10, since=switched)
    assert not sent.failed
    assert not sent.truncated
    assert count.fewest >= instances, "there was a gap"
    assert set(sent.since(switched)) == {f"version {version.number}"}
    assert len(sent.versions) == 2
    described = served.endpoint(version.endpoint)
    assert described is not None
    assert described["ProductionVariants"][0]["CurrentInstanceCount"] == instances


def test_a_promotion_and_its_rollback_lose_nothing(served: ServedPromotions) -> None:
    everything(served, {**ROLLING, "bake_s": 0}, 2)


@pytest.mark.soak
@pytest.mark.parametrize("instances", [2, 4])
@pytest.mark.parametrize("update", [ROLLING, CANARY, LINEAR], ids=lambda update: str(update["strategy"]))
def test_every_strategy_loses_nothing(served: ServedPromotions, update: dict[str, Any], instances: int) -> None:
    everything(served, update, instances)


def everything(served: ServedPromotions, update: dict[str, Any], instances: int) -> None:
    name = served.name()
    first = served.version(name, update=update, instance_count=instances)
    assert served.serve(first).action == "created"
    second = served.version(name, update=update, instance_count=instances)
    promoted_unnoticed(served, second, instances)
    promoted_unnoticed(served, first, instances, "--intent", "rollback", "--by", "ana", "--comment", "it was better before")
    events = served.events(first)
    assert [(event.kind, event.version, event.by == "ana") for event in events if event.kind != "changing"] == [
        ("promoted", 1, False),
        ("promoted", 2, False),
        ("rolled_back", 1, True),
        ("rejected", 2, True),
    ]
    assert events[-2].details["comment"] == "it was better before"
    assert len({definition.split("-errors")[0] for definition in served.definitions(name)}) == 1, "what was replaced is gone"
