"""The 95 % confidence intervals of a measurement's metrics, by the names that objectives give them, alone and beside another measurement's."""

from __future__ import annotations

from typing import Any

from loadtest.measurement import comparison
from loadtest.measurement.comparison import Ratio
from loadtest.measurement.confidence import Interval, TimeSlices
from loadtest.measurement.long_run_variance import correlation
from loadtest.measurement.percentiles import PERCENTILES
from loadtest.profiles import COST, ERRORS

_SUMS = {
    "requests_per_s": "completed",
    "output_tokens_per_s": "tokens",
    "total_tokens_per_s": "all_tokens",
    "goodput_per_s": "good",
}
"""Metric → what its slices count."""


class Estimates:
    """What the time slices of one measurement say of its metrics."""

    def __init__(self, slices: TimeSlices, usd_per_hour: float | None = None) -> None:
        """Keep what `Measurement` counted.

        Args:
            slices: Its time slices.
            usd_per_hour: What the endpoint costs; None: not known. US dollars an hour.
        """
        self._slices, self._usd_per_hour = slices, usd_per_hour

    def interval(self, metric: str) -> Interval | None:
        """Return the interval of a metric, in its unit; None where there was too little to say, or it is none of a single run."""
        if metric.endswith("_ms"):
            return self._slices.quantile(*_quantile(metric))
        if metric == ERRORS:
            return self._slices.share("failed", "due")
        if metric == COST:
            return self._cost()
        return self._slices.rate(_SUMS[metric]) if metric in _SUMS else None

    def beside(self, other: Estimates, metric: str, value: float, base: float) -> Ratio | None:
        """Return the interval of this measurement's metric divided by that of another, which was measured in alternating blocks.

        Args:
            other: The other measurement's estimates: of the same load, in blocks of the same lengths.
            metric: Its name.
            value: What was measured here.
            base: What was measured there.
        """
        interval, base_interval = self.interval(metric), other.interval(metric)
        if interval is None or base_interval is None:
            return None
        return comparison.ratio_interval(value, interval, base, base_interval, correlation=self._common(other, metric))

    def _common(self, other: Estimates, metric: str) -> float:
        one, another = self._series(metric), other._series(metric)
        return 0.0 if one is None or another is None else correlation(one, another)

    def _series(self, metric: str) -> Any | None:
        """Return what varies from slice to slice when the metric does."""
        if metric.endswith("_ms"):
            return self._slices.series_below(*_quantile(metric))
        return self._slices.series(_SUMS.get(metric, "tokens"))

    def _cost(self) -> Interval | None:
        """Return the interval of what a million tokens cost: the more a second, the less each."""
        tokens = self._slices.rate("tokens")
        if tokens is None or self._usd_per_hour is None or not tokens[0]:
            return None
        usd = self._usd_per_hour / 3600 * 1e6
        return usd / tokens[1], usd / tokens[0]


def _quantile(metric: str) -> tuple[str, float]:
    latency, percentile, _ = metric.split("_")
    return latency, PERCENTILES[percentile] / 1000
