"""The capacity search: on engines that are a formula, and on a live one whose knee is known by arithmetic."""

from __future__ import annotations

import heapq
import math
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from benchmarks.capacity import Engine
from benchmarks.capacity import search as live_search
from loadtest.capacity import RateResult, search
from loadtest.generator.load import Load
from loadtest.inputs import LoadInputs
from loadtest.measurement.measurement import Measurement
from loadtest.measurement.request_record import RequestRecord
from loadtest.measurement.steady_state import SteadyState
from loadtest.measurement.worker_result import WorkerResult
from loadtest.profiles import CAPACITY, Capacity
from loadtest.runner import ProfileRun, Runner
from loadtest.transports.openai import OpenAITransport

PRECISION = 0.03
SECOND = 1_000_000_000


@dataclass
class Formula:
    """An engine that completes what it can, and whose latencies are good up to `knee`; it fails the trials numbered in `unlucky`."""

    knee: float
    completes: float = float("inf")
    unlucky: frozenset[int] = frozenset()
    tried: list[float] = field(default_factory=list)

    def trial(self, rate: float) -> RateResult:
        self.tried.append(rate)
        return RateResult(rate <= self.knee and len(self.tried) not in self.unlucky, min(rate, self.completes))

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


@pytest.mark.soak
def test_the_search_lands_within_a_twentieth_of_a_live_engines_knee() -> None:
    engine = Engine(places=20, ttft_ms=50, itl_ms=10, tokens=6, start_rate_per_s=150)
    assert engine.knee_per_s == 200
    tried = []
    for _ in range(3):  # an engine that shares its cores with other tests really has a lower knee for a while
        outcome = live_search(engine, warmup_s=0.3, duration_s=1.4, precision=0.06, slack_ms=50)
        if outcome.extra_metrics[CAPACITY] == pytest.approx(200, rel=0.05):
            return
        tried.append([(trial.load, trial.met) for trial in outcome.trials])
    pytest.fail(str(tried))


def open_loop(rate: float, seconds: int, *, takes_s: float, slower_by: float = 0.0, arrivals: str = "constant") -> Measurement:
    """Requests that take so long each; `slower_by` is by how much longer each takes than the one before, in seconds a second."""
    source = random.Random(1)
    measurement, due = Measurement(0, seconds * SECOND), 0.0
    while due < seconds:
        takes = takes_s + slower_by * due
        result = RequestRecord(int(due * SECOND), int(due * SECOND), ended_ns=int((due + takes) * SECOND))
        result.token_ns.append(result.ended_ns)
        measurement.add(result)
        due += 1 / rate if arrivals == "constant" else source.expovariate(rate)
    return measurement


@pytest.mark.parametrize("arrivals", ["constant", "poisson"])
def test_answers_as_long_as_half_of_the_measurement_are_no_backlog(arrivals: str) -> None:
    settled = SteadyState(open_loop(10, 40, takes_s=18, arrivals=arrivals))
    assert settled.keeps_up(varies=arrivals == "poisson")
    assert settled.completed_per_s == pytest.approx(10, rel=0.2)


def test_an_endpoint_that_falls_behind_by_a_tenth_does_not_keep_up() -> None:
    settled = SteadyState(open_loop(10, 60, takes_s=2, slower_by=0.1))
    assert not settled.keeps_up(varies=False)
    assert settled.completed_per_s == pytest.approx(10 / 1.1, rel=0.05)


@dataclass
class Endpoint:
    """A pool on an endpoint that answers so many requests a second, each in 50 ms, and refuses all others at once."""

    answers_per_s: float
    client_carries_per_s: float = math.inf
    """Beyond this rate it is the client that is late."""
    left_s: float = math.inf
    """How much longer the endpoint lives."""

    def measure(self, load: Load, _: Callable[[str], None]) -> Measurement:
        self.runner.until_s -= load.window_s[1]
        measurement = Measurement.of(load.window_s, 0, [])
        if len(load.schedule) / load.window_s[1] > self.client_carries_per_s:
            measurement.merge(WorkerResult(lag_ns=[SECOND]))
        free = 0.0
        for due in load.schedule:
            is_answered, due_ns = due.at_s >= free, int(due.at_s * SECOND)
            free = max(free, due.at_s - 1 / self.answers_per_s) + 1 / self.answers_per_s if is_answered else free
            ended_ns = due_ns + (SECOND // 20 if is_answered else SECOND // 1000)
            result = RequestRecord(due_ns, due_ns, ended_ns=ended_ns, error="" if is_answered else "http_429")
            if is_answered:
                result.token_ns.append(ended_ns)
            measurement.add(result)
        return measurement

    def searched(self, folder: Path, **changes: Any) -> ProfileRun:
        profile = Capacity.model_validate(
            {"kind": "capacity", "arrivals": "constant", "start_rate_per_s": 4, "warmup_s": 0, "duration_s": 20}
            | {"objectives": {"ttft_p99_ms": {"at_most": 1000}}}
            | changes
        )
        files = LoadInputs(lambda _: None, folder)
        self.runner = Runner(self, lambda _: OpenAITransport(""), files, time.monotonic() + self.left_s, lag_at_most_ms=50)  # type: ignore[arg-type]
        return self.runner.run(profile, 0, lambda _: None)


@dataclass
class Queue(Endpoint):
    """An endpoint with so many places, each held for so long by a request, and a queue without an end before them: the simulated engine's rule."""

    places: int = 20
    holds_s: float = 0.1

    def measure(self, load: Load, _: Callable[[str], None]) -> Measurement:
        measurement, free = Measurement.of(load.window_s, 0, []), [0.0] * self.places
        for due in load.schedule:
            begins_s = max(due.at_s, heapq.heappop(free))
            heapq.heappush(free, begins_s + self.holds_s)
            due_ns, first_ns = int(due.at_s * SECOND), int((begins_s + self.holds_s / 2) * SECOND)
            result = RequestRecord(due_ns, due_ns, ended_ns=int((begins_s + self.holds_s) * SECOND))
            result.token_ns.append(first_ns)
            measurement.add(result)
        return measurement


@pytest.mark.parametrize("start", [2, 150, 400])
def test_the_search_lands_within_a_twentieth_of_a_queues_knee(tmp_path: Path, start: float) -> None:
    """The small form of benchmarks.capacity, in a time of its own: 20 places held for 0.1 s complete 200 requests a second."""
    queue = Queue(answers_per_s=math.inf)
    bounds = {"ttft_p99_ms": {"at_most": 100}}
    outcome = queue.searched(tmp_path, start_rate_per_s=start, warmup_s=0.3, duration_s=4, objectives=bounds)
    assert outcome.extra_metrics[CAPACITY] == pytest.approx(200, rel=0.05)
    assert all(trial.met == (trial.load <= 200 * 1.05) for trial in outcome.trials if not 190 < trial.load < 211)


def test_an_endpoint_that_refuses_what_it_cannot_do_has_the_capacity_that_it_answers(tmp_path: Path) -> None:
    """Its refusals are fast, and its answers as well: without a bound on errors it would carry every rate."""
    outcome = Endpoint(answers_per_s=20).searched(tmp_path)
    assert outcome.extra_metrics[CAPACITY] == pytest.approx(20, rel=0.05)
    assert outcome.measurement.client(50).bottleneck == ""


def test_a_search_that_the_client_ended_decides_nothing(tmp_path: Path) -> None:
    outcome = Endpoint(answers_per_s=20, client_carries_per_s=30).searched(tmp_path)
    assert outcome.measurement.client(50).bottleneck == "", "it was late at rates that the endpoint does not carry either"

    class Slower(Endpoint):
        def measure(self, load: Load, told: Callable[[str], None]) -> Measurement:
            measurement = super().measure(load, told)
            if len(load.schedule) / load.window_s[1] > self.client_carries_per_s:
                for result in measurement.results:
                    result.ended_ns = result.token_ns[0] = result.token_ns[0] + 2 * SECOND
            return measurement

    outcome = Slower(answers_per_s=1000, client_carries_per_s=19).searched(tmp_path)
    assert outcome.extra_metrics[CAPACITY] == pytest.approx(19, rel=0.05)
    assert "and there the client was 1e+03 ms late (p99)" in outcome.measurement.client(50).bottleneck


def test_no_load_begins_that_would_outlive_the_endpoint(tmp_path: Path) -> None:
    """Else the answers to what is asked of a deleted endpoint would be the model's failures, and the version rejected."""
    outcome = Endpoint(answers_per_s=20, left_s=95).searched(tmp_path)
    assert len(outcome.trials) == 4, "each takes 20 s"
    assert outcome.extra_metrics == {}
    said = outcome.measurement.client(50).bottleneck
    assert re.fullmatch(
        r"the endpoint expires in 1[0-5] s and this load takes 20 s: it was not put on \(let it live longer\)", said
    )
    assert outcome.measurement.counted, "what the last trial measured can be seen"
