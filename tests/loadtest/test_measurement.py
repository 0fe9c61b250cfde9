"""What counts, and what the numbers are: measured on requests whose every moment is known."""

from __future__ import annotations

import json
import math
import random
import re
from statistics import NormalDist

import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from loadtest import table
from loadtest.measurement.measurement import Measurement
from loadtest.measurement.models import ProfileResult
from loadtest.measurement.request_record import RequestRecord
from loadtest.measurement.scoring import profile_result, score
from loadtest.measurement.worker_result import WorkerResult
from loadtest.profiles import METRICS, ClosedLoop, Objective
from loadtest.report import LoadTestReport, ProfileReport, judge, shown_metrics
from steps.evaluate_staging import verdicts
from steps.evaluate_staging.models import PromptCheckSummary

MS = 1_000_000
SECOND = 1_000 * MS


def answer(at_ms: float, ttft_ms: float = 100, gaps_ms: tuple[float, ...] = (10, 10), error: str = "") -> RequestRecord:
    """A request due at `at_ms` whose tokens came after the given times."""
    moments, now = [], at_ms + ttft_ms
    for gap in (0.0, *gaps_ms):
        now += gap
        moments.append(round(now * MS))
    result = RequestRecord(round(at_ms * MS), round(at_ms * MS), moments, moments[-1], len(moments), 7, error)
    if error:
        result.token_ns = []
    return result


def steady(seconds: int = 10, *, ttft_ms: float = 100) -> list[RequestRecord]:
    """Ten requests a second."""
    return [answer(1000 + 100 * number, ttft_ms=ttft_ms + number % 7) for number in range(10 * seconds)]


def result_of(measurement: Measurement, objectives: dict[str, Objective] | None = None) -> ProfileResult:
    return profile_result({}, measurement, objectives or {}, usd_per_hour=36.0, lag_at_most_ms=50, production=None)


def measured(*results: RequestRecord, warmup_s: float = 1, until_s: float = 11) -> Measurement:
    measurement = Measurement(round(warmup_s * SECOND), round(until_s * SECOND))
    for result in results:
        measurement.add(result)
    return measurement


def test_the_warm_up_is_not_counted() -> None:
    result = result_of(measured(answer(500, ttft_ms=9000), answer(1500)))
    assert result.requests == 1
    assert result.latencies_ms["ttft"] is not None
    assert math.isclose(result.latencies_ms["ttft"].max, 100, rel_tol=0.01)


def test_tokens_count_when_they_arrive_not_when_their_request_began() -> None:
    begun_in_the_warm_up = answer(
        900, ttft_ms=90, gaps_ms=(20, 10, 10)
    )  # one of its four tokens comes before the end of it, three after
    result = result_of(measured(begun_in_the_warm_up))
    assert result.requests == 0
    assert result.output_tokens == 3
    assert sum(result.tokens_per_s) == 3
    assert result.metrics["output_tokens_per_s"] == 0.3


def test_one_stall_shows_in_the_gaps_and_not_in_a_mean() -> None:
    gaps = tuple(10.0 for _ in range(998))
    result = result_of(measured(answer(1500, gaps_ms=(*gaps, 500.0)), until_s=60))
    itl, tpot = result.latencies_ms["itl"], result.latencies_ms["tpot"]
    assert itl is not None
    assert tpot is not None
    assert math.isclose(itl.max, 500, rel_tol=0.01)
    assert math.isclose(itl.p50, 10, rel_tol=0.01)
    assert tpot.max < 11


def test_latency_counts_from_when_the_request_was_due_not_from_when_it_was_sent() -> None:
    late = answer(1500)
    late.sent_ns = late.intended_ns + 50 * MS
    assert late.ttft_ms == 100


def test_failures_are_counted_by_kind_and_are_slower_than_every_answer() -> None:
    failures = answer(1600, error="http_500"), answer(1700, error="timeout"), answer(1800, error="timeout")
    result = result_of(measured(answer(1500), *failures))
    assert result.errors == {"http_500": 1, "timeout": 2}
    assert result.metrics["error_rate"] == 0.75
    for latency, first in (("ttft", 100.0), ("e2e", 120.0), ("tpot", 10.0)):
        found = result.latencies_ms[latency]
        assert found is not None
        assert (found.samples, found.failed, found.p50, found.max) == (4, 3, math.inf, math.inf)
        assert HdrHistogram.decode(found.histogram).get_max_value() == pytest.approx(first * 1000, rel=0.001), "the answer's"
    itl = result.latencies_ms["itl"]
    assert itl is not None
    assert (itl.samples, itl.failed) == (5, 3), "two gaps of the answer, and of each failure the one that did not end"


def strictly(text: str) -> object:
    """JSON as RFC 8259 has it: Python's own reader takes Infinity and NaN as well."""

    def refuse(word: str) -> None:
        raise ValueError(word)

    return json.loads(text, parse_constant=refuse)


def test_one_request_of_a_hundred_that_hangs_is_not_passed_by_the_99th_percentile() -> None:
    requests = [answer(1000 + 10 * number, ttft_ms=100 + number % 7) for number in range(1000)]
    for result in requests[::99]:  # 11 of 1,000
        result.error, result.message, result.token_ns, result.ended_ns = "timeout", "no answer in 60 s", [], 60 * SECOND
    objectives = {
        "ttft_p99_ms": Objective(at_most=200),
        "e2e_p95_ms": Objective(at_most=200),
        "e2e_p999_ms": Objective(at_least=1),
        "error_rate": Objective(at_most=0.02),
    }
    found = result_of(measured(*requests), objectives)
    assert {name: one.met for name, one in found.objectives.items()} == {
        "ttft_p99_ms": False,
        "e2e_p95_ms": True,
        "e2e_p999_ms": True,
        "error_rate": True,
    }
    lost = found.objectives["ttft_p99_ms"]
    assert (lost.value, lost.high, lost.compared_value) == (math.inf, None, 1e12)
    assert lost.note == "11 of 1000 requests failed: each is slower than every bound"
    assert found.objectives["e2e_p95_ms"].note == ""
    assert verdicts.judge(PromptCheckSummary(failed=0, results=[]), {"chat": found}, {}) == (
        "failed",
        "chat ttft_p99_ms infinite (must be at most 200: 11 of 1000 requests failed: each is slower than every bound)",
    )
    written = found.model_dump_json()
    told = strictly(written)
    assert isinstance(told, dict)
    assert told["metrics"]["ttft_p99_ms"] == told["objectives"]["ttft_p99_ms"]["value"] == "Infinity"
    assert told["metrics"]["capacity_per_s"] is None, "not measured is something else"
    assert ProfileResult.model_validate_json(written) == found
    whole = ProfileReport(**dict(found), intervals=measured(*requests).intervals(METRICS, {}))
    report = LoadTestReport(target="here", began_at="now", verdict="failed", reasons=[], profiles={"chat": whole})
    strictly(report.model_dump_json())
    shown = table.render(report)
    assert re.search(r"^ +ttft_p99_ms +infinite +ms +10\d … no end +at most 200 +missed$", shown, re.MULTILINE), shown
    assert "  infinite: so many requests failed " in shown
    assert judge({"chat": whole}) == (
        "failed",
        ["chat: ttft_p99_ms is infinite, must be at most 200 (11 of 1000 requests failed: each is slower than every bound)"],
    )


def test_the_time_to_the_first_token_of_the_answer_is_behind_the_thought() -> None:
    plain, thinking, cut = answer(1500), answer(1600, gaps_ms=(10, 10, 10)), answer(1700)
    thinking.answer_at, cut.answer_at = 2, 3
    objectives = {"ttfo_p50_ms": Objective(at_most=150), "ttfo_p90_ms": Objective(at_most=150)}
    found = result_of(measured(plain, thinking, cut), objectives)
    assert {name: found.metrics[name] for name in ("ttft_p50_ms", "ttfo_p50_ms", "ttfo_p90_ms", "error_rate")} == {
        "ttft_p50_ms": 100.0,
        "ttfo_p50_ms": 120.0,
        "ttfo_p90_ms": math.inf,
        "error_rate": 0.0,
    }
    assert found.objectives["ttfo_p90_ms"].note == (
        "0 of 3 requests failed and 1 ended within their thought: each is slower than every bound"
    )
    assert "ttfo_p99_ms" in shown_metrics(found)
    assert "ttfo_p99_ms" not in shown_metrics(result_of(measured(plain))), "which is the time to the first token"
    assert "ttfo_p50_ms" in shown_metrics(result_of(measured(plain), objectives))


def test_infinite_latencies_are_compared_with_production_as_numbers_are() -> None:
    worse = Objective(at_most_production=1.1)
    assert not score(worse, math.inf, production=100.0).met
    assert score(worse, math.inf, production=math.inf).met, "it was as bad before"
    assert score(worse, 100.0, production=math.inf).met
    for production in (100.0, math.inf):
        strictly(score(worse, math.inf, production=production).model_dump_json())


def test_where_every_request_failed_every_latency_is_infinite() -> None:
    failed = measured(*(answer(1000 + 100 * n, error="http_503") for n in range(20)))
    assert failed.metrics({})["ttft_p50_ms"] == math.inf
    assert failed.intervals(["ttft_p50_ms", "error_rate"], {})["ttft_p50_ms"] == (math.inf, None)


def test_a_model_file_that_bounds_no_errors_allows_one_in_a_hundred() -> None:
    """Where every third request fails, the median is of an answer still."""
    profile = ClosedLoop.model_validate(
        {"kind": "closed_loop", "concurrency": 1, "duration_s": 10, "objectives": {"ttft_p50_ms": {"at_most": 200}}}
    )
    requests = steady(20)
    for result in requests[::3]:
        result.error, result.token_ns = "timeout", []
    scored = result_of(measured(*requests), profile.objectives).objectives
    assert scored["ttft_p50_ms"].value == 105, "the median of the answers is 103"
    assert {name: result.met for name, result in scored.items()} == {"ttft_p50_ms": True, "error_rate": False}
    assert profile.objectives["error_rate"].at_most == 0.01
    for named, kept in (
        (Objective(at_most=0.5), Objective(at_most=0.5)),
        (Objective(at_most_production=1.1), Objective(at_most=0.01, at_most_production=1.1)),
    ):
        changed = profile.model_copy(update={"objectives": {"error_rate": named}})
        assert ClosedLoop.model_validate(changed.model_dump()).objectives["error_rate"] == kept


def test_goodput_is_the_rate_of_requests_that_keep_every_bound_by_themselves() -> None:
    objectives = {"ttft_p99_ms": Objective(at_most=150), "itl_p99_ms": Objective(at_most=20)}
    good, slow_start, stalled = answer(1500), answer(1500, ttft_ms=200), answer(1500, gaps_ms=(10, 50))
    assert measured(good, slow_start, stalled).metrics(objectives)["goodput_per_s"] == 0.1


def test_an_objective_without_a_value_is_lost_on_either_side() -> None:
    objectives = {"ttft_p99_ms": Objective(at_most=1e9), "tpot_p50_ms": Objective(at_least=-1e9)}
    scored = result_of(measured(answer(500)), objectives).objectives
    assert scored["ttft_p99_ms"].value is None
    assert not scored["ttft_p99_ms"].met
    assert scored["ttft_p99_ms"].compared_value > 1e9
    assert scored["tpot_p50_ms"].compared_value < -1e9


def test_every_metric_that_a_model_file_may_name_is_measured() -> None:
    assert set(METRICS) == set(measured(answer(1500)).metrics({}))


@given(st.lists(st.floats(min_value=0.01, max_value=60_000), min_size=1, max_size=200))
def test_percentiles_are_those_of_the_samples(ttfts: list[float]) -> None:
    result = measured(*(answer(1500, ttft_ms=ttft) for ttft in ttfts), until_s=100).latencies()["ttft"]
    assert result is not None
    assert result.samples == len(ttfts)
    ordered = sorted(ttfts)
    for name, percentile in (("p50", 50), ("p90", 90), ("p99", 99)):
        exact = ordered[-(-percentile * len(ordered) // 100) - 1]
        assert math.isclose(getattr(result, name), exact, rel_tol=1e-9, abs_tol=1e-6)


def test_a_token_costs_what_the_instance_costs_while_it_is_made() -> None:
    tokens_per_s = 30  # ten requests a second, three tokens each
    found = measured(*steady()).metrics({}, usd_per_hour=36.0)["usd_per_million_output_tokens"]
    assert found is not None
    assert math.isclose(found, 36.0 / 3600 / tokens_per_s * 1e6, rel_tol=0.02)


def test_pieces_of_several_tokens_count_as_the_server_says() -> None:
    result = answer(1500)
    result.output_tokens = 12  # in three pieces
    assert measured(result).output_tokens == 12
    assert measured(result).usage_differs == 1.0


def test_the_time_for_a_token_is_of_tokens_where_pieces_have_several() -> None:
    drafted = answer(1500, gaps_ms=(30, 30))
    drafted.output_tokens = 9  # three a piece, as speculative decoding sends them
    assert drafted.tpot_ms == 60 / 8
    assert drafted.gaps_ms == [30, 30], "what a reader waits is the piece"
    assert answer(1500, gaps_ms=(30, 30)).tpot_ms == 30


@pytest.mark.parametrize(
    ("claimed", "counted", "exact", "verdict"),
    [
        (20, 20, False, "passed"),
        (22, 20, False, "passed"),
        (40, 20, False, "invalid"),
        (40, 0, False, "passed"),
        (40, 20, True, "passed"),
    ],
)
def test_a_server_that_counts_tokens_that_are_none_is_not_fast(claimed: int, counted: int, exact: bool, verdict: str) -> None:
    requests = steady()
    for result in requests:
        result.output_tokens, result.counted_tokens = claimed, counted
    objectives = {"output_tokens_per_s": Objective(at_least=1), "ttft_p50_ms": Objective(at_most=1000)}
    load = {"exact_output": exact}
    found = profile_result(load, measured(*requests), objectives, usd_per_hour=None, lag_at_most_ms=50, production=None)
    said = verdicts.judge(PromptCheckSummary(failed=0, results=[]), {"chat": found}, {})
    assert said[0] == verdict
    if verdict == "invalid":
        assert said[1] == (
            "chat: output_tokens_per_s: the server counts 2 tokens for each that its answers have by the model's tokenizer"
        )


def test_what_was_not_compared_with_production_is_in_the_line_for_people() -> None:
    objectives = {"ttft_p50_ms": Objective(at_most_production=1.1)}
    fast = result_of(measured(*steady(ttft_ms=10)))
    prompt_checks = PromptCheckSummary(failed=0, results=[])
    other = profile_result({"rate": 2}, measured(*steady()), objectives, usd_per_hour=None, lag_at_most_ms=50, production=fast)
    assert verdicts.judge(prompt_checks, {"chat": other}, {})[1].endswith("(production was measured under another load)")
    bare = fast.model_copy(update={"metrics": {}})
    unlike = profile_result({}, measured(*steady()), objectives, usd_per_hour=None, lag_at_most_ms=50, production=bare)
    assert unlike.objectives["ttft_p50_ms"].note == "production's evaluation has no ttft_p50_ms"
    alike = profile_result({}, measured(*steady()), objectives, usd_per_hour=None, lag_at_most_ms=50, production=fast)
    assert alike.objectives["ttft_p50_ms"].note == ""
    first = result_of(measured(*steady()), objectives)
    assert "nothing in production" not in verdicts.judge(prompt_checks, {"chat": first}, {})[1]


def test_every_objective_has_an_interval_that_holds_its_value() -> None:
    objectives = {
        "ttft_p50_ms": Objective(at_most=150),
        "output_tokens_per_s": Objective(at_least=1),
        "error_rate": Objective(at_most=0.5),
    }
    scored = result_of(measured(*steady(), *(answer(2000 + 200 * n, error="http_500") for n in range(9))), objectives).objectives
    for name, result in scored.items():
        assert result.low is not None, name
        assert result.high is not None, name
        assert result.value is not None, name
        assert result.low * 0.995 <= result.value <= result.high * 1.005, name
    assert scored["error_rate"].low != scored["error_rate"].high


@pytest.mark.parametrize(("samples", "percentile"), [(40, 50), (40, 99), (400, 99)])
def test_intervals_hold_the_true_value_as_often_as_they_say(samples: int, percentile: int) -> None:
    """A bootstrap alone would hold the true 99th percentile of 40 samples one time in three."""
    source, name = random.Random(3), f"ttft_p{percentile}_ms"
    true = 100 * math.exp(0.5 * NormalDist().inv_cdf(percentile / 100))
    held = 0
    for _ in range(50):
        draws = [source.lognormvariate(math.log(100), 0.5) for _ in range(samples)]
        results = [answer(1000 + 10_000 * number / samples, ttft_ms=draw) for number, draw in enumerate(draws)]
        interval = measured(*results).intervals([name], {})[name]
        assert interval is not None
        held += interval[0] <= true <= (math.inf if interval[1] is None else interval[1])
    assert held >= 44


def test_no_failure_in_a_few_requests_is_no_proof_of_none() -> None:
    interval = measured(*steady(2)).intervals(["error_rate"], {})["error_rate"]
    assert interval is not None
    assert interval[0] == 0
    assert interval[1] == pytest.approx(0.161, abs=0.001), "of 20"


def test_a_percentile_of_fewer_samples_than_it_has_parts_decides_nothing_unless_it_is_missed() -> None:
    profiles = {
        seconds: result_of(measured(*steady(seconds)), {"ttft_p99_ms": Objective(at_most=bound)})
        for seconds, bound in ((9, 150), (10, 150), (8, 100))
    }
    few, enough, missed = (
        verdicts.judge(PromptCheckSummary(failed=0, results=[]), {"chat": one}, {}) for one in profiles.values()
    )
    assert few == (
        "invalid",
        "chat: ttft_p99_ms is of 90 samples and needs 100 (measure longer, or bound a lower percentile)",
    )
    assert enough[0] == "passed"
    assert missed[0] == "failed"


def test_a_relative_objective_compares_with_production() -> None:
    slower_by_a_fifth = score(Objective(at_most_production=1.1), 120.0, production=100.0)
    assert not slower_by_a_fifth.met
    assert slower_by_a_fifth.compared_value > slower_by_a_fifth.bound == 1.1
    assert score(Objective(at_most_production=1.1), 105.0, production=100.0).met
    assert score(Objective(at_least_production=0.9), 95.0, production=100.0).met
    assert not score(Objective(at_least_production=0.9), 85.0, production=100.0).met


def test_a_relative_objective_is_met_while_nothing_is_in_production() -> None:
    result = score(Objective(at_most_production=1.1), 120.0)
    assert result.met
    assert result.compared_value <= result.bound
    assert "nothing in production" in result.note


def test_an_objective_with_both_bounds_is_missed_by_either() -> None:
    both = Objective(at_most=150, at_most_production=1.1)
    assert score(both, 105.0, production=100.0).met
    too_slow, worse = score(both, 160.0, production=155.0), score(both, 120.0, production=100.0)
    assert not too_slow.met
    assert not worse.met
    assert worse.compared_value > worse.bound == 150


@given(st.sampled_from(["at_most_production", "at_least_production"]), st.floats(0.5, 2), st.floats(0, 1e6), st.floats(0, 1e6))
def test_the_gate_and_the_verdict_agree_on_every_relative_objective(
    kind: str, bound: float, value: float, production: float
) -> None:
    result = score(Objective(**{kind: bound}), value, production=production)
    compared = result.compared_value <= result.bound if kind == "at_most_production" else result.compared_value >= result.bound
    assert compared == result.met


def test_production_under_another_load_is_not_compared_with() -> None:
    objectives = {"ttft_p50_ms": Objective(at_most_production=1.1)}
    fast = result_of(measured(*steady(ttft_ms=10)))
    other = profile_result(
        {"rate": 2}, measured(*steady()), objectives, usd_per_hour=None, lag_at_most_ms=50, production=fast
    ).objectives["ttft_p50_ms"]
    same = profile_result({}, measured(*steady()), objectives, usd_per_hour=None, lag_at_most_ms=50, production=fast).objectives[
        "ttft_p50_ms"
    ]
    assert other.met
    assert "another load" in other.note
    assert not same.met


def test_a_late_client_makes_the_run_invalid() -> None:
    measurement = measured(*steady())
    assert measurement.client(50).bottleneck == ""
    measurement.merge(WorkerResult([], [0] * 900 + [80 * MS] * 100, 0.3))
    assert "80" in measurement.client(50).bottleneck
    assert measurement.client(100).bottleneck == ""


def test_a_busy_client_makes_the_run_invalid() -> None:
    measurement = measured(*steady())
    measurement.merge(WorkerResult([], [], 0.97))
    assert "97%" in measurement.client(50).bottleneck
