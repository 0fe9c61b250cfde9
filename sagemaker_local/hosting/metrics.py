"""CloudWatch metrics of endpoints, named and dimensioned as SageMaker's ("Amazon SageMaker AI metrics in Amazon CloudWatch")."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sagemaker_local.cloudwatch import retention
from sagemaker_local.cloudwatch.statistics import FLEET_DIMENSION, StatisticSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sagemaker_local.context import Context

NAMESPACE = "AWS/SageMaker"
INSTANCES_NAMESPACE = "/aws/sagemaker/Endpoints"
_COUNT, _MICROSECONDS = "Count", "Microseconds"
_LATENCIES_KEPT = 100_000
_SECONDS_KEPT = 20_000
_COMPACT_INTERVAL_S = 60.0
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
    "MemoryUtilization": "Percent",
}

VariantKey = tuple[str, str, str]
"""Region, endpoint, production variant."""


@dataclass
class EndpointMetrics:
    """Collects what requests tell, on the event loop, and puts it into moto's CloudWatch once a second.

    Each metric of a request is there twice: of the variant, and of the variant's instances of one endpoint config (the dimension
    EndpointConfigName), which tells the new fleet from the old one while an update runs ("Auto-Rollback Configuration and Monitoring" in
    the developer guide). The latter are kept here for alarms: moto's statistics of a variant would count them in.
    """

    context: Context
    _values: dict[VariantKey, dict[str, StatisticSet]] = field(default_factory=dict)
    _by_config: dict[tuple[VariantKey, str], dict[str, StatisticSet]] = field(default_factory=dict)
    _of_fleets: deque[tuple[float, VariantKey, str, dict[str, StatisticSet]]] = field(
        default_factory=lambda: deque(maxlen=_SECONDS_KEPT)
    )
    _latencies: deque[tuple[float, VariantKey, str, float]] = field(default_factory=lambda: deque(maxlen=_LATENCIES_KEPT))

    compact_at: float = field(default_factory=lambda: time.monotonic() + _COMPACT_INTERVAL_S)
    """When there may be old points to put together, on the monotonic clock."""

    def request(
        self, key: VariantKey, config: str, instances: int, status: int, model_s: float | None, overhead_s: float
    ) -> None:
        """Take the measures of a request that has ended.

        Args:
            key: of its variant.
            config: the endpoint config of the instance that had it.
            instances: in service in that variant.
            status: of the container's answer; 0 when it gave none.
            model_s: what the container took; None when it did not answer.
            overhead_s: what was added here.
        """
        for values in (self._values.setdefault(key, {}), self._by_config.setdefault((key, config), {})):
            self._add(values, "Invocations", 1)
            self._add(values, "InvocationsPerInstance", 1 / max(1, instances))
            self._add(values, "Invocation4XXErrors", int(400 <= status < 500))
            self._add(values, "Invocation5XXErrors", int(status >= 500 or not status))  # no answer is a "server error (0)"
            self._add(values, "InvocationModelErrors", int(not 200 <= status < 300))
            self._add(values, "OverheadLatency", overhead_s * 1e6)
            if model_s is not None:
                self._add(values, "ModelLatency", model_s * 1e6)
        if model_s is not None:
            self._latencies.append((time.time(), key, config, model_s * 1e6))

    def model_latencies(self, region: str, dimensions: Mapping[str, str], start: float, end: float) -> list[float]:
        """Return every ModelLatency between two times (epoch seconds), in microseconds: what a percentile is of. moto keeps only sums."""
        config = dimensions.get(FLEET_DIMENSION)
        wanted = _key(region, dimensions)
        return [
            value
            for at, key, of_config, value in list(self._latencies)
            if start <= at < end and key == wanted and config in (None, of_config)
        ]

    def of_fleet(self, region: str, name: str, dimensions: Mapping[str, str], start: float, end: float) -> list[StatisticSet]:
        """Return a metric of the instances of one endpoint config, a second each, between two times (epoch seconds)."""
        wanted = (_key(region, dimensions), dimensions[FLEET_DIMENSION])
        return [
            metrics[name]
            for at, key, config, metrics in list(self._of_fleets)
            if start <= at < end and (key, config) == wanted and name in metrics
        ]

    def concurrency(self, key: VariantKey, in_flight: Iterable[int]) -> None:
        """Take how many requests each instance of a variant has right now."""
        values = self._values.setdefault(key, {})
        for count in in_flight:
            self._add(values, "ConcurrentRequestsPerModel", count)

    @staticmethod
    def _add(values: dict[str, StatisticSet], name: str, value: float) -> None:
        values.setdefault(name, StatisticSet()).add(value)

    def taken(self) -> dict[VariantKey, dict[str, StatisticSet]]:
        """Return everything since the last call."""
        values, self._values = self._values, {}
        return values

    def publish(self, values: dict[VariantKey, dict[str, StatisticSet]]) -> None:
        """Put aggregates into CloudWatch, one data point a metric."""
        by_config, self._by_config = self._by_config, {}
        for key, metrics in values.items():
            self._put(NAMESPACE, key, metrics)
        self._of_fleets.extend((time.time(), key, config, metrics) for (key, config), metrics in by_config.items())

    def publish_memory(self, shares: dict[VariantKey, list[float]]) -> None:
        """Put MemoryUtilization into CloudWatch: the share of the machine's memory that each instance uses, in per cent."""
        for key, of_instances in shares.items():
            aggregate = StatisticSet()
            for share in of_instances:
                aggregate.add(share)
            if of_instances:
                self._put(INSTANCES_NAMESPACE, key, {"MemoryUtilization": aggregate})

    def compact(self) -> None:
        """Put old points together, a minute's into one; to be called again at ``compact_at``."""
        for region in self.context.moto.regions("cloudwatch"):
            data = self.context.moto.backend("cloudwatch", region).metric_data
            retention.compact(data, frozenset({NAMESPACE, INSTANCES_NAMESPACE}), _now())
        self.compact_at = time.monotonic() + _COMPACT_INTERVAL_S

    def _put(self, namespace: str, key: VariantKey, metrics: dict[str, StatisticSet]) -> None:
        region, endpoint, variant = key
        now = _now()
        dimensions = [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": variant}]
        data = [_datum(name, aggregate, dimensions, now) for name, aggregate in metrics.items()]
        self.context.moto.backend("cloudwatch", region).put_metric_data(namespace, data)


def _now() -> datetime:
    """Return in UTC, without a zone, as moto compares times."""
    return datetime.now(UTC).replace(tzinfo=None)


def _key(region: str, dimensions: Mapping[str, str]) -> VariantKey:
    return region, dimensions.get("EndpointName", ""), dimensions.get("VariantName", "")


def _datum(name: str, aggregate: StatisticSet, dimensions: list[dict[str, str]], now: Any) -> dict[str, Any]:
    statistics = {
        "SampleCount": aggregate.count,
        "Sum": aggregate.total,
        "Minimum": aggregate.minimum,
        "Maximum": aggregate.maximum,
    }
    return {"MetricName": name, "Dimensions": dimensions, "Timestamp": now, "Unit": _UNITS[name], "StatisticValues": statistics}
