"""How far a number could be off: 95 % confidence intervals by a bootstrap over time.

Requests of one second have met the same queue and tokens of one answer the same batch, so they are not independent of each other; slices of
the measured time nearly are. Whole slices are drawn again with replacement, and the metric is computed on each draw. One method for
latencies, rates and shares.
"""

from __future__ import annotations

from typing import Any

SLICES = 20
_DRAWS = 400
_BUCKET = 1.002  # latencies are put into buckets this much apart: finer than any interval
_FEWEST = 30  # samples; fewer say nothing of a tail


class Slices:
    """What each slice of the measured time had."""

    def __init__(self) -> None:
        self._samples: dict[str, tuple[list[int], list[float]]] = {}
        self._sums: dict[str, list[float]] = {}

    def sample(self, name: str, place: int, value_ms: float) -> None:
        """A latency that belongs to slice number `place`."""
        places, values = self._samples.setdefault(name, ([], []))
        places.append(min(max(place, 0), SLICES - 1))
        values.append(value_ms)

    def count(self, name: str, place: int, amount: float = 1) -> None:
        """Something that is summed, in slice number `place`."""
        self._sums.setdefault(name, [0.0] * SLICES)[min(max(place, 0), SLICES - 1)] += amount

    def quantile(self, name: str, share: float) -> tuple[float, float] | None:
        """The interval of a latency's quantile, in the unit of the samples."""
        import numpy

        places, values = self._samples.get(name, ([], []))
        if len(values) < _FEWEST or len(set(places)) < 2:
            return None
        logs = numpy.log(numpy.maximum(numpy.asarray(values), 1e-6))
        lowest = logs.min()
        buckets = numpy.floor((logs - lowest) / numpy.log(_BUCKET)).astype(numpy.int64)
        matrix = numpy.zeros((SLICES, int(buckets.max()) + 1))
        numpy.add.at(matrix, (numpy.asarray(places), buckets), 1)
        drawn = numpy.cumsum(self._weights() @ matrix, axis=1)
        ranks = share * drawn[:, -1:]
        found = (drawn >= ranks).argmax(axis=1)
        return self._interval(numpy.exp(lowest + found * numpy.log(_BUCKET)))

    def rate(self, name: str, duration_s: float) -> tuple[float, float] | None:
        """The interval of a sum a second."""
        if name not in self._sums:
            return None
        return self._interval(self._weights() @ self._array(name) / duration_s)

    def share(self, part: str, whole: str) -> tuple[float, float] | None:
        """The interval of one sum divided by another."""
        import numpy

        if whole not in self._sums:
            return None
        wholes = self._weights() @ self._array(whole)
        parts = self._weights() @ self._array(part) if part in self._sums else wholes * 0
        return self._interval(parts[wholes > 0] / wholes[wholes > 0]) if numpy.any(wholes > 0) else None

    def _array(self, name: str) -> Any:
        import numpy

        return numpy.asarray(self._sums[name])

    @staticmethod
    def _weights() -> Any:
        """How often each slice is in each draw: the same draws every time, so that a report is the same for the same requests."""
        import numpy

        return numpy.random.default_rng(0).multinomial(SLICES, [1 / SLICES] * SLICES, size=_DRAWS)

    @staticmethod
    def _interval(values: Any) -> tuple[float, float]:
        import numpy

        low, high = numpy.percentile(values, [2.5, 97.5])
        return float(low), float(high)
