"""Bad versions that pass every check before: production ends with the old version, and exit code, message and ledger say why."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.support.traffic import traffic
from tests.support.waiting import WHOLE_SYSTEM_S, wait_until
from tests.support.worlds.promotion import QUESTION, PromotionRun, PromotionWorld, ServedPromotions

pytestmark = pytest.mark.timeout(WHOLE_SYSTEM_S)

ROLLING = {"strategy": "rolling", "batch_percent": 50, "bake_s": 60}
CANARY = {"strategy": "canary", "canary_percent": 50, "bake_s": 60}


def refused_under_traffic(
    served: ServedPromotions, production: dict[str, Any], bad: dict[str, Any]
) -> tuple[PromotionRun, set[str]]:
    """Promote a good version, then a bad one under traffic; returns the bad one's run, and what went wrong for callers after it was over."""
    name = served.name()
    first = served.version(name, **production)
    served.serve(first)
    second = served.version(name, settings=bad, **production)
    with traffic(served, name) as sent:
        run = served.refuse(second)
        over, failed = time.monotonic(), len(sent.failed)
        wait_until(lambda: sent.since(over).total() >= 10, "ten answers after it was over")
    assert set(sent.since(over)) == {"version 1"}
    described = served.endpoint(name)
    assert described is not None
    assert described["EndpointStatus"] == "InService"
    assert "v1-" in described["EndpointConfigName"]
    assert described["ProductionVariants"][0]["CurrentInstanceCount"] == production.get("instance_count", 1)
    assert not [definition for definition in served.definitions(name) if "-v2-" in definition], "the bad version left something"
    assert [event.kind for event in served.events(first) if event.kind != "changing"] == ["promoted", "refused"]
    return run, set(sent.failed[failed:]) | set(sent.truncated)


def test_errors_after_forty_requests_take_it_back(served: ServedPromotions) -> None:
    production = {"update": {"strategy": "all_at_once", "bake_s": 60}, "guards": {"period_s": 10}}
    run, wrong = refused_under_traffic(served, production, {"error_after_requests": 40})
    assert "-errors (More than 5 % of the requests ended with a 5XX" in run.message
    assert not wrong


def test_a_wrong_answer_after_the_update_gives_the_old_version_back(served: ServedPromotions) -> None:
    run, wrong = refused_under_traffic(served, {}, {"answers": {QUESTION: "version 7 " + " ".join("abcdefghij")}})
    assert f"answered {QUESTION!r} with 'version 7" in run.message
    assert "it serves version 1 again" in run.message
    assert not wrong


@pytest.mark.soak
def test_a_latency_five_times_as_long_takes_it_back(served: ServedPromotions) -> None:
    slow = {"ttft_ms": 100, "latency_factor": 5}
    production = {"update": CANARY, "instance_count": 2, "guards": {"period_s": 10, "model_latency_p99_ms": 300}}
    run, wrong = refused_under_traffic(served, production, slow)
    assert "-latency (ModelLatency p99 above 300 ms" in run.message
    assert not wrong


@pytest.mark.soak
def test_a_version_that_never_becomes_healthy_never_gets_a_request(served: ServedPromotions) -> None:
    run, wrong = refused_under_traffic(served, {"update": ROLLING, "instance_count": 2}, {"never_healthy": True})
    assert "did not pass the ping health check" in run.message
    assert not wrong


def test_a_version_that_crashes_at_once_leaves_production_as_it_was(world: PromotionWorld) -> None:
    name = world.name()
    first = world.version(name)
    world.serve(first)
    reason = world.refused(world.version(name, settings={"crash_at_start": True}))
    assert "did not pass the ping health check" in reason
    assert "simulated: crash_at_start" in reason, "the container's last words"
    assert (world.endpoint(name) or {})["EndpointStatus"] == "InService"
    assert all("-v1-" in definition for definition in world.definitions(name))


def test_a_first_version_that_is_wrong_leaves_no_endpoint_and_no_autoscaling(world: PromotionWorld) -> None:
    name = world.name()
    scaling = {"min_instances": 1, "max_instances": 2, "concurrent_requests_per_instance": 100}
    first = world.version(name, settings={"answers": {QUESTION: "nothing"}}, autoscaling=scaling)
    assert "it was the first and is deleted" in world.refused(first)
    assert world.endpoint(name) is None
    assert world.definitions(name) == []
    assert not world.client("cloudwatch").describe_alarms(AlarmNamePrefix=name)["MetricAlarms"]
    targets = world.client("application-autoscaling").describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    assert not [target for target in targets if f"/{name}/" in target["ResourceId"]]
