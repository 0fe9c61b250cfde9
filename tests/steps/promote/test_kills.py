"""The step killed outright and started again: it ends in one of the two right states, and nothing is left over."""

from __future__ import annotations

import random
import time

import pytest

from tests.support.traffic import traffic
from tests.support.waiting import WHOLE_SYSTEM_S
from tests.support.worlds.promotion import QUESTION, ServedPromotions, Version

pytestmark = pytest.mark.timeout(WHOLE_SYSTEM_S)

IMPATIENT = {"wait_s": 120, "expires_s": 5}
ROLLING = {"strategy": "rolling", "batch_percent": 50, "bake_s": 1}


def right_state(served: ServedPromotions, version: Version, *, serves: int) -> None:
    """The endpoint serves that version, the ledger says so, and nothing else of the model's is there."""
    described = served.endpoint(version.endpoint)
    assert described is not None
    assert described["EndpointStatus"] == "InService"
    config = described["EndpointConfigName"]
    assert f"-v{serves}-" in config
    promoted = [event for event in served.events(version) if event.kind == "promoted"]
    assert promoted[-1].version == serves
    deployment = promoted[-1].details["deployment"]
    assert isinstance(deployment, dict)
    assert deployment["config"] == config
    assert {name.removesuffix("-errors") for name in served.definitions(version.release.name)} == {config}


def test_a_first_promotion_stopped_half_way_gives_the_lease_back_and_is_taken_up_by_another_execution(
    served: ServedPromotions,
) -> None:
    version = served.version(served.name())
    run = served.start(version, execution="stopped-execution")
    run.wait_for(" is Creating")
    run.process.terminate()
    assert run.wait() == 143
    again = served.promote(version, execution="another-execution")
    assert "waiting for another promotion" not in again.text
    assert again.promotion.action == "created"
    right_state(served, version, serves=1)


def test_an_update_killed_half_way_is_taken_up_by_the_same_execution_at_once(served: ServedPromotions) -> None:
    name = served.name()
    served.serve(served.version(name))
    second = served.version(name)
    run = served.start(second, execution="same-execution")
    run.wait_for(" is Updating")
    run.kill()
    again = served.promote(second, execution="same-execution")
    assert "waiting for another promotion" not in again.text
    assert again.promotion.action == "updated"
    assert again.promotion.previous_version == 1
    right_state(served, second, serves=2)
    assert served.serve(second).action == "unchanged"
    assert [event.kind for event in served.events(second)] == ["changing", "promoted"] * 2


@pytest.mark.soak
def test_twenty_kills_at_random_moments_end_in_a_right_state(served: ServedPromotions) -> None:
    name, chance = served.name(), random.Random(20)
    first = served.version(name, update=ROLLING, instance_count=2, lease=IMPATIENT)
    served.promote(first)
    started = time.monotonic()
    serving = served.promote(served.version(name, update=ROLLING, instance_count=2, lease=IMPATIENT)).promotion.version
    whole_s = time.monotonic() - started
    with traffic(served, name, rate_per_s=10) as sent:
        for kill in range(20):
            is_good = kill % 4 != 3
            settings = {} if is_good else {"answers": {QUESTION: "something else a b c d e f g h i j"}}
            version = served.version(name, settings=settings, update=ROLLING, instance_count=2, lease=IMPATIENT)
            run = served.start(version, execution=f"kill-{kill:04}")
            moment_s = chance.uniform(0, 1.2 * whole_s)
            time.sleep(moment_s)
            run.kill()
            execution = f"kill-{kill:04}" if kill % 2 else f"next-{kill:04}"
            again = served.start(version, execution=execution)
            ended = again.wait()
            assert ended == (0 if is_good else 1), f"killed after {moment_s:.2f} s\n{run.text}\n---\n{again.text}"
            serving = version.number if is_good else serving
            right_state(served, version, serves=serving)
    assert not sent.failed
    assert not sent.truncated
