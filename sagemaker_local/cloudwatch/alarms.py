"""CloudWatch metric alarms that follow their metric. moto keeps alarms, but never evaluates them.

"Using Amazon CloudWatch alarms" in CloudWatch's user guide says how: N of the last M periods breach the threshold, and missing
periods count as ``TreatMissingData`` says. A state that SetAlarmState gave stays until the evaluation's own result changes.
Metric math and anomaly detection are refused (``refusals``); percentiles are evaluated of endpoints' ModelLatency, and composite
alarms after the others.
"""

from __future__ import annotations

import logging
import math
import operator
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from sagemaker_local.cloudwatch import composite_alarms
from sagemaker_local.cloudwatch.statistics import FLEET_DIMENSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sagemaker_local.cloudwatch.statistics import MetricSource
    from sagemaker_local.context import Context

_LOGGER = logging.getLogger(__name__)
_COMPARISONS = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}


@dataclass
class AlarmEvaluator:
    """Evaluates every alarm of the regions in use."""

    context: Context
    metrics: MetricSource
    """What moto does not have: percentiles, and the metrics of one fleet of an update."""
    _last: dict[tuple[str, str], str] = field(default_factory=dict)

    def evaluate(self, regions: set[str]) -> None:
        """Evaluate all alarms once."""
        for region in regions:
            backend = self.context.moto.backend("cloudwatch", region)
            alarms = list(backend.alarms.values())
            for alarm in alarms:
                if (
                    alarm.rule
                    or alarm.metric_data_queries
                    or not (alarm.statistic or _is_latency_percentile(alarm))
                    or alarm.comparison_operator not in _COMPARISONS
                ):
                    continue
                state = self._state(backend, region, alarm)
                if state is not None and state != self._last.get((region, alarm.name), "INSUFFICIENT_DATA"):
                    self._last[region, alarm.name] = state
                    if alarm.state_value != state:
                        reason = f"Threshold Crossed: {alarm.evaluation_periods} datapoints, threshold {alarm.threshold}."
                        alarm.update_state(reason, "{}", state)
            states = {alarm.name: alarm.state_value for alarm in alarms}
            for alarm in alarms:
                if alarm.rule:
                    self._combine(region, alarm, states)

    def _combine(self, region: str, alarm: Any, states: dict[str, str]) -> None:
        """Let a composite alarm follow its rule; of composites in it, the state that they had a moment ago counts."""
        state = "ALARM" if composite_alarms.holds(alarm.rule, lambda name: states.get(name, "INSUFFICIENT_DATA")) else "OK"
        if state != self._last.get((region, alarm.name)):
            self._last[region, alarm.name] = state
            alarm.update_state(f"The rule {alarm.rule} is {'true' if state == 'ALARM' else 'false'}.", "{}", state)

    def _state(self, backend: Any, region: str, alarm: Any) -> str | None:
        """Return the state that the metric asks for; None to leave it as it is."""
        own = FLEET_DIMENSION in _dimensions(alarm) or not alarm.statistic
        values = self._of_endpoint(region, alarm) if own else self._periods(backend, alarm)
        missing = alarm.treat_missing_data or "missing"
        if all(value is None for value in values):
            return {"missing": "INSUFFICIENT_DATA", "breaching": "ALARM", "notBreaching": "OK", "ignore": None}[missing]
        compare = _COMPARISONS[alarm.comparison_operator]
        breaching = sum(missing == "breaching" if value is None else compare(value, float(alarm.threshold)) for value in values)
        needed = int(alarm.datapoints_to_alarm or alarm.evaluation_periods)
        if missing in ("missing", "ignore"):
            needed = min(needed, sum(value is not None for value in values))
        return "ALARM" if breaching >= needed else "OK"

    def _of_endpoint(self, region: str, alarm: Any) -> list[float | None]:
        """Return like `_periods`, of what the endpoints' own metrics know."""
        now, period, count = time.time(), int(alarm.period), int(alarm.evaluation_periods)
        dimensions = _dimensions(alarm)
        found: list[float | None] = []
        for start in (now - period * (count - index) for index in range(count)):
            if alarm.statistic:
                seconds = self.metrics.of_fleet(region, alarm.metric_name, dimensions, start, start + period)
                data = [_Datum(second.total, second.count, second.minimum, second.maximum) for second in seconds]
                found.append(_statistic(alarm.statistic, data) if data else None)
            else:
                share = float(alarm.extended_statistic.removeprefix("p")) / 100
                found.append(_percentile(self.metrics.model_latencies(region, dimensions, start, start + period), share))
        return found

    def _periods(self, backend: Any, alarm: Any) -> list[float | None]:
        """Return the statistic of each of the last periods, oldest first; None where there is no data."""
        now = datetime.now(UTC).replace(tzinfo=None)
        period = timedelta(seconds=int(alarm.period))
        count = int(alarm.evaluation_periods)
        start = now - period * count
        wanted = set(_dimensions(alarm).items())
        found: list[list[Any]] = [[] for _ in range(count)]
        for datum in backend.metric_data:
            if datum.namespace != alarm.namespace or datum.name != alarm.metric_name or not start <= datum.timestamp < now:
                continue
            if {(dimension.name, dimension.value) for dimension in datum.dimensions} == wanted:
                found[min(count - 1, int((datum.timestamp - start) / period))].append(datum)
        return [_statistic(alarm.statistic, data) if data else None for data in found]


class _Datum(NamedTuple):
    """A StatisticSet, with the names that moto's has."""

    sum: float
    sample_count: float
    min: float
    max: float


def _dimensions(alarm: Any) -> dict[str, str]:
    return {dimension.name: dimension.value for dimension in alarm.dimensions}


def _is_latency_percentile(alarm: Any) -> bool:
    return bool(alarm.extended_statistic) and (alarm.namespace, alarm.metric_name) == ("AWS/SageMaker", "ModelLatency")


def _percentile(values: list[float], share: float) -> float | None:
    """Return the smallest value that so large a share of all is not above."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else None


def _statistic(name: str, data: Sequence[Any]) -> float:
    """Return a statistic over moto's data points, which are single values or StatisticSets."""
    total = sum(getattr(datum, "sum", getattr(datum, "value", 0.0)) for datum in data)
    samples = sum(getattr(datum, "sample_count", 1.0) for datum in data)
    if name == "Sum":
        return float(total)
    if name == "SampleCount":
        return float(samples)
    if name == "Average":
        return float(total / samples) if samples else 0.0
    if name == "Maximum":
        return float(max(getattr(datum, "max", getattr(datum, "value", 0.0)) for datum in data))
    return float(min(getattr(datum, "min", getattr(datum, "value", 0.0)) for datum in data))
