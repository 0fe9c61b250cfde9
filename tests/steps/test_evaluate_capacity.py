"""The capacity search: on engines that are a formula, and on a live one whose knee is known by arithmetic."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from benchmarks.capacity import Engine
from benchmarks.capacity import search as live_search
from config.load_profiles import CAPACITY
from steps.evaluate_staging.capacity import Answer, search

PRECISION = 0.03


@dataclass
class Formula:
    """An engine that completes what it can, and whose latencies are good up to `knee`; it fails the trials numbered in `unlucky`."""

    knee: float
    completes: float = float("inf")
    unlucky: frozenset[int] = frozenset()
    tried: list[float] = field(default_factory=list)

    def trial(self, rate: float) -> Answer:
        self.tried.append(rate)
        return Answer(rate <= self.knee and len(self.tried) not in self.unlucky, min(rate, self.completes))

    def found(self, highest: float = 1000.0) -> float | None:
        return search(self.trial, start=8.0, highest=highest, precision=PRECISION)


@pytest.mark.parametrize("knee", [0.7, 3.3, 8.0, 17.0, 640.0])
def test_a_knee_of_latency_is_found_by_bisecting(knee: float) -> None:
    found = Formula(knee).found()
    assert found is not None
    assert knee / (1 + PRECISION) <= found <= knee


@pytest.mark.parametrize("knee", [0.7, 3.3, 17.0, 640.0])
def test_a_knee_of_throughput_is_found_in_fewer_trials(knee: float) -> None:
    by_latency, by_throughput = Formula(knee), Formula(knee, completes=knee)
    found, _ = by_throughput.found(), by_latency.found()
    assert found is not None
    assert knee / (1 + PRECISION) <= found <= knee
    assert len(by_throughput.tried) < len(by_latency.tried) - 3


def test_what_an_overloaded_engine_completed_may_be_wrong() -> None:
    """Its batches are larger then, and it completes more than it ever does within its bounds."""
    found = Formula(100, completes=150).found()
    assert found is not None
    assert 100 / (1 + PRECISION) <= found <= 100


@pytest.mark.parametrize("unlucky", range(1, 12))
def test_one_bad_trial_is_not_believed(unlucky: int) -> None:
    found = Formula(100, unlucky=frozenset({unlucky})).found()
    assert found is not None
    assert 100 / (1 + PRECISION) ** 2 <= found <= 100


def test_an_endpoint_that_sustains_nothing_has_no_capacity() -> None:
    assert Formula(0).found() is None
    assert Formula(0, completes=0).found() is None


def test_the_search_ends_at_the_highest_rate_that_it_is_allowed() -> None:
    assert Formula(1e9).found(highest=100.0) == 100.0


def test_the_search_lands_within_a_twentieth_of_a_live_engines_knee() -> None:
    engine = Engine(places=20, ttft_ms=50, itl_ms=10, tokens=6, start_rate_per_s=150)
    assert engine.knee_per_s == 200
    outcome = live_search(engine, warmup_s=0.3, duration_s=1.4, precision=0.06, slack_ms=50)
    assert outcome.more[CAPACITY] == pytest.approx(200, rel=0.05), [(trial.load, trial.met) for trial in outcome.trials]
