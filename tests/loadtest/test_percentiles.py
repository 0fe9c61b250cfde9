"""Percentiles are exact, by a rank that is written down: held against cases worked by hand and against numpy's own definition of it."""

from __future__ import annotations

import numpy
import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from loadtest.measurement.percentiles import PERCENTILES, min_samples, percentile, quantiles


@pytest.mark.parametrize(
    ("samples", "wanted"),
    [
        # rank ceil(p * n): of 7 samples 3.5 → 4, 6.3 → 7, 6.65 → 7, 6.93 → 7, 6.993 → 7
        ([70, 10, 60, 20, 50, 30, 40], (40, 70, 70, 70, 70)),
        # of 10: 5, 9, 9.5 → 10, 9.9 → 10, 9.99 → 10
        (range(10, 101, 10), (50, 90, 100, 100, 100)),
        # of 1000: 500, 900, 950, 990, 999
        (range(1000, 0, -1), (500, 900, 950, 990, 999)),
        ([3.25], (3.25, 3.25, 3.25, 3.25, 3.25)),
    ],
)
def test_percentiles_worked_by_hand(samples: list[float], wanted: tuple[float, ...]) -> None:
    found = quantiles(samples)
    assert found is not None
    assert (found.p50, found.p90, found.p95, found.p99, found.p999) == wanted
    assert (found.samples, found.max) == (len(samples), max(samples))


@given(st.lists(st.floats(0.01, 60_000), min_size=1, max_size=300))
def test_percentiles_are_numpys_inverted_cdf_to_the_last_bit(samples: list[float]) -> None:
    found = quantiles(samples)
    assert found is not None
    for name, thousandths in PERCENTILES.items():
        assert getattr(found, name) == numpy.quantile(samples, thousandths / 1000, method="inverted_cdf")
        assert percentile(samples, thousandths) == getattr(found, name)


@pytest.mark.parametrize("count", [*range(1, 60), 99, 100, 101, 199, 200, 999, 1000, 1001, 1999, 2000, 2001])
def test_no_rank_is_off_by_a_rounding_where_it_is_a_whole_number(count: int) -> None:
    samples = numpy.arange(1, count + 1)
    for thousandths in PERCENTILES.values():
        rank = next(rank for rank in range(1, count + 1) if 1000 * rank >= thousandths * count)
        assert percentile(samples, thousandths) == rank


def test_the_stored_curve_holds_every_sample_to_three_digits() -> None:
    samples = [0.0005, 0.5, 12.345, 12.345, 60_000.0]
    found = quantiles(samples)
    assert found is not None
    curve = HdrHistogram.decode(found.histogram)
    assert curve.get_total_count() == 5
    assert curve.get_value_at_percentile(60) == pytest.approx(12_345, rel=0.001)
    assert curve.get_max_value() == pytest.approx(60_000_000, rel=0.001)
    assert curve.get_min_value() == 1, "what is below a microsecond counts as one"


def test_nothing_has_no_percentile() -> None:
    assert quantiles([]) is None
    assert percentile([], 990) is None


@pytest.mark.parametrize(
    ("metric", "wanted"),
    [("ttft_p50_ms", 2), ("itl_p90_ms", 10), ("tpot_p95_ms", 20), ("e2e_p99_ms", 100), ("ttft_p999_ms", 1000), ("error_rate", 0)],
)
def test_a_percentile_needs_one_sample_beyond_it(metric: str, wanted: int) -> None:
    assert min_samples(metric) == wanted
