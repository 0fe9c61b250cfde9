"""A load is measured on until it decides: what was measured in two goes counts as if in one, and looking again makes no error more likely."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy
import pytest
from pydantic import ValidationError

from loadtest.generator.load import Load
from loadtest.inputs import LoadInputs
from loadtest.measurement.confidence import TimeSlices
from loadtest.measurement.deciding import Measured, decide
from loadtest.measurement.long_run_variance import SLICES
from loadtest.measurement.measurement import Measurement
from loadtest.measurement.models import ProfileResult
from loadtest.measurement.request_record import RequestRecord
from loadtest.measurement.scoring import profile_result, score
from loadtest.measurement.worker_result import WorkerResult
from loadtest.profiles import METRICS, ClosedLoop, Ladder, LoadProfile, Objective, OpenLoop
from loadtest.runner import ProfileRun, Runner
from loadtest.transports.openai import OpenAITransport
from steps.evaluate_staging.report import formatting

SECOND = 1_000_000_000
TTFT = {"ttft_p50_ms": {"at_most": 110}}


def answer(at_s: float, ttft_s: float) -> RequestRecord:
    at_ns, first_ns = int(at_s * SECOND), int((at_s + ttft_s) * SECOND)
    return RequestRecord(at_ns, at_ns, [first_ns, first_ns + SECOND // 100], first_ns + SECOND // 100, 2, 7)


@dataclass
class Engine:
    """The place of a pool: so many answers a second, whose time to first token is around `median_s`; its clock goes on between loads."""

    median_s: float = 0.1
    answers_per_s: float = 4
    sigma: float = 0.5
    lag_ns: int = 0
    left_s: float = math.inf
    seed: int = 1
    loads: list[Load] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    now_s: float = 100

    def measure(self, load: Load, on_progress: Callable[[str], None]) -> Measurement:
        self.loads.append(load)
        on_progress("on it")
        source = random.Random(f"{self.seed}/{len(self.loads)}")
        end_s = load.window_s[1]
        results = [
            answer(self.now_s + number / self.answers_per_s, source.lognormvariate(math.log(self.median_s), self.sigma))
            for number in range(int(end_s * self.answers_per_s))
        ]
        begin_ns = int(self.now_s * SECOND)
        self.now_s += end_s + 7  # its last answers, and a pause
        self.runner.until_s -= end_s
        return Measurement.of(load.window_s, begin_ns, [WorkerResult(results, lag_ns=[self.lag_ns])])

    def make_runner(self, folder: Path) -> Runner:
        files, until_s = LoadInputs(lambda _: None, folder), time.monotonic() + self.left_s
        self.runner = Runner(self, lambda _: OpenAITransport(""), files, until_s, lag_at_most_ms=50)  # type: ignore[arg-type]
        return self.runner

    def run(self, folder: Path, profile: ClosedLoop | OpenLoop, reserved_s: float = 0.0) -> ProfileRun:
        run = self.make_runner(folder).run(profile, 3, self.told.append, reserved_s=reserved_s)
        self.runner.measure_undecided(
            {"chat": profile}, {"chat": run}, lambda _: scored(profile, run), lambda _: self.told.append
        )
        return run

    @property
    def measured_s(self) -> list[float]:
        return [load.duration_s for load in self.loads]


def scored(profile: LoadProfile, run: ProfileRun, production: ProfileResult | None = None) -> ProfileResult:
    return profile_result(
        profile.load, run.measurement, profile.objectives, usd_per_hour=36, lag_at_most_ms=50, production=production
    )


def closed(**changes: Any) -> ClosedLoop:
    settings = {"kind": "closed_loop", "concurrency": 2, "warmup_s": 1, "duration_s": 10, "objectives": TTFT}
    return ClosedLoop.model_validate(settings | changes)


def test_what_is_far_from_its_bound_is_measured_once(tmp_path: Path) -> None:
    engine = Engine(median_s=0.03)
    engine.run(tmp_path, closed())
    assert engine.measured_s == [10]


def test_what_is_near_its_bound_is_measured_on_until_it_is_decided(tmp_path: Path) -> None:
    engine = Engine(median_s=0.085)
    outcome = engine.run(tmp_path, closed(duration_at_most_s=160))
    assert engine.measured_s[:2] == [10, 10]
    assert len(engine.measured_s) < 5, "until it is decided, and no longer"
    assert engine.told[:2] == ["on it", "undecided, measuring on: on it"]
    assert outcome.measurement.duration_s == sum(engine.measured_s)
    assert len(outcome.measurement.counted) == 4 * outcome.measurement.duration_s, "no warm-up among them"
    assert outcome.measurement.client(50).processes == 1
    assert outcome.measurement.invalid_reason == ""


def test_what_is_never_decided_ends_when_that_was_said(tmp_path: Path) -> None:
    at_the_bound = {"ttft_p50_ms": {"at_most": 100}}
    usual, said, once = Engine(), Engine(), Engine()
    usual.run(tmp_path, closed(objectives=at_the_bound))
    said.run(tmp_path, closed(objectives=at_the_bound, duration_at_most_s=50))
    once.run(tmp_path, closed(objectives=at_the_bound, duration_at_most_s=10))
    assert (usual.measured_s, said.measured_s, once.measured_s) == ([10, 10, 20], [10, 10, 30], [10])


def test_what_is_missed_or_says_nothing_is_not_measured_on(tmp_path: Path) -> None:
    near = {"ttft_p50_ms": {"at_most": 100}}
    missed, late = Engine(), Engine(lag_ns=SECOND)
    missed.run(tmp_path, closed(objectives=near | {"requests_per_s": {"at_least": 1000}}))
    late.run(tmp_path, closed(objectives=near))
    assert (missed.measured_s, late.measured_s) == ([10], [10])


def test_the_endpoints_life_and_what_others_need_of_it_end_it(tmp_path: Path) -> None:
    """Each go takes up to 10 s, a warm-up of one, and a minute for its last answers."""
    near = {"ttft_p50_ms": {"at_most": 100}}
    short, long, shared = Engine(left_s=70), Engine(left_s=150), Engine(left_s=150)
    outcome = short.run(tmp_path, closed(objectives=near))
    twice = long.run(tmp_path, closed(objectives=near))
    shared.run(tmp_path, closed(objectives=near), reserved_s=80)
    assert (short.measured_s, long.measured_s, shared.measured_s) == ([10], [10, 10], [10])
    assert outcome.measurement.looks == 1, "its intervals need not allow for what there is no time for"
    assert twice.measurement.looks == 2
    result = scored(closed(objectives=near), twice).objectives["ttft_p50_ms"]
    assert "(let it live longer), or another bound" in result.undecided
    assert outcome.measurement.invalid_reason == "", "it is undecided, which says how much longer it takes"


def test_a_life_that_was_shorter_than_it_seemed_ends_it_too(tmp_path: Path) -> None:
    engine = Engine(left_s=1000)
    profile = closed(objectives={"ttft_p50_ms": {"at_most": 100}})
    run = engine.make_runner(tmp_path).run(profile, 3, lambda _: None)
    engine.runner.until_s = time.monotonic() + 70
    engine.runner.measure_undecided({"chat": profile}, {"chat": run}, lambda _: scored(profile, run), lambda _: print)
    assert engine.measured_s == [10]
    assert "(let it live longer), or another bound" in scored(profile, run).objectives["ttft_p50_ms"].undecided


def test_where_another_load_is_missed_or_says_nothing_none_is_measured_on(tmp_path: Path) -> None:
    undecided, missed = closed(objectives={"ttft_p50_ms": {"at_most": 100}}), closed(objectives={"ttft_p50_ms": {"at_most": 10}})
    engine = Engine()
    runner = engine.make_runner(tmp_path)
    profiles = {"chat": undecided, "long": missed}
    runs = {name: runner.run(profile, 3, lambda _: None) for name, profile in profiles.items()}
    runner.measure_undecided(profiles, runs, lambda name: scored(profiles[name], runs[name]), lambda _: print)
    assert engine.measured_s == [10, 10]


@pytest.mark.parametrize("before", [True, False])
def test_where_another_load_stays_undecided_none_is_measured_on(before: bool, tmp_path: Path) -> None:
    """A ladder is measured once: what its last step does not decide makes the run invalid, whatever else is measured."""
    objectives = {"ttft_p50_ms": {"at_most": 100}}
    steps = {"concurrencies": [1, 2], "warmup_s": 1, "duration_s": 10, "objectives": objectives}
    near: dict[str, LoadProfile] = {"chat": closed(objectives=objectives)}
    ladder: dict[str, LoadProfile] = {"steps": Ladder.model_validate({"kind": "ladder", **steps})}
    profiles = ladder | near if before else near | ladder
    engine = Engine()
    runner = engine.make_runner(tmp_path)
    runs = {name: runner.run(profile, 3, lambda _: None) for name, profile in profiles.items()}
    scores = runner.measure_undecided(profiles, runs, lambda name: scored(profiles[name], runs[name]), lambda _: print)
    assert all(score.objectives["ttft_p50_ms"].undecided for score in scores.values())
    assert engine.measured_s == [10, 10, 10]


def test_what_production_or_the_price_decides_is_not_measured_on(tmp_path: Path) -> None:
    """Production answers five times as fast; a million tokens cost 1,000 dollars too much."""
    near = {"ttft_p50_ms": {"at_most": 100}}
    relative, dear = (
        closed(objectives=near | {"requests_per_s": {"at_least_production": 0.9}}),
        closed(objectives=near | {"usd_per_million_output_tokens": {"at_most": 1}}),
    )
    for profile in (relative, dear):
        engine = Engine()
        production = scored(profile, Engine(answers_per_s=20).run(tmp_path, closed()))
        run = engine.make_runner(tmp_path).run(profile, 3, lambda _: None)
        engine.runner.measure_undecided(
            {"chat": profile},
            {"chat": run},
            lambda _, profile=profile, run=run, production=production: scored(profile, run, production),  # type: ignore[misc]
            lambda _: print,
        )
        assert engine.measured_s == [10]


def test_what_no_time_decides_is_not_measured_on(tmp_path: Path) -> None:
    """A server that counts ten tokens for each that its text has."""

    class Overclaiming(Engine):
        def measure(self, load: Load, on_progress: Callable[[str], None]) -> Measurement:
            measurement = super().measure(load, on_progress)
            for result in measurement.results:
                result.output_tokens, result.counted_tokens = 200, 20
            return measurement

    engine = Overclaiming()
    engine.run(tmp_path, closed(objectives={"tpot_p50_ms": {"at_most": 1000}}))
    assert engine.measured_s == [10]


def test_a_load_of_which_no_request_was_due_in_time_is_measured_on(tmp_path: Path) -> None:
    """Answers of twelve seconds: the next turn of the only client is after the first ten."""
    engine = Engine(answers_per_s=1 / 12)
    engine.run(tmp_path, closed(duration_at_most_s=160))
    assert len(engine.measured_s) > 1


def test_failures_near_their_bound_end_nothing_early(tmp_path: Path) -> None:
    """One of 40 failed, and one of 100 may: 40 say little, and more are asked while something else is undecided."""

    class Failing(Engine):
        def measure(self, load: Load, on_progress: Callable[[str], None]) -> Measurement:
            measurement = super().measure(load, on_progress)
            if len(self.loads) == 1:
                measurement.counted[5].error = "http_500"
            return measurement

    engine = Failing()
    run = engine.run(tmp_path, closed(objectives={"ttft_p50_ms": {"at_most": 100}}, duration_at_most_s=160))
    assert len(engine.measured_s) > 1
    assert scored(closed(), run).objectives["error_rate"].met, "counted at the end, it is one of hundreds"


def test_each_go_of_an_open_loop_has_other_arrivals_and_other_prompts(tmp_path: Path) -> None:
    engine = Engine()
    engine.run(
        tmp_path,
        OpenLoop.model_validate(
            {
                "kind": "open_loop",
                "rate_per_s": 5,
                "warmup_s": 1,
                "duration_s": 10,
                "objectives": {"ttft_p50_ms": {"at_most": 100}},
            }
        ),
    )
    assert engine.measured_s == [10, 10, 20]
    assert len({load.seed for load in engine.loads}) == 3
    begins = [tuple(due.at_s for due in load.schedule[:5]) for load in engine.loads]
    assert len(set(begins)) == 3
    assert engine.loads[2].schedule[-1].at_s > 19, "as long as its go"


def test_two_goes_count_as_one() -> None:
    """The same requests, with and without a pause in the middle."""
    source = random.Random(5)
    drawn = [(number / 5, source.uniform(0.05, 0.15)) for number in range(5 * 20)]
    whole, first, second = Measurement(0, 20 * SECOND), Measurement(0, 10 * SECOND), Measurement(1000 * SECOND, 1010 * SECOND)
    for at_s, ttft_s in drawn:
        whole.add(answer(at_s, ttft_s))
        (first if at_s < 10 else second).add(answer(at_s if at_s < 10 else at_s + 990, ttft_s))
    second.add(answer(999.9, 0.05))  # a warm-up's, whose tokens came before it was measured
    first.extend(second)
    assert first.duration_s == whole.duration_s == 20
    assert first.metrics({}) == whole.metrics({})
    assert first.intervals(METRICS, {}) == whole.intervals(METRICS, {})
    assert first.tokens_per_s == whole.tokens_per_s
    assert 500 * SECOND not in first.time


def test_a_go_that_lost_a_host_makes_the_whole_say_nothing() -> None:
    first, second = Measurement(0, SECOND), Measurement(2 * SECOND, 3 * SECOND)
    second.invalid_reason = "host algo-2 failed"
    first.extend(second)
    assert first.invalid_reason == "host algo-2 failed"


@pytest.mark.parametrize(
    ("most_s", "looks_s"),
    [
        (10, [10]),
        (14, [10]),
        (15, [10, 15]),
        (21, [10, 21]),
        (30, [10, 20, 30]),
        (40, [10, 20, 40]),
        (159, [10, 20, 40, 80, 159]),
    ],
)
def test_no_look_is_for_a_little_more(most_s: float, looks_s: list[float]) -> None:
    assert list(closed(duration_at_most_s=most_s).looks_s) == looks_s


@pytest.mark.parametrize("duration_at_most_s", [9, 161])
def test_an_end_that_cannot_be_is_refused(duration_at_most_s: float) -> None:
    with pytest.raises(ValidationError, match="must be from duration_s, 10, to 16 times that, 160"):
        closed(duration_at_most_s=duration_at_most_s)


def test_how_it_is_decided_is_no_part_of_the_load(tmp_path: Path) -> None:
    """Else production's numbers would not be compared with, because somebody measures longer now."""
    engine = Engine(median_s=0.03)
    outcome = engine.run(tmp_path, closed())
    loads = [scored(closed(duration_at_most_s=most_s), outcome).load for most_s in (10, 20)]
    assert loads[0] == loads[1]


def test_with_more_looks_a_far_bound_takes_more_samples() -> None:
    """Six samples are all on one side of the median in one run of 32, seven in one of 64: less than 5 % by three looks."""

    def decided(samples: int, looks: int) -> bool:
        measurement = Measurement(0, 20 * SECOND)
        for number in range(samples):
            measurement.add(answer(number, 0.1))
        distribution = measurement.latencies()["ttft"]
        objective = Objective(at_most=10_000)
        result = score(objective, 100.0, None, (90.0, None))
        return not decide("ttft_p50_ms", objective, result, Measured(20, looks, distribution=distribution)).undecided

    assert [decided(6, 1), decided(6, 3), decided(7, 3)] == [True, False, True]


def test_all_looks_of_a_run_hold_the_truth_as_often_as_one() -> None:
    """Lognormal latencies of independent requests, looked at after a quarter, half, and all of the time. Three looks at plain 95 % would miss
    the truth in about 11 % of the runs (Armitage, McPherson and Rowe, 1969)."""
    source, runs = numpy.random.default_rng(7), 300
    missed = {1: 0, 3: 0}
    for _ in range(runs):
        values = 100 * numpy.exp(source.normal(0, 0.5, size=800))
        for looks in missed:
            missed[looks] += not all(_holds(values[: 800 // part], 100, looks) for part in (4, 2, 1))
    assert missed[3] / runs <= 0.05
    assert missed[1] > 1.5 * missed[3], "plain 95 % would not do"


def _holds(values: Any, truth: float, looks: int) -> bool:
    slices = TimeSlices(len(values) / 2, looks)
    slices.sample("ttft", [number * SLICES // len(values) for number in range(len(values))], values.tolist())
    low, high = slices.quantile("ttft", 0.5) or (0.0, None)
    return low <= truth <= (math.inf if high is None else high)


def test_the_report_says_how_long_it_was_measured_in_the_end(tmp_path: Path) -> None:
    profile = closed(objectives={"ttft_p50_ms": {"at_most": 100}})
    engine = Engine()
    result = scored(profile, engine.run(tmp_path, profile))
    assert (result.goes, result.looks, result.duration_s) == (3, 3, 40)
    said = formatting.load(result)
    assert said.endswith("1 s of warm-up, then 10 s measured, and on while it was undecided, to 40 s in 3 goes")
    assert formatting.load(result.model_copy(update={"goes": 1})).endswith("then 10 s measured")
