"""Old metrics of endpoints, a minute together: moto keeps every data point for ever, and looks at all of them for each question.

"Metrics retention" in CloudWatch's user guide: points of less than a minute are available for 3 hours, those of a minute for 15 days.
Here a second's points become a minute's after ten minutes.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

SECONDS_KEPT = timedelta(minutes=10)
MINUTES_KEPT = timedelta(days=15)


def compact(data: list[Any], namespaces: frozenset[str], now: datetime) -> None:
    """Put a minute's points into one, of our namespaces and older than ``SECONDS_KEPT``; drop what is older than ``MINUTES_KEPT``.

    Args:
        data: moto's list, which other threads may append to meanwhile; changed in one step.
        namespaces: whose points are SageMaker's own; those of others are left alone.
        now: in UTC, without a zone, as moto has its times.
    """
    recent = now - SECONDS_KEPT
    end = next((index for index, datum in enumerate(data) if datum.timestamp > recent), len(data))
    minutes: dict[Any, Any] = {}
    kept: list[Any] = []
    for datum in data[:end]:
        if datum.namespace not in namespaces or not hasattr(datum, "sample_count"):
            kept.append(datum)
            continue
        if now - datum.timestamp > MINUTES_KEPT:
            continue
        minute = datum.timestamp.replace(second=0, microsecond=0)
        key = (minute, datum.namespace, datum.name, *((entry.name, entry.value) for entry in datum.dimensions))
        first = minutes.setdefault(key, datum)
        if first is datum:
            kept.append(datum)
            continue
        first.sum += datum.sum
        first.sample_count += datum.sample_count
        first.min, first.max = min(first.min, datum.min), max(first.max, datum.max)
    data[:end] = kept
