"""The variance of a sum of slices that remember: against another implementation, published quantiles and planted processes."""

from __future__ import annotations

import math
from typing import Any

import numpy
import pytest
from scipy import stats  # type: ignore[import-untyped]

from loadtest.measurement import long_run_variance
from loadtest.measurement.long_run_variance import SLICES, memory, spread
from loadtest.profiles import LOOKS_AT_MOST


def wandering(source: Any, relaxation_slices: float, noise: float = 0.0) -> Any:
    """Return an Ornstein-Uhlenbeck process, a value a slice, with noise of the moment on it. Its mean is 0."""
    kept, found = math.exp(-1 / relaxation_slices), numpy.empty(SLICES)
    level = source.standard_normal()
    for place in range(SLICES):
        level = kept * level + math.sqrt(1 - kept**2) * source.standard_normal()
        found[place] = level
    return found + noise * source.standard_normal(SLICES)


def test_the_projections_are_those_of_another_implementation() -> None:
    """Equal-weighted cosines as Montiel Olea and Plagborg-Møller compute them (Lag-augmented_LocalProjections, functions/ewc.m): zeros between
    the observations, a Fourier transform four times as long, its real part."""
    series = numpy.random.default_rng(3).standard_normal(SLICES)
    padded = numpy.zeros(4 * SLICES)
    padded[1 : 2 * SLICES : 2] = series
    theirs = 2 * numpy.fft.fft(padded).real[1:9] ** 2
    assert long_run_variance._projections(series)[:8] == pytest.approx(theirs)


def test_the_quantiles_are_students() -> None:
    assert list(long_run_variance._T) == list(range(1, LOOKS_AT_MOST + 1))
    for looks, quantiles in long_run_variance._T.items():
        for degrees, quantile in zip(long_run_variance._COSINES, quantiles, strict=True):
            assert quantile == pytest.approx(stats.t.ppf(1 - 0.025 / looks, degrees), abs=0.0006)


@pytest.mark.parametrize(
    ("relaxation_slices", "noise", "duration_s"), [(0.01, 0.0, 900.0), (5.0, 0.0, 900.0), (10.0, 1.0, 900.0), (15.0, 0.0, 300.0)]
)
def test_the_sum_is_as_far_off_as_it_says_95_times_of_100(relaxation_slices: float, noise: float, duration_s: float) -> None:
    source, held, runs = numpy.random.default_rng(4), 0, 400
    for _ in range(runs):
        series = wandering(source, relaxation_slices, noise)
        around = series - series.mean()
        found = spread(around, memory(duration_s, [around]))
        held += -found.above <= series.sum() <= found.below
    assert 0.93 <= held / runs <= 0.985


def test_what_the_run_remembers_widens_what_a_noisy_metric_says() -> None:
    source = numpy.random.default_rng(5)
    slow, noisy = wandering(source, 100), source.standard_normal(SLICES)
    noisy -= noisy.mean()
    alone, together = spread(noisy, memory(900, [noisy])), spread(noisy, memory(900, [slow - slow.mean()]))
    assert together.below + together.above > 1.1 * (alone.below + alone.above)


def test_a_skewed_series_may_be_further_above_than_below() -> None:
    """Bursts on one slice in twenty: a run that met few of them is the likelier mistake."""
    bursts = numpy.random.default_rng(6).random(SLICES) ** 40
    found = spread(bursts - bursts.mean(), memory(900, []))
    assert found.above > found.below
    mirrored = spread(bursts.mean() - bursts, memory(900, []))
    assert (mirrored.below, mirrored.above) == pytest.approx((found.above, found.below))


def test_a_series_without_any_change_has_no_spread() -> None:
    found = spread(numpy.zeros(SLICES), memory(60, [numpy.zeros(SLICES)]))
    assert (found.below, found.above, found.of(numpy.ones(SLICES) - 1)) == (0.0, 0.0, 0.0)


def test_a_load_that_remembers_leaves_fewer_cosines_to_count() -> None:
    source = numpy.random.default_rng(7)
    slow, fast = wandering(source, 60), source.standard_normal(SLICES)
    counted = [spread(one - one.mean(), memory(300, [one - one.mean()]))._cosines for one in (slow, fast)]
    assert counted[0] < counted[1] == 16


def test_a_spread_says_what_another_series_of_the_same_memory_has_above_it() -> None:
    source = numpy.random.default_rng(8)
    series = wandering(source, 10) ** 3
    series -= series.mean()
    found = spread(series, memory(900, [series]))
    assert found.of(series) == pytest.approx(found.above)
    assert found.of(3 * series) == pytest.approx(3 * found.above)
