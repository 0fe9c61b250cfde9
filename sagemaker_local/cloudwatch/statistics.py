"""What CloudWatch keeps of many values, and what alarms ask of a source of metrics that moto does not have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

FLEET_DIMENSION = "EndpointConfigName"
"""The dimension that tells the fleets of an endpoint's update apart."""


@dataclass
class StatisticSet:
    """A StatisticSet: how many values there were, their sum, and the least and the greatest."""

    count: int = 0
    total: float = 0.0
    minimum: float = float("inf")
    maximum: float = float("-inf")

    def add(self, value: float) -> None:
        """Take one value."""
        self.count += 1
        self.total += value
        self.minimum = min(self.minimum, value)
        self.maximum = max(self.maximum, value)


class MetricSource(Protocol):
    """Metrics of endpoints that moto does not have: percentiles, and those of one fleet of an update."""

    def of_fleet(self, region: str, name: str, dimensions: Mapping[str, str], start: float, end: float) -> list[StatisticSet]:
        """Return a metric of one fleet, a second each, between two times (epoch seconds)."""
        ...

    def model_latencies(self, region: str, dimensions: Mapping[str, str], start: float, end: float) -> list[float]:
        """Return every ModelLatency between two times (epoch seconds), in microseconds."""
        ...
