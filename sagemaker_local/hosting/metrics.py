"""CloudWatch metrics of endpoints, named and dimensioned as SageMaker's ("Amazon SageMaker AI metrics in Amazon CloudWatch")."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sagemaker_local.context import Context

NAMESPACE = "AWS/SageMaker"
_COUNT, _MICROSECONDS = "Count", "Microseconds"
# Every metric of a request; those that count are also sent as zero, so that alarms on rates have data.
_UNITS = {
    "Invocations": "None",
    "InvocationsPerInstance": "None",
    "Invocation4XXErrors": "None",
    "Invocation5XXErrors": "None",
    "InvocationModelErrors": "None",
    "ModelLatency": _MICROSECONDS,
    "OverheadLatency": _MICROSECONDS,
    "ConcurrentRequestsPerModel": _COUNT,
}

VariantKey = tuple[str, str, str]
"""Region, endpoint, production variant."""


@dataclass
class Aggregate:
    """What CloudWatch keeps of many values: a StatisticSet."""

    count: int = 0
    total: float = 0.0
    least: float = float("inf")
    most: float = float("-inf")

    def add(self, value: float) -> None:
        """Take one value."""
        self.count += 1
        self.total += value
        self.least = min(self.least, value)
        self.most = max(self.most, value)


@dataclass
class EndpointMetrics:
    """Collects what requests tell, on the event loop, and puts it into moto's CloudWatch once a second."""

    context: Context
    _values: dict[VariantKey, dict[str, Aggregate]] = field(default_factory=dict)

    def request(self, key: VariantKey, instances: int, status: int, model_s: float | None, overhead_s: float) -> None:
        """One request has ended.

        Args:
            key: of its variant.
            instances: in service in that variant.
            status: of the answer to the client (424 is a ModelError).
            model_s: what the container took; None when it did not answer.
            overhead_s: what was added here.
        """
        values = self._values.setdefault(key, {})
        self._add(values, "Invocations", 1)
        self._add(values, "InvocationsPerInstance", 1 / max(1, instances))
        self._add(values, "Invocation4XXErrors", int(400 <= status < 500))
        self._add(values, "Invocation5XXErrors", int(status >= 500))
        self._add(values, "InvocationModelErrors", int(status == 424))
        self._add(values, "OverheadLatency", overhead_s * 1e6)
        if model_s is not None:
            self._add(values, "ModelLatency", model_s * 1e6)

    def concurrency(self, key: VariantKey, in_flight: Iterable[int]) -> None:
        """How many requests each instance of a variant has right now."""
        values = self._values.setdefault(key, {})
        for count in in_flight:
            self._add(values, "ConcurrentRequestsPerModel", count)

    @staticmethod
    def _add(values: dict[str, Aggregate], name: str, value: float) -> None:
        values.setdefault(name, Aggregate()).add(value)

    def taken(self) -> dict[VariantKey, dict[str, Aggregate]]:
        """Everything since the last call."""
        values, self._values = self._values, {}
        return values

    def publish(self, values: dict[VariantKey, dict[str, Aggregate]]) -> None:
        """Put aggregates into CloudWatch, one data point a metric."""
        from datetime import UTC, datetime

        now = datetime.fromtimestamp(time.time(), UTC).replace(tzinfo=None)  # moto compares times without a zone
        for (region, endpoint, variant), metrics in values.items():
            dimensions = [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": variant}]
            data = [_datum(name, aggregate, dimensions, now) for name, aggregate in metrics.items()]
            self.context.moto.backend("cloudwatch", region).put_metric_data(NAMESPACE, data)


def _datum(name: str, aggregate: Aggregate, dimensions: list[dict[str, str]], now: Any) -> dict[str, Any]:
    statistics = {
        "SampleCount": aggregate.count,
        "Sum": aggregate.total,
        "Minimum": aggregate.least,
        "Maximum": aggregate.most,
    }
    return {"MetricName": name, "Dimensions": dimensions, "Timestamp": now, "Unit": _UNITS[name], "StatisticValues": statistics}
