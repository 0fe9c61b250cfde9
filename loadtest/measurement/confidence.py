"""How far a number could be off: 95 % confidence intervals from one run, whose requests depend on each other.

Requests of one second have met the same queue and tokens of one answer the same batch. So what is counted are time slices, and how much their
sum varies is estimated with their memory (see `long_run_variance`). One method for latencies, rates and shares; `python -m benchmarks.gate`
shows how often each holds the truth.

A quantile's interval is that of the share of samples below it, turned into samples (R. S. Woodruff, "Confidence Intervals for Medians and Other
Position Measures", Journal of the American Statistical Association 47, 1952). It is at least that of independent samples: order statistics,
without an end where there are too few samples for one; a share's is at least Wilson's (1927), with as many requests as are worth independent
ones.

A measurement that goes on until it decides is looked at several times, and each look may err: with k looks each interval is one of
1 - 5 % / k, so that all of them together hold the truth in 95 % of the runs (Bonferroni), however the looks depend on each other.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from functools import cached_property
from statistics import NormalDist
from typing import Any

import numpy

from loadtest.measurement.long_run_variance import SLICES, Spread, memory, spread

TAIL = 0.025
"""Of the runs, so many have the truth above the interval, and so many below it: 95 % hold it."""
_TIMES_MOST = 50.0
"""The logarithm of how many times a rate may be at most: no float is beyond it."""
STATES = ("ttft", "itl", "e2e")
"""Latencies that show how long the load remembers, whichever has an objective."""
_STATE_COUNT = "tokens"
Interval = tuple[float, float | None]
"""From, to; to None: no end can be told."""


class TimeSlices:
    """What each slice of the measured time had."""

    def __init__(self, duration_s: float, looks: int = 1) -> None:
        """Begin with nothing.

        Args:
            duration_s: the measured time, from which is told how long the load remembers. Seconds.
            looks: how many times the measurement is looked at as it grows.
        """
        self._duration_s, self._looks = duration_s, looks
        self._z = -NormalDist().inv_cdf(TAIL / looks)
        self._samples: dict[str, tuple[array[int], array[float], array[float]]] = {}
        self._sums: dict[str, list[float]] = {}

    def sample(self, name: str, places: Sequence[int], values_ms: Sequence[float], counts: Sequence[float] | None = None) -> None:
        """Add latencies.

        Args:
            name: of the latency.
            places: the number of the slice that each is in.
            values_ms: the latencies. Milliseconds.
            counts: how many times each was seen; none: once.
        """
        known_places, values, known_counts = self._samples.setdefault(name, (array("l"), array("d"), array("d")))
        known_places.extend(places)
        values.extend(values_ms)
        known_counts.extend([1.0] * len(values_ms) if counts is None else counts)

    def count(self, name: str, place: int, amount: float = 1) -> None:
        """Add to a sum in slice number `place`."""
        self._sums.setdefault(name, [0.0] * SLICES)[min(max(place, 0), SLICES - 1)] += amount

    def quantile(self, name: str, share: float) -> Interval | None:
        """Return the interval of a latency's quantile, in the unit of the samples; None without a sample.

        Args:
            name: of the latency.
            share: of the samples that do not exceed the quantile, from 0 to 1.
        """
        return self._distributions[name].interval(share, self._spread, self._z) if name in self._samples else None

    def rate(self, name: str) -> tuple[float, float] | None:
        """Return the interval of a sum a second, which is as many times less as more (a rate is no less than none); None without a sum."""
        if name not in self._sums:
            return None
        amounts = self._array(name)
        total, found = float(amounts.sum()), self._spread(amounts - amounts.mean())
        if not total:
            return 0.0, 0.0
        return (
            total * math.exp(-found.below / total) / self._duration_s,
            total * math.exp(min(found.above / total, _TIMES_MOST)) / self._duration_s,
        )

    def series_below(self, name: str, share: float) -> Any | None:
        """Return, for each slice, how many more samples than elsewhere do not exceed a latency's quantile; None without a sample."""
        return self._distributions[name].series_below(share) if name in self._samples else None

    def series(self, name: str) -> Any | None:
        """Return, for each slice, how much more than elsewhere a sum had; None without a sum."""
        return self._array(name) - self._array(name).mean() if name in self._sums else None

    def share(self, part: str, whole: str) -> tuple[float, float] | None:
        """Return the interval of one sum divided by another; None where there is nothing to divide by."""
        total = sum(self._sums.get(whole, ()))
        if not total:
            return None
        parts = self._array(part) if part in self._sums else numpy.zeros(SLICES)
        share = float(parts.sum()) / total
        found = self._spread(parts - share * self._array(whole))
        squared = (found.either / total) ** 2 / (share * (1 - share)) if 0 < share < 1 else 0.0
        return _wilson(share, max(squared, self._z**2 / total))

    def _spread(self, series: Any) -> Spread:
        return spread(series, self._memory, self._looks)

    @cached_property
    def _distributions(self) -> dict[str, _Distribution]:
        return {name: _Distribution(*found) for name, found in self._samples.items()}

    @cached_property
    def _memory(self) -> Any:
        states = [self._distributions[name].series_below(0.5) for name in STATES if name in self._samples]
        if _STATE_COUNT in self._sums:
            states.append(self._array(_STATE_COUNT) - self._array(_STATE_COUNT).mean())
        return memory(self._duration_s, states)

    def _array(self, name: str) -> Any:
        return numpy.asarray(self._sums[name])


class _Distribution:
    """Samples in order, and the slice that each is in."""

    def __init__(self, places: Sequence[int], values: Sequence[float], counts: Sequence[float]) -> None:
        found = numpy.array(values)
        order = numpy.argsort(found, kind="stable")
        self._values, self._counts = found[order], numpy.array(counts)[order]
        self._places = numpy.array(places)[order].clip(0, SLICES - 1)
        self._ranks = numpy.cumsum(self._counts)
        self._total = float(self._ranks[-1])
        self._in_slice = numpy.bincount(self._places, self._counts, minlength=SLICES)

    def series_below(self, share: float) -> Any:
        """Return, for each slice, how many more samples than elsewhere are at most the quantile."""
        return self._series(self._at(share * self._total - 1e-9) or 0.0)

    def interval(self, share: float, spread_of: Callable[[Any], Spread], z: float) -> Interval:
        """Return the interval of a quantile, which has at least that of independent samples: `z` standard deviations to either side."""
        middle = share * self._total
        independent = z * math.sqrt(middle * (1 - share))
        found = spread_of(self.series_below(share))
        # More samples than usual are below the quantile: it may be higher, as far as the share of those below may be lower.
        low = self._low(middle, max(found.above, independent), found)
        above = self._at(math.ceil(middle + max(found.below, independent)) + 1)
        return low or 0.0, above if above is not None and math.isfinite(above) else None

    def _low(self, middle: float, distance: float, found: Spread) -> float | None:
        """Look again at the lower end itself: where more samples exceed it, their number may vary more."""
        low = self._at(math.floor(middle - distance))
        for _ in range(2):
            if low is None:
                return None
            distance = max(distance, found.of(self._series(low)))
            low = self._at(math.floor(middle - distance))
        return low

    def _series(self, value: float) -> Any:
        last = int(numpy.searchsorted(self._values, value, side="right"))
        below = numpy.bincount(self._places[:last], self._counts[:last], minlength=SLICES)
        return below - below.sum() / self._total * self._in_slice

    def _at(self, rank: float) -> float | None:
        """Return the sample of a rank, counted from 1; None where there is none."""
        place = int(numpy.searchsorted(self._ranks, rank))
        return float(self._values[place]) if rank > 0 and place < len(self._values) else None


def _wilson(share: float, squared: float) -> tuple[float, float]:
    """Return Wilson's interval of a share: that of none in 20 independent events ends at a sixth. `squared`: z squared, by the number of events."""
    scale = 1 + squared
    middle = (share + squared / 2) / scale
    half = math.sqrt(squared * share * (1 - share) + squared**2 / 4) / scale
    return max(0.0, middle - half), min(1.0, middle + half)
