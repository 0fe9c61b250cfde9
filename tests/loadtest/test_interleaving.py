"""Two servers in alternating blocks: who is asked what when, what their ratio could be, and how often that holds."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats  # type: ignore[import-untyped]

from loadtest import interleaving
from loadtest.generator.load import Load
from loadtest.inputs import LoadInputs
from loadtest.measurement.comparison import ratio_interval
from loadtest.measurement.long_run_variance import SLICES, correlation
from loadtest.measurement.measurement import Measurement
from loadtest.measurement.models import ObjectiveResult, ProfileResult
from loadtest.measurement.scoring import Comparison, profile_result
from loadtest.measurement.worker_result import WorkerResult
from loadtest.profiles import COST, ClosedLoop, Ladder, LoadProfile, Objective, OpenLoop, Ramp
from loadtest.runner import ProfileRun, Runner
from loadtest.transports.openai import OpenAITransport
from tests.loadtest.test_measured_on import SECOND, answer

OURS, THEIRS = "http://ours", "http://theirs"
SAME = 1e-6
"""How unlikely a failure by chance is."""


@dataclass
class Pair:
    """The place of a pool: two servers, each with a time to first token of its own, and moods that both share."""

    median_s: dict[str, float] = field(default_factory=lambda: {OURS: 0.1, THEIRS: 0.1})
    answers_per_s: float = 20
    loads: list[Load] = field(default_factory=list)
    failing: str = ""
    failing_every: int = 1
    late: str = ""
    now_s: float = 100

    def measure(self, load: Load, on_progress: Callable[[str], None]) -> Measurement:
        on_progress("on it")
        self.loads.append(load)
        server = load.transport.server
        source = random.Random(f"{server}/{len(self.loads)}")
        results = []
        for number in range(int(load.window_s[1] * self.answers_per_s)):
            made = answer(self.now_s + number / self.answers_per_s, source.lognormvariate(math.log(self.median_s[server]), 0.3))
            if server == self.failing and number % self.failing_every == 0:
                made.error = "http_500"
            results.append(made)
        begin_ns = int(self.now_s * SECOND)
        self.now_s += load.window_s[1] + 2
        for runner in (self.runner, self.runner.baseline):
            if runner is not None:
                runner.until_s -= load.window_s[1]
        lag_ns = SECOND if server == self.late else 0
        return Measurement.of(load.window_s, begin_ns, [WorkerResult(results, lag_ns=[lag_ns])])

    def make_runner(self, folder: Path, left_s: float = math.inf) -> Runner:
        def runner(server: str) -> Runner:
            inputs, until_s = LoadInputs(lambda _: None, folder), time.monotonic() + left_s
            return Runner(self, lambda _: OpenAITransport(server), inputs, until_s, remedy="let it live")  # type: ignore[arg-type]

        self.runner = runner(OURS)
        self.runner.baseline = runner(THEIRS)
        return self.runner

    def run(self, folder: Path, profile: LoadProfile, left_s: float = math.inf) -> tuple[ProfileRun, ProfileResult]:
        run = self.make_runner(folder, left_s).run(profile, 3, lambda _: None)
        found = self.runner.measure_undecided(
            {"chat": profile}, {"chat": run}, lambda _: scored(profile, run), lambda _: lambda _: None
        )
        return run, found["chat"]

    @property
    def order(self) -> str:
        """Which server each load was put on: o(urs) or t(heirs)."""
        return "".join("o" if load.transport.server == OURS else "t" for load in self.loads)


def scored(profile: LoadProfile, run: ProfileRun) -> ProfileResult:
    def result(one: ProfileRun, production: ProfileResult | None, comparison: Comparison) -> ProfileResult:
        return profile_result(
            profile.load,
            one.measurement,
            profile.objectives,
            usd_per_hour=36,
            lag_at_most_ms=50,
            production=production,
            comparison=comparison,
            trials=one.trials,
        )

    assert run.baseline is not None
    return result(run, result(run.baseline, None, Comparison()), Comparison(run.baseline.measurement))


def closed(**changes: Any) -> ClosedLoop:
    objectives = {"ttft_p50_ms": {"at_most_production": 1.1}}
    settings = {"kind": "closed_loop", "concurrency": 2, "warmup_s": 1, "duration_s": 120, "objectives": objectives}
    return ClosedLoop.model_validate(settings | changes)


def objective(found: ProfileResult) -> ObjectiveResult:
    return found.objectives["ttft_p50_ms"]


def test_blocks_alternate_and_the_order_turns_round(tmp_path: Path) -> None:
    pair = Pair()
    run, _ = pair.run(tmp_path, closed(duration_at_most_s=120))
    assert pair.order == "ottootto"
    assert [load.duration_s for load in pair.loads] == [30.0] * 8
    assert run.baseline is not None
    assert run.measurement.duration_s == run.baseline.measurement.duration_s == 120
    assert run.measurement.time.count == 4


@pytest.mark.parametrize(
    "profile",
    [
        closed(duration_at_most_s=120),
        OpenLoop(
            kind="open_loop", rate_per_s=5, warmup_s=1, duration_s=60, duration_at_most_s=60, objectives=closed().objectives
        ),
    ],
)
def test_both_are_asked_the_same(profile: LoadProfile, tmp_path: Path) -> None:
    pair = Pair()
    pair.run(tmp_path, profile)
    asked = {server: [load for load in pair.loads if load.transport.server == server] for server in (OURS, THEIRS)}
    assert [(load.seed, load.schedule) for load in asked[OURS]] == [(load.seed, load.schedule) for load in asked[THEIRS]]
    seeds = [load.seed for load in asked[OURS]]
    assert len(set(seeds)) == len(seeds), "and no block what another was"


def test_a_load_without_a_relative_objective_is_put_on_one_server(tmp_path: Path) -> None:
    pair = Pair()
    pair.make_runner(tmp_path).run(closed(objectives={"ttft_p50_ms": {"at_most": 500}}), 3, lambda _: None)
    assert pair.order == "o"


def test_a_ladder_is_put_on_one_after_the_other_with_the_same_prompts(tmp_path: Path) -> None:
    pair = Pair()
    ladder = Ladder(kind="ladder", concurrencies=[2, 4], warmup_s=1, duration_s=60, objectives=closed().objectives)
    run, found = pair.run(tmp_path, ladder)
    assert pair.order == "oott"
    assert run.baseline is not None
    assert len(run.baseline.trials) == 2
    assert [load.seed for load in pair.loads[:2]] == [load.seed for load in pair.loads[2:]]
    assert objective(found).ratio_low is not None


@pytest.mark.parametrize(("slower", "standing"), [(1.0, "met"), (1.25, "missed")])
def test_the_ratio_of_both_decides(slower: float, standing: str, tmp_path: Path) -> None:
    _, found = Pair({OURS: 0.1 * slower, THEIRS: 0.1}).run(tmp_path, closed(duration_s=240))
    result = objective(found)
    assert not result.undecided
    assert result.met == (standing == "met")
    assert result.ratio_low is not None
    assert result.ratio_high is not None
    assert result.ratio_low < slower < result.ratio_high
    assert (result.compared_value <= result.bound) == result.met, "the gate's condition agrees"


def test_near_the_bound_both_are_measured_on(tmp_path: Path) -> None:
    pair = Pair({OURS: 0.1095, THEIRS: 0.1})
    run, found = pair.run(tmp_path, closed(duration_s=60))
    assert run.measurement.looked == 3
    assert run.measurement.duration_s == 240
    assert run.baseline is not None
    assert run.baseline.measurement.duration_s == 240
    assert pair.order[:4] == "otto"
    assert "times production's" in objective(found).undecided
    assert "which does not decide whether it is at most 1.1 times it" in objective(found).undecided


def test_what_is_not_whole_for_want_of_time_counts_on_neither_side(tmp_path: Path) -> None:
    """A first go takes 2 x (60 + 2 x (1 + 5)) s and a time-out; behind it there is no room for another, twice as long."""
    pair = Pair({OURS: 0.1095, THEIRS: 0.1})
    run, found = pair.run(tmp_path, closed(duration_s=60), left_s=300)
    assert run.baseline is not None
    assert run.measurement.duration_s == run.baseline.measurement.duration_s == 60
    assert "(let it live)" in objective(found).undecided


def test_a_baseline_that_fails_or_was_asked_late_decides_nothing(tmp_path: Path) -> None:
    """Its requests failed: its percentiles are infinite, and everything would be less than 1.1 times that."""
    for pair, why in (
        (Pair(failing=THEIRS), "its own is inf, with 2400 of 2400 requests failed"),
        (Pair(late=THEIRS), "the client was"),
    ):
        _, found = pair.run(tmp_path, closed(duration_at_most_s=120))
        assert not found.client.bottleneck
        assert why in objective(found).undecided
        assert not objective(found).more_helps


def test_an_absolute_bound_that_is_missed_refuses_whatever_production_does(tmp_path: Path) -> None:
    both = closed(duration_at_most_s=120, objectives={"ttft_p50_ms": {"at_most": 50, "at_most_production": 1.1}})
    _, found = Pair(failing=THEIRS).run(tmp_path, both)
    assert (objective(found).met, objective(found).undecided) == (False, "")


@given(st.floats(1, 20_000))
def test_blocks_are_alike_even_in_number_and_make_up_the_whole(duration_s: float) -> None:
    lengths = interleaving.blocks(closed(), duration_s)
    assert len(lengths) % 2 == 0
    assert sum(lengths) == pytest.approx(duration_s)
    assert len(set(lengths)) == 1
    assert lengths[0] >= min(duration_s / 2, 30) - 1e-6


def test_a_ratio_holds_its_truth_as_often_as_it_says() -> None:
    """Two log-normal estimates, whose errors are known exactly and share a known part: 95 % of the intervals hold the planted ratio."""
    source, held, runs = numpy.random.default_rng(5), 0, 2000
    for shared in (0.0, 0.6, 0.9):
        held = 0
        for _ in range(runs):
            common = source.normal()
            errors = [0.05 * (math.sqrt(shared) * common + math.sqrt(1 - shared) * source.normal()) for _ in range(2)]
            value, base = 120 * math.exp(errors[0]), 100 * math.exp(errors[1])
            reach = math.exp(1.96 * 0.05)
            found = ratio_interval(value, (value / reach, value * reach), base, (base / reach, base * reach), correlation=shared)
            assert found is not None
            assert found.high is not None
            held += found.low <= 1.2 <= found.high
        assert stats.binom.ppf(SAME, runs, 0.95) <= held <= stats.binom.ppf(1 - SAME, runs, 0.95), shared


def test_a_stored_ratio_allows_for_how_runs_differ() -> None:
    alike = ratio_interval(100, (99, 101), 100, (99, 101))
    differing = ratio_interval(100, (99, 101), 100, (99, 101), run_to_run=0.05)
    assert alike is not None
    assert differing is not None
    assert alike.low > 0.98
    assert differing.low == pytest.approx(math.exp(-1.96 * math.sqrt(2) * 0.05), abs=0.01)
    assert differing.fixed > alike.fixed


@pytest.mark.parametrize(
    ("value", "base"), [(0.0, 100.0), (100.0, 0.0), (math.inf, 100.0), (100.0, math.inf), (math.inf, math.inf)]
)
def test_what_is_no_number_has_no_ratio(value: float, base: float) -> None:
    assert ratio_interval(value, (value, value), base, (base, base)) is None


@pytest.mark.parametrize("planted", [0.0, 0.5, 0.9])
def test_what_two_series_share_is_never_taken_for_much_more(planted: float) -> None:
    """Series with a memory of several slices, of which a planted share is common."""
    source, found = numpy.random.default_rng(1), []
    for _ in range(200):
        common, one, other = (_remembering(source) for _ in range(3))
        weight = math.sqrt(planted)
        mine, theirs = (weight * common + math.sqrt(1 - planted) * own for own in (one, other))
        found.append(correlation(mine - mine.mean(), theirs - theirs.mean()))
    assert numpy.median(found) == pytest.approx(max(0.0, planted - 0.1), abs=0.1)
    assert numpy.quantile(found, 0.95) <= planted + 0.2


def _remembering(source: Any) -> Any:
    kept, noise = 0.8, source.standard_normal(SLICES)
    series = numpy.empty(SLICES)
    last = source.standard_normal()
    for place in range(SLICES):
        last = series[place] = kept * last + math.sqrt(1 - kept**2) * noise[place]
    return series


RAMP = Ramp(
    kind="ramp",
    from_rate_per_s=1,
    to_rate_per_s=5,
    warmup_s=1,
    duration_s=60,
    objectives={**closed().objectives, "requests_per_s": Objective(at_least_production=0.9)},
)


def test_a_load_that_changes_is_not_compared_with_a_baseline_that_says_nothing(tmp_path: Path) -> None:
    """All of its requests fail, or there was no time for it: everything is less than 1.1 times infinity, and more than 0.9 times nothing."""
    for pair, left_s in ((Pair(failing=THEIRS), math.inf), (Pair(), 100.0), (Pair(late=THEIRS), math.inf)):
        _, found = pair.run(tmp_path, RAMP, left_s)
        for metric, result in found.objectives.items():
            assert result.undecided or metric == "error_rate", metric


def test_a_baseline_of_which_many_requests_fail_lets_no_rate_pass(tmp_path: Path) -> None:
    """Its rate is what it completes: 0.9 times of 60 % of it is little."""
    pair = Pair(failing=THEIRS, failing_every=3)
    profile = closed(duration_at_most_s=120, objectives={"requests_per_s": {"at_least_production": 0.9}})
    _, found = pair.run(tmp_path, profile)
    assert "requests failed" in found.objectives["requests_per_s"].undecided


def test_a_share_of_failures_is_not_compared_with_a_late_clients(tmp_path: Path) -> None:
    profile = closed(duration_at_most_s=120, objectives={"error_rate": {"at_most": 0.01, "at_most_production": 1.0}})
    _, found = Pair(late=THEIRS).run(tmp_path, profile)
    assert "the client was" in found.objectives["error_rate"].undecided


def test_series_that_are_opposites_have_nothing_in_common() -> None:
    series = numpy.random.default_rng(3).standard_normal(SLICES)
    assert correlation(series, -series) == 0.0
    assert 0.9 < correlation(series, series) <= 0.95


def test_where_there_is_no_time_for_both_the_version_is_measured_alone(tmp_path: Path) -> None:
    pair = Pair()
    run = pair.make_runner(tmp_path, left_s=260).run(closed(duration_s=120), 3, lambda _: None)
    assert pair.order == "o"
    assert run.baseline is None
    assert run.measurement.duration_s == 120


def test_a_server_that_was_asked_more_is_asked_nothing_twice(tmp_path: Path) -> None:
    pair, ladder = Pair(), Ladder(kind="ladder", concurrencies=[2, 4], warmup_s=1, duration_s=60, objectives=closed().objectives)
    runner = pair.make_runner(tmp_path)
    assert runner.baseline is not None
    runner.baseline._asked = replace(runner.baseline._asked, loads=7)
    for profile in (ladder, closed(duration_at_most_s=120)):
        runner.run(profile, 3, lambda _: None)
    seeds = [load.seed for load in pair.loads if load.transport.server == THEIRS]
    assert len(set(seeds)) == len(seeds)
    assert seeds == [load.seed for load in pair.loads if load.transport.server == OURS]
    assert seeds[0] == "/8"


def test_a_long_warm_up_makes_longer_blocks() -> None:
    assert interleaving.blocks(closed(warmup_s=15), 240) == (60.0,) * 4


def test_an_absolute_price_is_decided_as_it_was_counted(tmp_path: Path) -> None:
    """Of a minute, within a few per cent of the bound: its interval has the bound in it, and the tokens it is made of have bounds of their own."""
    profile = closed(duration_s=60, duration_at_most_s=60, objectives={COST: {"at_most": 1e9, "at_most_production": 5}})
    run, found = Pair().run(tmp_path, profile)
    price = found.metrics[COST]
    assert price is not None
    near = profile.model_copy(update={"objectives": {COST: Objective(at_most=price * 1.001)}})
    result = profile_result(
        near.load, run.measurement, near.objectives, usd_per_hour=36, lag_at_most_ms=50, production=None
    ).objectives[COST]
    assert (result.met, result.undecided) == (True, "")
    assert result.high is not None
    assert result.high > price * 1.001
