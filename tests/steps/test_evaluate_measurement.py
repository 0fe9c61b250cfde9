"""What counts, and what the numbers are: measured on requests whose every moment is known."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from config.load_profiles import METRICS, Objective
from steps.evaluate_staging.measurement import Measurement
from steps.evaluate_staging.results import RequestResult

MS = 1_000_000
SECOND = 1_000 * MS


def answer(at_ms: float, ttft_ms: float = 100, gaps_ms: tuple[float, ...] = (10, 10), error: str = "") -> RequestResult:
    """A request due at `at_ms` whose tokens came after the given times."""
    moments, now = [], at_ms + ttft_ms
    for gap in (0.0, *gaps_ms):
        now += gap
        moments.append(round(now * MS))
    result = RequestResult(round(at_ms * MS), round(at_ms * MS), moments, moments[-1], len(moments), 7, error)
    if error:
        result.token_ns = []
    return result


def measured(*results: RequestResult, warmup_s: float = 1, until_s: float = 11) -> Measurement:
    measurement = Measurement(round(warmup_s * SECOND), round(until_s * SECOND))
    for result in results:
        measurement.add(result)
    return measurement


def test_the_warm_up_is_not_counted() -> None:
    result = measured(answer(500, ttft_ms=9000), answer(1500)).result({})
    assert result.requests == 1
    assert result.latencies_ms["ttft"] is not None
    assert math.isclose(result.latencies_ms["ttft"].max, 100, rel_tol=0.01)


def test_tokens_count_when_they_arrive_not_when_their_request_began() -> None:
    begun_in_the_warm_up = answer(900, ttft_ms=200)
    result = measured(begun_in_the_warm_up).result({})
    assert result.requests == 0
    assert result.output_tokens == 3
    assert result.metrics["output_tokens_per_s"] == 0.3


def test_one_stall_shows_in_the_gaps_and_not_in_a_mean() -> None:
    gaps = tuple(10.0 for _ in range(998))
    result = measured(answer(1500, gaps_ms=(*gaps, 500.0)), until_s=60).result({})
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


def test_failures_are_counted_by_kind_and_have_no_latency() -> None:
    result = measured(answer(1500), answer(1600, error="http_500"), answer(1700, error="timeout"), answer(1800, error="timeout")).result({})
    assert result.errors == {"http_500": 1, "timeout": 2}
    assert result.metrics["error_rate"] == 0.75
    assert result.latencies_ms["ttft"] is not None
    assert result.latencies_ms["ttft"].samples == 1


def test_goodput_is_the_rate_of_requests_that_keep_every_bound_by_themselves() -> None:
    objectives = {"ttft_p99_ms": Objective(at_most=150), "itl_p99_ms": Objective(at_most=20)}
    good, slow_start, stalled = answer(1500), answer(1500, ttft_ms=200), answer(1500, gaps_ms=(10, 50))
    assert measured(good, slow_start, stalled).result(objectives).metrics["goodput_per_s"] == 0.1


def test_an_objective_without_a_value_is_lost_on_either_side() -> None:
    objectives = {"ttft_p99_ms": Objective(at_most=1e9), "tpot_p50_ms": Objective(at_least=-1e9)}
    scored = measured(answer(1500, error="timeout")).result(objectives).objectives
    assert scored["ttft_p99_ms"].value is None
    assert not scored["ttft_p99_ms"].met
    assert scored["ttft_p99_ms"].compared_value > 1e9
    assert scored["tpot_p50_ms"].compared_value < -1e9


def test_every_metric_that_a_model_file_may_name_is_measured() -> None:
    assert set(METRICS) == set(measured(answer(1500)).result({}).metrics)


@given(st.lists(st.floats(min_value=0.01, max_value=60_000), min_size=1, max_size=200))
def test_percentiles_are_those_of_the_samples_to_three_digits(ttfts: list[float]) -> None:
    result = measured(*(answer(1500, ttft_ms=ttft) for ttft in ttfts), until_s=100).result({}).latencies_ms["ttft"]
    assert result is not None
    assert result.samples == len(ttfts)
    ordered = sorted(ttfts)
    for name, percentile in (("p50", 50), ("p90", 90), ("p99", 99)):
        exact = ordered[-(-percentile * len(ordered) // 100) - 1]
        assert math.isclose(getattr(result, name), exact, rel_tol=0.002, abs_tol=0.002)
