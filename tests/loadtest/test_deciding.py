"""Objectives decide on intervals: met, missed, or undecided; and what each makes of the verdict."""

from __future__ import annotations

import math

import pytest

from loadtest.measurement.deciding import Measured, decide
from loadtest.measurement.models import ObjectiveResult, ProfileResult
from loadtest.measurement.scoring import profile_result, score
from loadtest.profiles import Objective
from loadtest.report import ProfileReport, judge
from steps.evaluate_staging import verdicts
from steps.evaluate_staging.models import PromptCheckSummary
from tests.loadtest.test_measurement import measured, steady

ASKED = PromptCheckSummary(failed=0, results=[])


def decided(objective: Objective, value: float, low: float, high: float | None, metric: str = "ttft_p99_ms") -> ObjectiveResult:
    return decide(metric, objective, score(objective, value, interval=(low, high)), Measured(300))


@pytest.mark.parametrize(
    ("bounds", "value", "low", "high", "standing"),
    [
        ({"at_most": 509}, 508.4, 320, None, "undecided"),  # a hundred requests
        ({"at_most": 509}, 508.4, 500, 508.9, "met"),
        ({"at_most": 509}, 508.4, 500, 509, "met"),
        ({"at_most": 509}, 508.4, 500, 509.1, "undecided"),
        ({"at_most": 509}, 520, 508, 530, "undecided"),
        ({"at_most": 509}, 520, 509.1, 530, "missed"),
        ({"at_most": 509}, math.inf, 400, None, "undecided"),
        ({"at_most": 509}, math.inf, math.inf, None, "missed"),
        ({"at_least": 150}, 160, 151, 169, "met"),
        ({"at_least": 150}, 160, 149, 171, "undecided"),
        ({"at_least": 150}, 140, 131, 149, "missed"),
    ],
)
def test_all_of_an_interval_decides(
    bounds: dict[str, float], value: float, low: float, high: float | None, standing: str
) -> None:
    result = decided(Objective(**bounds), value, low, high)
    found = "undecided" if result.undecided else "met" if result.met else "missed"
    assert found == standing
    if standing == "missed":
        assert result.compared_value > result.bound if "at_most" in bounds else result.compared_value < result.bound


def test_an_undecided_objective_says_what_it_would_have_taken() -> None:
    """An end at 560 is twice as far from 520 as the bound at 540 is: four times as long, three times 300 s more."""
    result = decided(Objective(at_most=540), 520, 480, 560)
    assert result.further_s == pytest.approx(900)
    assert result.undecided == (
        "ttft_p99_ms is 520 and could be 480 to 560, which does not decide whether it is at most 540: it takes about 900 s more "
        "(duration_s), or another bound"
    )
    missed = decided(Objective(at_most=500), 520, 480, 560)
    assert missed.further_s == pytest.approx(900), "towards the end that has the bound in it"
    hopeless = decided(Objective(at_most=520), 520, 480, 560)
    assert hopeless.further_s is None
    assert "far more time than this" in hopeless.undecided
    endless = decided(Objective(at_most=600), 520, 480, None)
    assert "480 or more" in endless.undecided


def test_what_failed_failed() -> None:
    """Five of a thousand: their share could be above 0.01, and the bound is on those that were counted."""
    assert decided(Objective(at_most=0.01), 0.005, 0.002, 0.012, "error_rate").met
    assert decided(Objective(at_most=0), 0.0, 0.0, 0.004, "error_rate").met
    assert not decided(Objective(at_most=0.001), 0.005, 0.0005, 0.012, "error_rate").met


def test_a_bound_relative_to_production_is_on_the_two_values() -> None:
    objective = Objective(at_most=900, at_most_production=1.1)
    both = decide("ttft_p99_ms", objective, score(objective, 536, 500, (500, 580)), Measured(300))
    assert (both.met, both.undecided) == (True, "")
    worse = decide("ttft_p99_ms", objective, score(objective, 600, 500, (500, 950)), Measured(300))
    assert (worse.met, worse.undecided) == (False, ""), "whatever the absolute one says"
    alone = Objective(at_most_production=1.1)
    assert decide("ttft_p99_ms", alone, score(alone, 536, 500, (500, 580)), Measured(300)).met


def profile(bound: float, kind: str = "closed_loop") -> ProfileResult:
    objectives = {"ttft_p50_ms": Objective(at_most=bound), "error_rate": Objective(at_most=0)}
    return profile_result({"kind": kind}, measured(*steady()), objectives, usd_per_hour=None, lag_at_most_ms=50, production=None)


def test_a_median_of_a_hundred_requests_decides_what_is_far_from_it() -> None:
    assert profile(5000).objectives["ttft_p50_ms"].met
    assert not profile(5000).objectives["ttft_p50_ms"].undecided
    assert profile(103).objectives["ttft_p50_ms"].undecided
    missed = profile(20).objectives["ttft_p50_ms"]
    assert (missed.met, missed.undecided) == (False, "")


@pytest.mark.parametrize(("bound", "requests", "standing"), [(530, 10, "met"), (500, 10, "undecided"), (530, 5, "undecided")])
def test_a_few_requests_decide_what_is_very_far_from_them(bound: float, requests: int, standing: str) -> None:
    """The requests of a short demo, of at most 106 ms: their median has no end, and is not five times what it is in six."""
    few = measured(*steady(1)[:requests])
    objectives = {"ttft_p50_ms": Objective(at_most=bound)}
    found = profile_result({"kind": "closed_loop"}, few, objectives, usd_per_hour=None, lag_at_most_ms=50, production=None)
    result = found.objectives["ttft_p50_ms"].model_copy(update={"high": None, "met": True, "undecided": ""})
    result = decide("ttft_p50_ms", objectives["ttft_p50_ms"], result, Measured(10, distribution=found.latencies_ms["ttft"]))
    assert ("undecided" if result.undecided else "met") == standing


@pytest.mark.parametrize(("bound", "requests", "standing"), [(19, 10, "missed"), (25, 10, "undecided"), (19, 5, "undecided")])
def test_a_few_requests_miss_what_is_very_far_below_them(bound: float, requests: int, standing: str) -> None:
    objective, few = Objective(at_most=bound), measured(*steady(1)[:requests])
    scored = score(objective, 103, interval=(0.0, None))
    result = decide("ttft_p50_ms", objective, scored, Measured(10, distribution=few.latencies()["ttft"]))
    assert ("undecided" if result.undecided else "missed") == standing


def test_a_load_that_changes_is_what_it_was() -> None:
    for kind in ("ramp", "replay", "capacity", "a kind of somebody's own"):
        result = profile(103, kind).objectives["ttft_p50_ms"]
        assert (result.met, result.undecided) == (True, "")


def test_what_is_surely_missed_refuses_whatever_else_is_undecided() -> None:
    undecided, missed, met = profile(103), profile(20), profile(5000)
    assert verdicts.judge(ASKED, {"chat": met}, {})[0] == "passed"
    verdict, summary = verdicts.judge(ASKED, {"chat": met, "long": undecided}, {})
    assert verdict == "invalid"
    assert summary.startswith("long: ttft_p50_ms is 103 and could be ")
    verdict, summary = verdicts.judge(ASKED, {"chat": missed, "long": undecided}, {})
    assert (verdict, summary.startswith("chat ttft_p50_ms 103 (must be at most 20), long: ttft_p50_ms")) == (
        "failed",
        True,
    )
    assert verdicts.judge(ASKED, {"chat": missed}, {}, "the endpoint was changed")[0] == "invalid"


def test_a_load_tests_verdict_is_the_same() -> None:
    def judged(*bounds: float) -> str:
        results = [profile(bound) for bound in bounds]
        return judge({str(at): ProfileReport(**dict(result), intervals={}) for at, result in enumerate(results)})[0]

    assert [judged(5000), judged(5000, 103), judged(20, 103)] == ["passed", "invalid", "failed"]
