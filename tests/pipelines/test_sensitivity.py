"""What a plan says of the differences from production that an evaluation can see."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pipelines.planning import plan
from pipelines.planning.observed_state import ObservedState
from pipelines.planning.plan_text import as_text
from pipelines.planning.sensitivity import sensitivities
from pipelines.resolution import resolve

PROFILE: dict[str, Any] = {
    "kind": "closed_loop",
    "concurrency": 16,
    "duration_s": 100,
    "duration_at_most_s": 400,
    "objectives": {"ttft_p99_ms": {"at_most_production": 1.1}},
}


def release(**changes: Any) -> Any:
    """The example's release on AWS with one relative objective."""
    whole = resolve("qwen3-32b", "aws").model_dump(mode="json")
    whole["model"]["evaluation"] |= {"load_profiles": {"chat": PROFILE}, **changes}
    whole["environment"]["instance_usd_per_hour"] = {whole["model"]["serving"]["instance_type"]: 100.0}
    return type(resolve("qwen3-32b", "aws")).model_validate(whole)


def stored(half: float, duration_s: float = 100) -> dict[str, Any]:
    """Production's evaluation, whose percentile could be off by so much either way."""
    value = 500.0
    result = {"value": value, "low": value * math.exp(-half), "high": value * math.exp(half)}
    load = release().model.evaluation.load_profiles["chat"].load
    return {"profiles": {"chat": {"load": load, "duration_s": duration_s, "objectives": {"ttft_p99_ms": result}}}}


@pytest.mark.parametrize(
    ("baseline", "half", "smallest"),
    [
        ("interleaved", 0.08, math.hypot(0.04, 0.04)),  # 400 s are measured: half as far off on each side
        ("stored", 0.04, math.sqrt(0.02**2 + 0.04**2 + 2 * (1.96 * 0.02) ** 2)),  # and runs differ
    ],
)
def test_four_times_as_long_is_twice_as_exact(baseline: str, half: float, smallest: float) -> None:
    [found] = sensitivities(release(baseline=baseline), stored(half))
    assert found.smallest == pytest.approx(math.expm1(smallest))
    assert found.allowed == pytest.approx(0.1)
    assert found.is_enough == (smallest <= math.log(1.1))


def test_what_is_too_short_says_how_long_is_enough() -> None:
    [found] = sensitivities(release(baseline="interleaved"), stored(0.25))
    assert not found.is_enough
    assert found.wanted_s is not None
    longer = {**PROFILE, "duration_s": found.wanted_s / 4, "duration_at_most_s": found.wanted_s}
    whole = release(baseline="interleaved", load_profiles={"chat": longer}, max_runtime_s=40_000)
    known = stored(0.25)
    known["profiles"]["chat"]["load"] = whole.model.evaluation.load_profiles["chat"].load
    [enough] = sensitivities(whole, known)
    assert enough.smallest == pytest.approx(enough.allowed, rel=0.01)


def test_where_runs_differ_too_much_no_time_suffices() -> None:
    [found] = sensitivities(release(), stored(0.2))
    assert (found.is_enough, found.wanted_s, found.halved_usd) == (False, None, None)
    assert "evaluation.baseline: interleaved" in found.sentence


def test_half_of_a_difference_takes_four_times_as_long_on_two_endpoints() -> None:
    """300 s more, 1,200 s on each of two endpoints that wait for each other: 4 x 1,200 s at $100 an hour."""
    [found] = sensitivities(release(baseline="interleaved"), stored(0.04))
    assert found.halved_usd == pytest.approx(4 * 1200 * 100 / 3600)


def test_half_of_a_difference_from_a_stored_one_takes_longer_than_that() -> None:
    """Production's own inexactness stays: that of this side must be less by more than half."""
    [found] = sensitivities(release(), stored(0.02, 1600))
    own, fixed = 0.02 * 2, math.hypot(0.02, 1.96 * math.sqrt(2) * 0.02)
    smallest = math.hypot(own, fixed)
    assert found.smallest == pytest.approx(math.expm1(smallest))
    assert smallest / 2 < fixed
    assert found.halved_usd is None


@pytest.mark.parametrize(("bound", "allowed"), [(0.9, 0.1), (0.5, 0.5), (1.3, -0.3)])
def test_what_a_rate_may_lose_is_a_share_of_productions(bound: float, allowed: float) -> None:
    profile = {**PROFILE, "objectives": {"requests_per_s": {"at_least_production": bound}}}
    whole = release(load_profiles={"chat": profile}, baseline="interleaved")
    known = stored(0.001)
    known["profiles"]["chat"]["objectives"] = {"requests_per_s": {"value": 10.0, "low": 9.99, "high": 10.01}}
    known["profiles"]["chat"]["load"] = whole.model.evaluation.load_profiles["chat"].load
    [found] = sensitivities(whole, known)
    assert found.allowed == pytest.approx(allowed)
    assert found.is_enough == (allowed > 0)


@pytest.mark.parametrize("load", [{"kind": "another"}, None])
def test_another_load_is_not_compared_with(load: Any) -> None:
    known = stored(0.1)
    known["profiles"]["chat"]["load"] = load
    assert sensitivities(release(), known) == []


def test_the_plan_shows_it_and_warns() -> None:
    planned = plan.build(release(), ObservedState(production_evaluation=stored(0.2), production_exists=True))
    text = as_text(planned)
    assert "Differences from production that are seen" in text
    assert any("a version like production stays undecided" in one for one in planned.warnings)
    assert "Differences" not in as_text(plan.build(release(), ObservedState()))


def test_a_second_endpoint_is_paid_and_needs_its_quota() -> None:
    whole = release(baseline="interleaved")

    def beside(**observed: Any) -> list[Any]:
        return [
            cost for cost in plan.build(whole, ObservedState(**observed)).costs if cost.what == "production's version beside it"
        ]

    [cost] = beside(production_exists=True)
    evaluation = whole.model.evaluation
    assert cost.usd is not None
    assert cost.usd == pytest.approx(
        (100 * evaluation.least_s(evaluation.load_profiles["chat"]) / 3600, 100 * evaluation.max_runtime_s / 3600)
    )
    assert beside(production_exists=False) == [], "nothing is there to compare with"
    single, both = (plan.build(release(baseline=one), ObservedState()) for one in ("stored", "interleaved"))
    alone, needed = (next(one.need for one in planned.quotas if "staging" in one.need.reason) for planned in (single, both))
    assert needed.instances == alone.instances + 1
    assert "production's version beside it" in needed.reason


@pytest.mark.parametrize(
    "broken",
    [
        None,
        {},
        {"profiles": None},
        {"profiles": {"chat": None}},
        stored(0.1, 0),
        {"profiles": {"chat": {"duration_s": 9, "objectives": {"ttft_p99_ms": {"value": "Infinity"}}}}},
    ],
)
def test_what_production_never_measured_says_nothing(broken: Any) -> None:
    assert sensitivities(release(), broken) == []
