"""Confidence intervals, held against what is known from outside: order statistics, Wilson's formula, and planted truths that they must cover."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy
import pytest
from scipy import stats  # type: ignore[import-untyped]

from loadtest.measurement.confidence import TimeSlices
from loadtest.measurement.long_run_variance import SLICES


def in_one_slice(values: Sequence[float]) -> TimeSlices:
    """All in the same slice: no slice has more of them below a quantile than another, and they are as good as independent."""
    slices = TimeSlices(60)
    slices.sample("ttft", [7] * len(values), values)
    return slices


def of_counts(amounts: Sequence[float], name: str = "done", duration_s: float = 60) -> TimeSlices:
    slices = TimeSlices(duration_s)
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
        (7, 0.5, (0, None)),
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


def test_slices_that_are_alike_leave_no_doubt_about_a_rate() -> None:
    assert of_counts([5.0] * SLICES, duration_s=240).rate("done") == (10.0, 10.0)
    assert of_counts([1.0] * SLICES, duration_s=240).rate("done") == (2.0, 2.0)


def test_a_rate_is_as_many_times_less_as_more_and_never_less_than_nothing() -> None:
    """Four answers in ten seconds, evenly: they could be a few times fewer or more."""
    low, high = of_counts([float(place % 120 == 60) for place in range(SLICES)], duration_s=10).rate("done") or (0, 0)
    assert 0 < low < 0.4 < high
    wild = of_counts([float(place == 7) * 100 for place in range(SLICES)], duration_s=10).rate("done") or (0, 0)
    assert 0 < wild[0] < 10 < wild[1] < math.inf
    assert of_counts([0.0] * SLICES).rate("done") == (0.0, 0.0)


def test_a_rates_interval_covers_the_planted_rate_95_times_of_100() -> None:
    """Poisson counts around a speed that wanders by a fifth from slice to slice."""
    source, held, runs = numpy.random.default_rng(1), 0, 400
    for _ in range(runs):
        amounts = source.poisson(40 * (1 + 0.2 * source.standard_normal(SLICES)).clip(0))
        interval = of_counts(amounts.tolist(), duration_s=float(SLICES)).rate("done")
        assert interval is not None
        held += interval[0] <= 40 <= interval[1]
    assert 0.93 <= held / runs <= 0.98


def test_a_quantiles_interval_covers_the_planted_one_where_the_load_remembers() -> None:
    """Levels that forget within ten slices of 480 (an Ornstein-Uhlenbeck process): order statistics alone would cover half of the time."""
    source, held, alone, runs = numpy.random.default_rng(2), 0, 0, 150
    kept, true = math.exp(-1 / 10), 100.0  # the median of both distributions, multiplied
    for _ in range(runs):
        slices, everything, level = TimeSlices(480), list[float](), source.standard_normal()
        for place in range(SLICES):
            level = kept * level + math.sqrt(1 - kept**2) * source.standard_normal()
            values = (100 * numpy.exp(0.4 * level + source.normal(0, 0.3, size=4))).tolist()
            slices.sample("ttft", [place] * len(values), values)
            everything += values
        held += within(true, slices.quantile("ttft", 0.5))
        alone += within(true, in_one_slice(everything).quantile("ttft", 0.5))
    assert 0.92 <= held / runs <= 0.99
    assert alone / runs < 0.75


def within(value: float, interval: tuple[float, float | None] | None) -> bool:
    assert interval is not None
    return interval[0] <= value <= (math.inf if interval[1] is None else interval[1])


def test_a_run_of_two_halves_says_that_its_median_may_be_either() -> None:
    slices = TimeSlices(480)
    for place in range(SLICES):
        slices.sample("ttft", [place] * 5, [10.0 if place < SLICES / 2 else 1000.0] * 5)
    low, high = slices.quantile("ttft", 0.5) or (0, None)
    assert low <= 10
    assert (high or math.inf) >= 1000


def test_a_latency_that_was_seen_often_counts_as_often() -> None:
    once, often = TimeSlices(60), TimeSlices(60)
    for place in range(SLICES):
        values = [float(place % 7), float(place % 11)]
        often.sample("itl", [place] * 2, values, [3, 2])
        once.sample("itl", [place] * 5, [*values[:1] * 3, *values[1:] * 2])
    for share in (0.5, 0.9, 0.99):
        assert often.quantile("itl", share) == once.quantile("itl", share)


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
    slices = TimeSlices(60)
    slices.count("due", 3, due)
    slices.count("failed", 3, failed)
    found = slices.share("failed", "due")
    assert found == pytest.approx(wanted, abs=0.00006)
    theirs = stats.binomtest(failed, due).proportion_ci(method="wilson")
    assert found == pytest.approx((theirs.low, theirs.high), abs=0.0001)


def test_failures_that_come_together_widen_the_interval_of_their_share() -> None:
    """All 50 failures of 4,800 requests in two slices side by side, or spread over all of the time."""
    together, spread = of_counts([10.0] * SLICES, "due"), of_counts([10.0] * SLICES, "due")
    for number in range(50):
        together.count("failed", 240 + number % 2)
        spread.count("failed", number * 9)
    wide, narrow = together.share("failed", "due"), spread.share("failed", "due")
    assert wide is not None
    assert narrow is not None
    assert wide[1] - wide[0] > 3 * (narrow[1] - narrow[0])


def test_a_share_without_its_part_is_none_and_without_a_whole_is_nothing() -> None:
    twenty = of_counts([20.0], "due")
    assert twenty.share("failed", "due") == pytest.approx((0.0, 0.1611), abs=0.0001)
    assert TimeSlices(60).share("failed", "due") is None
    assert of_counts([0.0] * SLICES, "due").share("failed", "due") is None
    assert TimeSlices(60).rate("done") is None
    assert TimeSlices(60).quantile("ttft", 0.5) is None


@pytest.mark.parametrize(("place", "kept"), [(-3, 0), (SLICES, SLICES - 1), (SLICES + 7, SLICES - 1)])
def test_what_is_beyond_the_measured_time_belongs_to_its_nearest_slice(place: int, kept: int) -> None:
    """A request that was due in the last nanosecond of a time that slices do not divide evenly."""
    beyond, wanted = TimeSlices(60), TimeSlices(60)
    for slices, where in ((beyond, place), (wanted, kept)):
        for other in range(1, SLICES - 1):
            slices.count("done", other, other)
            slices.sample("ttft", [other] * 9, [float(other)] * 9)
        slices.count("done", where, 100)
        slices.sample("ttft", [where] * 90, [100.0] * 90)
    assert beyond.rate("done") == wanted.rate("done")
    assert beyond.quantile("ttft", 0.5) == wanted.quantile("ttft", 0.5)


def test_the_same_requests_have_the_same_interval_every_time() -> None:
    assert of_counts(range(SLICES)).rate("done") == of_counts(range(SLICES)).rate("done")


def test_more_samples_make_a_narrower_interval() -> None:
    widths = []
    for count in (100, 400, 1600):
        low, high = in_one_slice(range(1, count + 1)).quantile("ttft", 0.5) or (0, None)
        assert high is not None
        widths.append((high - low) / count)
    for wider, narrower in pairwise(widths):
        assert wider / narrower == pytest.approx(2, rel=0.1), "with the square root of their number"


def test_both_ends_are_further_where_the_load_remembers() -> None:
    slices, everything = TimeSlices(480), list[float]()
    for place in range(SLICES):
        values = [100 + 10 * math.sin(place / 20) + number for number in range(4)]
        slices.sample("ttft", [place] * len(values), values)
        everything += values
    low, high = slices.quantile("ttft", 0.5) or (math.inf, None)
    nearer_low, nearer_high = in_one_slice(everything).quantile("ttft", 0.5) or (0, None)
    assert low < nearer_low - 1
    assert (high or math.inf) > (nearer_high or 0) + 1
