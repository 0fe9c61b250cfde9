"""OpenTelemetry metrics as CloudWatch keeps them: time series with labels, which PromQL reads and the actions of CloudWatch do not."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sagemaker_local.context import Context

_SAMPLES_KEPT = 1_080  # of a series: three hours at the shortest interval
_SERIES_KEPT = 5_000

Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Series:
    """The samples of one set of labels, in order."""

    labels: Mapping[str, str]
    times: tuple[float, ...]
    """Epoch seconds."""
    values: tuple[float, ...]

    def within(self, after: float, until: float) -> tuple[float, ...]:
        """Return the values later than ``after`` and not later than ``until``."""
        return self.values[bisect_right(self.times, after) : bisect_right(self.times, until)]


@dataclass
class OtelMetrics:
    """The metrics of one account. In memory: a server that starts again has none."""

    context: Context
    _series: dict[tuple[str, str, Labels], deque[tuple[float, float]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, region: str, name: str, labels: Mapping[str, str], at: float, value: float) -> None:
        """Keep a sample; of more series than are kept, those that were added to longest ago are forgotten.

        Args:
            region: where.
            name: the metric's.
            labels: the other labels.
            at: epoch seconds.
            value: what was measured.
        """
        key = (region, name, frozenset(labels.items()))
        with self._lock:
            samples = self._series.pop(key, None) or deque(maxlen=_SAMPLES_KEPT)
            samples.append((at, value))
            self._series[key] = samples
            while len(self._series) > _SERIES_KEPT:
                del self._series[next(iter(self._series))]

    def select(self, region: str, name: str, labels: Mapping[str, str]) -> list[Series]:
        """Return the series of a metric that have all these labels."""
        with self._lock:
            found = [
                (dict(has), list(samples))
                for (of_region, of_name, has), samples in self._series.items()
                if (of_region, of_name) == (region, name) and has.issuperset(labels.items())
            ]
        return [Series(has, tuple(at for at, _ in samples), tuple(value for _, value in samples)) for has, samples in found]
