"""Metrics do not grow with the seconds that a server runs."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from moto.cloudwatch.models import MetricAggregatedDatum, MetricDatum

from sagemaker_local.cloudwatch.retention import MINUTES_KEPT, compact

OURS = frozenset({"AWS/SageMaker"})
START = datetime(2026, 1, 1, 12, 0)


def point(at: datetime, value: float, endpoint: str = "e", namespace: str = "AWS/SageMaker") -> Any:
    return MetricAggregatedDatum(
        namespace, "Invocations", value, value, 1, value, [{"Name": "EndpointName", "Value": endpoint}], at
    )


def test_old_seconds_become_minutes_and_nothing_is_lost() -> None:
    data = [point(START + timedelta(seconds=second), second % 7) for second in range(3600)]
    total = sum(datum.sum for datum in data)
    compact(data, OURS, START + timedelta(hours=1))
    assert len(data) == 51 + 599  # fifty minutes and the one that has begun, and the seconds of the last ten
    assert (sum(datum.sum for datum in data), sum(datum.sample_count for datum in data)) == (total, 3600)
    assert (data[0].min, data[0].max, data[0].sample_count) == (0, 6, 60)
    compact(data, OURS, START + timedelta(hours=1))
    assert len(data) == 650


def test_endpoints_are_apart_and_the_points_of_others_are_left_alone() -> None:
    data: list[Any] = [point(START, 1, "a"), point(START, 2, "b"), point(START, 3, "a"), point(START, 9, namespace="own")]
    data += [point(START, 8, namespace="own"), MetricDatum("AWS/SageMaker", "x", 1.0, [], START)]
    compact(data, OURS, START + timedelta(hours=1))
    assert [getattr(datum, "sum", None) for datum in data] == [4, 2, 9, 8, None]
    compact(data, OURS, START + MINUTES_KEPT + timedelta(hours=1))
    assert [getattr(datum, "sum", None) for datum in data] == [9, 8, None]
