"""Application Auto Scaling of production variants: target tracking that really adds and removes instances.

moto keeps scalable targets and policies, and scales nothing. ("Automatic scaling of Amazon SageMaker AI models" in the developer
guide; "How target tracking works" in Application Auto Scaling's.) The number of instances wanted is ``instances * metric / target``,
rounded up when it grows and, so that it does not swing, only followed downwards when the metric is below 90 % of the target.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import AwsError
from sagemaker_local.hosting.autoscaling_refusals import TARGET_TRACKING
from sagemaker_local.hosting.endpoint import Endpoints

if TYPE_CHECKING:
    from sagemaker_local.cloudwatch.statistics import StatisticSet
    from sagemaker_local.context import Context
    from sagemaker_local.hosting.metrics import VariantKey

_LOGGER = logging.getLogger(__name__)
_DIMENSION = "sagemaker:variant:DesiredInstanceCount"
_SCALE_IN_BELOW = 0.9
_DEFAULT_COOLDOWN_S = 300.0


@dataclass
class Autoscaler:
    """Follows the metrics of variants that are scalable targets."""

    context: Context
    history: dict[VariantKey, list[tuple[float, dict[str, StatisticSet]]]] = field(default_factory=dict)
    _scaled_at: dict[tuple[VariantKey, str], float] = field(default_factory=dict)

    def observe(self, values: dict[VariantKey, dict[str, StatisticSet]]) -> None:
        """Take the last second's metrics."""
        now = time.monotonic()
        for key, metrics in values.items():
            self.history.setdefault(key, []).append((now, metrics))
        for key, entries in list(self.history.items()):
            self.history[key] = [entry for entry in entries if now - entry[0] < 60.0]
            if not self.history[key]:
                del self.history[key]

    def wanted(self, regions: set[str]) -> dict[VariantKey, int]:
        """Return the instance counts that policies ask for, of variants where that is another than now."""
        found: dict[VariantKey, int] = {}
        for region in regions:
            backend = self.context.moto.backend("application-autoscaling", region)
            for target in list(backend.targets.get(_DIMENSION, {}).values()):
                _, endpoint, _, variant = target.resource_id.split("/")
                try:
                    now = self.context.part(Endpoints).desired(region, endpoint, variant)
                except (AwsError, KeyError):
                    continue
                key = (region, endpoint, variant)
                policies = [policy for policy in backend.policies.values() if policy.resource_id == target.resource_id]
                counts = [count for policy in policies if (count := self._by_policy(key, policy, now)) is not None]
                count = max(counts, default=now)
                count = max(target.min_capacity or 0, min(target.max_capacity or count, count))
                if count != now:
                    found[key] = count
        return found

    def _by_policy(self, key: VariantKey, policy: Any, now: int) -> int | None:
        body = policy.target_tracking_scaling_policy_configuration
        kind = ((body or {}).get("PredefinedMetricSpecification") or {}).get("PredefinedMetricType")
        if kind not in TARGET_TRACKING or now == 0:
            return None
        value = self._metric(key, *TARGET_TRACKING[kind])
        target = float(body["TargetValue"])
        if value is None:
            return now
        if value > target:
            wanted = math.ceil(now * value / target)
            return wanted if self._may(key, "out", float(body.get("ScaleOutCooldown", _DEFAULT_COOLDOWN_S))) else now
        if value < target * _SCALE_IN_BELOW and not body.get("DisableScaleIn"):
            wanted = max(1, math.ceil(now * value / target))
            if wanted < now and self._may(key, "in", float(body.get("ScaleInCooldown", _DEFAULT_COOLDOWN_S))):
                return wanted
        return now

    def _metric(self, key: VariantKey, name: str, window_s: float) -> float | None:
        """Return invocations per instance and minute, or mean concurrent requests per instance; None without data."""
        since = time.monotonic() - window_s
        recent = [metrics[name] for at, metrics in self.history.get(key, []) if at >= since and name in metrics]
        if not recent:
            return None
        total = sum(aggregate.total for aggregate in recent)
        return total if name == "InvocationsPerInstance" else total / sum(aggregate.count for aggregate in recent)

    def _may(self, key: VariantKey, direction: str, cooldown_s: float) -> bool:
        """Return whether the last scaling in any direction is long enough ago."""
        last = max(self._scaled_at.get((key, "in"), 0.0), self._scaled_at.get((key, "out"), 0.0))
        if last and time.monotonic() - last < cooldown_s:
            return False
        self._scaled_at[key, direction] = time.monotonic()
        return True
