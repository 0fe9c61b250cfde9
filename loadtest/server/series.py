"""Samples of a server's metrics become what is stored: on the measurement's own time axis, and no more points than a chart shows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from loadtest.measurement.measurement import Measurement
from loadtest.measurement.models import ServerMetric, ServerMetrics
from loadtest.server.gauges import GAUGES, mean

POINTS = 600
"""Of a metric, at most."""


def summarize(
    samples: Iterable[tuple[int, Mapping[str, float]]], measurement: Measurement, source: str, every_s: float, note: str = ""
) -> ServerMetrics:
    """Return what was sampled in the measured time.

    Args:
        samples: moments on the monotonic clock (nanoseconds) with the values at them, in order.
        measurement: whose time axis it is.
        source: where the values are from.
        every_s: how often they were asked for. Seconds.
        note: what went wrong.
    """
    series: dict[str, list[tuple[float, float]]] = {}
    for at_ns, values in samples:
        if at_ns in measurement.time:
            for metric, value in values.items():
                series.setdefault(metric, []).append((measurement.time.before(at_ns) / 1e9, value))
    metrics = {metric: _metric(gauge.unit, series[metric]) for metric, gauge in GAUGES.items() if metric in series}
    if not metrics:
        note = note or f"there is a sample every {every_s:g} s, and none is of the measured time"
    return ServerMetrics(source=source, every_s=every_s, note=note, metrics=metrics)


def _metric(unit: str, points: list[tuple[float, float]]) -> ServerMetric:
    values = [value for _, value in points]
    width = -(-len(points) // POINTS)
    groups = [points[first : first + width] for first in range(0, len(points), width)]
    return ServerMetric(
        unit=unit,
        mean=_rounded(mean(values)),
        max=_rounded(max(values)),
        at_s=[round(mean(at_s for at_s, _ in group), 2) for group in groups],
        values=[_rounded(mean(value for _, value in group)) for group in groups],
    )


def _rounded(value: float) -> float:
    """Return a value with six digits: more say nothing, and are stored six hundred times."""
    return value if value == 0 else round(value, 5 - math.floor(math.log10(abs(value))))
