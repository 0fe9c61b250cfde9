"""Confidence intervals, held against what is known from outside: order statistics, Wilson's formula, and planted truths that they must cover."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy
import pytest
from scipy import stats  # type: ignore[import-untyped]

from loadtest.measurement.confidence import SLICES, TimeSlices


def in_one_slice(values: Sequence[float]) -> TimeSlices:
    """All in the same slice: every draw has the same samples, and the bootstrap has no width of its own."""
    slices = TimeSlices()
    slices.sample("ttft", 7, values)
    return slices


def of_counts(amounts: Sequence[float], name: str = "done") -> TimeSlices:
    slices = TimeSlices()
    for place, amount in enumerate(amounts):
        slices.count(name, place, amount)
    return slices


@pytest.mark.parametrize(
    ("count", "share", "wanted"),
    [
        # ranks n*p -+ 1.96*sqrt(n*p*(1-p)), outwards: the k-th of 1…n is k
        (100, 0.5, (40, 61)),
        (100, 0.9, (84, 97)),
        (1000, 0.99, (983, 998)),
        (100, 0.99, (97, None)),
        (1000, 0.999, (997, None)),
        (8, 0.5, (1, 8)),
        (7, 0.5, (1, None)),
    ],
)
def test_a_quantiles_interval_is_at_least_that_of_its_order_statistics(
    count: int, share: float, wanted: tuple[float, float | None]
) -> None:
    assert in_one_slice(range(1, count + 1)).quantile("ttft", share) == wanted
    low, high = wanted
    below = stats.binom(count, share).cdf
    covered = (below(high - 1) if high is not None else 1.0) - below(low - 1)
    assert covered >= 0.95, "the share of samples below the true quantile is binomial"


def test_latencies_below_a_millisecond_are_told_apart() -> None:
    """Inter-token latencies of pieces that arrive together are microseconds."""
    low, high = in_one_slice([0.003] * 60 + [0.4] * 40).quantile("ttft", 0.5) or (0, None)
    assert low == pytest.approx(0.003, rel=0.002)
    assert high == pytest.approx(0.4, rel=0.002)


def test_the_bootstrap_of_a_sum_is_as_wide_as_the_central_limit_theorem_says() -> None:
    """20 draws with replacement of 0…19: mean 190, variance 20 * (20^2 - 1) / 12; 1.6 per cent beyond either end."""
    interval = of_counts(range(SLICES)).rate("done", 1.0)
    assert interval is not None
    wide = stats.norm.ppf(0.984) * math.sqrt(20 * 399 / 12)
    assert interval == pytest.approx((190 - wide, 190 + wide), abs=6), "the ends of a thousand draws have an error of their own"
    assert interval == pytest.approx((134.0, 241.016), abs=1e-9), "the same draws every time"
    halved = of_counts(range(SLICES)).rate("done", 2.0)
    assert halved == (interval[0] / 2, interval[1] / 2), "a second of it"


def test_slices_that_are_alike_leave_no_doubt_about_a_rate() -> None:
    assert of_counts([5.0] * SLICES).rate("done", 10.0) == (10.0, 10.0)
    once = TimeSlices()
    for place in range(SLICES):
        once.count("done", place)
    assert once.rate("done", 1.0) == (20.0, 20.0), "one, where nothing else is said"


def test_a_rates_interval_covers_the_planted_rate_95_times_of_100() -> None:
    """Poisson counts around a speed that wanders by a fifth from slice to slice."""
    source, held, runs = numpy.random.default_rng(1), 0, 400
    for _ in range(runs):
        interval = of_counts(source.poisson(40 * (1 + 0.2 * source.standard_normal(SLICES)).clip(0)).tolist()).rate(
            "done", float(SLICES)
        )
        assert interval is not None
        held += interval[0] <= 40 <= interval[1]
    assert 0.93 <= held / runs <= 0.97


def test_a_quantiles_interval_covers_the_planted_one_where_slices_differ() -> None:
    """Each slice has a level of its own (log-normal, as its requests are around it): order statistics alone would cover it half of the time."""
    source, held, alone, runs = numpy.random.default_rng(2), 0, 0, 100
    true = 100.0  # the median of both distributions, multiplied
    for _ in range(runs):
        slices, everything = TimeSlices(), list[float]()
        for place in range(SLICES):
            values = (100 * numpy.exp(source.normal(0, 0.4) + source.normal(0, 0.3, size=20))).tolist()
            slices.sample("ttft", place, values)
            everything += values
        held += within(true, slices.quantile("ttft", 0.5))
        alone += within(true, in_one_slice(everything).quantile("ttft", 0.5))
    assert 0.90 <= held / runs <= 0.98
    assert alone / runs < 0.75


def within(value: float, interval: tuple[float, float | None] | None) -> bool:
    assert interval is not None
    return interval[0] <= value <= (math.inf if interval[1] is None else interval[1])


def test_a_quantile_of_slices_that_differ_is_drawn_slice_by_slice() -> None:
    """Ten slices of a hundred 10s, ten of a hundred 1000s: the median is one or the other, and each is the median of many draws."""
    slices = TimeSlices()
    for place in range(SLICES):
        slices.sample("ttft", place, [10.0 if place < 10 else 1000.0] * 100)
    assert slices.quantile("ttft", 0.5) == pytest.approx((10, 1000), rel=0.002)
    assert slices.quantile("ttft", 0.05) == pytest.approx((10, 10), rel=0.002)


@pytest.mark.parametrize(
    ("failed", "due", "wanted"),
    [
        (0, 20, (0.0, 0.1611)),
        (1, 10, (0.0179, 0.4042)),
        (10, 20, (0.2993, 0.7007)),
        (5, 1000, (0.0021, 0.0117)),
        (20, 20, (0.8389, 1.0)),
    ],
)
def test_a_shares_interval_is_at_least_wilsons(failed: int, due: int, wanted: tuple[float, float]) -> None:
    slices = TimeSlices()
    slices.count("due", 3, due)
    slices.count("failed", 3, failed)
    found = slices.share("failed", "due")
    assert found == pytest.approx(wanted, abs=0.00006)
    theirs = stats.binomtest(failed, due).proportion_ci(method="wilson")
    assert found == pytest.approx((theirs.low, theirs.high), abs=0.0001)


def test_failures_that_come_together_widen_the_interval_of_their_share() -> None:
    """All 50 failures of 1,000 requests in one slice: that slice is missing from a third of the draws, and there three times in many."""
    slices = of_counts([50.0] * SLICES, "due")
    slices.count("failed", 4, 50)
    found = slices.share("failed", "due")
    assert found is not None
    assert found[0] == 0.0
    assert found[1] == 4 / 20
    assert stats.binom(20, 1 / 20).sf(3) == pytest.approx(0.016, abs=0.0002), "the share of draws that have it four times or more"
    assert found[1] > 0.065, "Wilson's, as if each request failed by itself"


def test_a_share_without_its_part_is_none_and_without_a_whole_is_nothing() -> None:
    assert of_counts([1.0] * SLICES, "due").share("failed", "due") == pytest.approx((0.0, 0.1611), abs=0.0001)
    assert TimeSlices().share("failed", "due") is None
    assert of_counts([0.0] * SLICES, "due").share("failed", "due") is None
    assert TimeSlices().rate("done", 1.0) is None
    assert TimeSlices().quantile("ttft", 0.5) is None


def test_draws_without_any_request_are_left_out() -> None:
    """Requests in one slice of 20 alone: a third of the draws has none of it, and they must not count as a share of nothing."""
    slices = TimeSlices()
    slices.count("due", 0, 4)
    slices.count("failed", 0, 4)
    assert slices.share("failed", "due") == pytest.approx((0.5101, 1.0), abs=0.0001)


@pytest.mark.parametrize(("place", "kept"), [(-3, 0), (20, 19), (27, 19)])
def test_what_is_beyond_the_measured_time_belongs_to_its_nearest_slice(place: int, kept: int) -> None:
    """A request that was due in the last nanosecond of a time that slices do not divide evenly."""
    beyond, wanted = TimeSlices(), TimeSlices()
    for slices, where in ((beyond, place), (wanted, kept)):
        for other in range(1, SLICES - 1):
            slices.count("done", other, other)
            slices.sample("ttft", other, [float(other)] * 9)
        slices.count("done", where, 100)
        slices.sample("ttft", where, [100.0] * 90)
    assert beyond.rate("done", 1.0) == wanted.rate("done", 1.0)
    assert beyond.quantile("ttft", 0.5) == wanted.quantile("ttft", 0.5)


@pytest.mark.parametrize(("first", "second"), [(0, 1), (SLICES - 2, SLICES - 1)])
def test_the_slices_at_either_end_are_slices_of_their_own(first: int, second: int) -> None:
    """A hundred 10s in one and a hundred 1000s in the other: many draws have one of them alone, or most of it."""
    slices = TimeSlices()
    slices.sample("ttft", first, [10.0] * 100)
    slices.sample("ttft", second, [1000.0] * 100)
    assert slices.quantile("ttft", 0.25) == pytest.approx((10, 1000), rel=0.002)


def test_the_same_requests_have_the_same_interval_every_time() -> None:
    assert of_counts(range(SLICES)).rate("done", 3.0) == of_counts(range(SLICES)).rate("done", 3.0)


def test_more_samples_make_a_narrower_interval() -> None:
    widths = []
    for count in (100, 400, 1600):
        low, high = in_one_slice(range(1, count + 1)).quantile("ttft", 0.5) or (0, None)
        assert high is not None
        widths.append((high - low) / count)
    for wider, narrower in pairwise(widths):
        assert wider / narrower == pytest.approx(2, rel=0.1), "with the square root of their number"
