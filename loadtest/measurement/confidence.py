"""How far a number could be off: 95 % confidence intervals by a bootstrap over time.

Requests of one second have met the same queue and tokens of one answer the same batch, so they are not independent of each other; slices of
the measured time nearly are. Whole slices are drawn again with replacement, and the metric is computed on each draw. One method for
latencies, rates and shares. (Where an endpoint changes more slowly than a slice lasts, the intervals are still too narrow.)

A bootstrap only draws what was seen: of 40 samples it never finds a 99th percentile beyond the largest, which the true one exceeds two times
in three, and of no failure it makes no failure ever. So a quantile's interval is at least that of its order statistics, without an end where
there are too few samples for one, and a share's at least Wilson's.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from typing import Any

import numpy

SLICES = 20
_DRAWS = 1000
_BUCKET = 1.002  # latencies are put into buckets this much apart: finer than any interval
_Z = 1.96  # standard deviations to either side: 95 %
_TAIL = 1.6
"""Per cent of the draws beyond either end. 2.5 would be too narrow an interval for 20 slices: the expanded percentiles of Hesterberg, "What
Teachers Should Know About the Bootstrap" (The American Statistician, 2015), for n = 20."""
Interval = tuple[float, float | None]
"""From, to; to None: no end can be told."""


class TimeSlices:
    """What each slice of the measured time had."""

    def __init__(self) -> None:
        self._samples: dict[str, tuple[array[int], array[float]]] = {}
        self._sums: dict[str, list[float]] = {}

    def sample(self, name: str, place: int, values_ms: Sequence[float]) -> None:
        """Add latencies to slice number `place`. Milliseconds."""
        places, values = self._samples.setdefault(name, (array("b"), array("d")))
        places.extend([min(max(place, 0), SLICES - 1)] * len(values_ms))
        values.extend(values_ms)

    def count(self, name: str, place: int, amount: float = 1) -> None:
        """Add to a sum in slice number `place`."""
        self._sums.setdefault(name, [0.0] * SLICES)[min(max(place, 0), SLICES - 1)] += amount

    def quantile(self, name: str, share: float) -> Interval | None:
        """Return the interval of a latency's quantile, in the unit of the samples; None without a sample.

        Args:
            name: of the latency.
            share: of the samples that do not exceed the quantile, from 0 to 1.
        """
        places, values = self._samples.get(name, ((), ()))
        if not values:
            return None
        samples = numpy.array(values)
        logs = numpy.log(numpy.maximum(samples, 1e-6))
        lowest = logs.min() if numpy.isfinite(logs.min()) else 0.0
        buckets, columns = numpy.unique(numpy.floor((logs - lowest) / numpy.log(_BUCKET)), return_inverse=True)
        matrix = numpy.zeros((SLICES, len(buckets)))
        numpy.add.at(matrix, (numpy.asarray(places), columns), 1)
        drawn = numpy.cumsum(self._weights() @ matrix, axis=1)
        drawn = drawn[drawn[:, -1] > 0]  # not those of empty slices alone
        found = (drawn >= share * drawn[:, -1:]).argmax(axis=1)
        # An observation: what is between two of them is nothing where one is infinite.
        low, high = self._interval(numpy.exp(lowest + buckets[found] * numpy.log(_BUCKET)), "closest_observation")
        samples.sort()
        spread = _Z * math.sqrt(len(samples) * share * (1 - share))
        first = max(0, math.floor(share * len(samples) - spread) - 1)
        last = math.ceil(share * len(samples) + spread)
        ends = max(high, float(samples[last])) if last < len(samples) else math.inf
        return min(low, float(samples[first])), ends if math.isfinite(ends) else None

    def rate(self, name: str, duration_s: float) -> tuple[float, float] | None:
        """Return the interval of a sum a second; None where nothing was summed."""
        if name not in self._sums:
            return None
        return self._interval(self._weights() @ self._array(name) / duration_s)

    def share(self, part: str, whole: str) -> tuple[float, float] | None:
        """Return the interval of one sum divided by another; None where there is nothing to divide by."""
        if whole not in self._sums:
            return None
        wholes = self._weights() @ self._array(whole)
        parts = self._weights() @ self._array(part) if part in self._sums else wholes * 0
        if not numpy.any(wholes > 0):
            return None
        low, high = self._interval(parts[wholes > 0] / wholes[wholes > 0])
        least, most = _wilson(sum(self._sums.get(part, ())), sum(self._sums[whole]))
        return min(low, least), max(high, most)

    def _array(self, name: str) -> Any:
        return numpy.asarray(self._sums[name])

    @staticmethod
    def _weights() -> Any:
        """Draw slices: how often each is in each draw, the same every time, so that a report is the same for the same requests."""
        return numpy.random.default_rng(0).multinomial(SLICES, [1 / SLICES] * SLICES, size=_DRAWS)

    @staticmethod
    def _interval(values: Any, method: Any = "linear") -> tuple[float, float]:
        low, high = numpy.percentile(values, [_TAIL, 100 - _TAIL], method=method)
        return float(low), float(high)


def _wilson(part: float, whole: float) -> tuple[float, float]:
    """Return the interval of a share of independent events: that of none in 20 ends at a sixth. (E. B. Wilson, 1927.)"""
    share, scale = part / whole, 1 + _Z**2 / whole
    middle = (share + _Z**2 / (2 * whole)) / scale
    spread = _Z / scale * math.sqrt(share * (1 - share) / whole + _Z**2 / (4 * whole**2))
    return max(0.0, middle - spread), min(1.0, middle + spread)
