"""Exact percentiles of latencies, and the curve that is stored beside them.

A percentile here is a sample: the smallest that at least so many per cent of all samples do not exceed, which is the sample of rank
ceil(share * count), counted from 1. It is the inverse of the empirical distribution function, numpy's method `inverted_cdf`, and never lies
between two samples: the 90th percentile of seven samples is the largest. An infinite sample, that of a failed request, has its rank as any
other.

The curve is an HDR histogram, to be drawn, compared or merged; no number is read from it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy
from hdrh.histogram import HdrHistogram

from loadtest.measurement.models import Quantiles

PERCENTILES = {"p50": 500, "p90": 900, "p95": 950, "p99": 990, "p999": 999}
"""Name → share of the samples, in thousandths: whole numbers, so that no rank is off by a rounding."""
_LOWEST_US, _HIGHEST_US, _DIGITS = 1, 3_600_000_000, 3  # 1 µs to 1 h, to three digits


def quantiles(values_ms: Iterable[float]) -> Quantiles | None:
    """Return the distribution of latencies; None when there is no value.

    Args:
        values_ms: every sample, in any order. Milliseconds; infinite for a request that failed.
    """
    values = numpy.fromiter(values_ms, dtype=numpy.float64)
    if not len(values):
        return None
    values.sort()
    found = {name: float(values[_place(thousandths, len(values))]) for name, thousandths in PERCENTILES.items()}
    finite = values[numpy.isfinite(values)]
    return Quantiles(
        samples=len(values),
        failed=len(values) - len(finite),
        max=float(values[-1]),
        histogram=_histogram(finite).encode().decode(),
        **found,
    )


def percentile(values: Iterable[float], thousandths: int) -> float | None:
    """Return one percentile; None when there is no value.

    Args:
        values: every sample, in any order and unit.
        thousandths: which share of the samples must not exceed it, as 990 for the 99th percentile.
    """
    ordered = numpy.sort(numpy.fromiter(values, dtype=numpy.float64))
    return float(ordered[_place(thousandths, len(ordered))]) if len(ordered) else None


def min_samples(metric: str) -> int:
    """Return how many samples a metric needs: a percentile as many as it takes for one to be beyond it, any other none.

    The 99th percentile of 20 samples would be their largest, and the true one is larger four times in five.

    Args:
        metric: its name, as in `ttft_p99_ms`.
    """
    _, _, name = metric.removesuffix("_ms").rpartition("_")
    return -(-1000 // (1000 - PERCENTILES[name])) if metric.endswith("_ms") else 0


def _place(thousandths: int, count: int) -> int:
    """Return the index of rank ceil(thousandths / 1000 * count) among sorted samples."""
    return max(0, -(-thousandths * count // 1000) - 1)


def _histogram(values_ms: Any) -> HdrHistogram:
    """Put finite samples into an HDR histogram, in microseconds."""
    made = HdrHistogram(_LOWEST_US, _HIGHEST_US, _DIGITS)
    rounded = numpy.rint(values_ms * 1000).clip(_LOWEST_US, _HIGHEST_US).astype(numpy.int64)
    for value, count in zip(
        *numpy.unique(rounded, return_counts=True), strict=True
    ):  # equal ones together: there are millions of gaps
        made.record_value(int(value), int(count))
    return made
