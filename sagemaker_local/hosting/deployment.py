"""What an UpdateEndpoint request asks for: its deployment policy, checked as SageMaker checks it, and what it keeps as it is.

The limits are the API reference's: a canary is at most 50 % of the capacity, a linear step 10 to 50 %, a rolling batch 5 to 50 %.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import ValidationError

if TYPE_CHECKING:
    from sagemaker_local.hosting.instances.fleet import Fleet

CapacitySize = dict[str, Any]
"""CapacitySize: ``{"Type": "INSTANCE_COUNT" | "CAPACITY_PERCENT", "Value": n}``."""

DEFAULT_MAX_EXECUTION_S = 28_800  # MaximumExecutionTimeoutInSeconds' upper bound


@dataclass(frozen=True)
class Deployment:
    """How one update is made."""

    rolling_batch: CapacitySize | None = None
    rollback_batch: CapacitySize | None = None
    shifts: tuple[float, ...] = (1.0,)
    """Blue/green: the new fleet's share of the traffic after each step."""
    bake_s: float = 0.0
    termination_wait_s: float = 0.0
    max_execution_s: float = DEFAULT_MAX_EXECUTION_S
    alarms: tuple[str, ...] = ()

    @classmethod
    def of(cls, config: dict[str, Any], instances: int) -> Deployment:
        """Return what a DeploymentConfig asks for, for an endpoint of so many instances a variant.

        Raises:
            ValidationError: it breaks a limit, or has both policies.
        """
        blue_green, rolling = config.get("BlueGreenUpdatePolicy"), config.get("RollingUpdatePolicy")
        if blue_green and rolling:
            raise ValidationError("Only one of BlueGreenUpdatePolicy and RollingUpdatePolicy can be specified.")
        alarms = tuple(alarm["AlarmName"] for alarm in (config.get("AutoRollbackConfiguration") or {}).get("Alarms") or [])
        if rolling:
            size = rolling["MaximumBatchSize"]
            _check("MaximumBatchSize", size, instances, 5, 50)
            return cls(
                rolling_batch=size,
                rollback_batch=rolling.get("RollbackMaximumBatchSize"),
                bake_s=rolling["WaitIntervalInSeconds"],
                max_execution_s=rolling.get("MaximumExecutionTimeoutInSeconds", DEFAULT_MAX_EXECUTION_S),
                alarms=alarms,
            )
        if not blue_green:
            return cls(alarms=alarms)
        routing = blue_green["TrafficRoutingConfiguration"]
        return cls(
            shifts=_shifts(routing, instances),
            bake_s=routing["WaitIntervalInSeconds"],
            termination_wait_s=blue_green.get("TerminationWaitInSeconds", 0),
            max_execution_s=blue_green.get("MaximumExecutionTimeoutInSeconds", DEFAULT_MAX_EXECUTION_S),
            alarms=alarms,
        )


def count_of(size: CapacitySize | None, instances: int) -> int:
    """Return how many of so many instances a CapacitySize is; at least one, all of them when there is no size.

    >>> count_of({"Type": "CAPACITY_PERCENT", "Value": 50}, 5)
    2
    """
    if size is None:
        return max(1, instances)
    if size["Type"] == "INSTANCE_COUNT":
        return min(instances, int(size["Value"]))
    return max(1, math.floor(instances * int(size["Value"]) / 100))


def keeps(request: dict[str, Any], kind: str) -> bool:
    """Return whether an UpdateEndpoint request keeps a VariantPropertyType as it is now."""
    excluded = {entry["VariantPropertyType"] for entry in request.get("ExcludeRetainedVariantProperties") or []}
    return bool(request.get("RetainAllVariantProperties")) and kind not in excluded


def retain(old: Fleet, new: Fleet, request: dict[str, Any]) -> None:
    """RetainAllVariantProperties: weights, instance counts and data capture stay as they are now, but for what is excluded."""
    for name, group in new.variants.items():
        before = old.variants.get(name)
        if before is None:
            continue
        if keeps(request, "DesiredInstanceCount"):
            group.desired = before.desired
        if keeps(request, "DesiredWeight"):
            group.weight = before.weight
    if keeps(request, "DataCaptureConfig"):
        new.config = {**new.config, "DataCaptureConfig": old.config.get("DataCaptureConfig")}


def _shifts(routing: dict[str, Any], instances: int) -> tuple[float, ...]:
    kind = routing["Type"]
    if kind == "ALL_AT_ONCE":
        return (1.0,)
    member = "CanarySize" if kind == "CANARY" else "LinearStepSize"
    size = routing.get(member)
    if size is None:
        raise ValidationError(f"{member} is required for traffic routing type {kind}.")
    _check(member, size, instances, 0 if kind == "CANARY" else 10, 50)
    step = size["Value"] / 100 if size["Type"] == "CAPACITY_PERCENT" else size["Value"] / instances
    if kind == "CANARY":
        return (step, 1.0)
    steps = math.ceil(1 / step - 1e-9)
    return tuple(min(1.0, step * (index + 1)) for index in range(steps))


def _check(member: str, size: CapacitySize, instances: int, least: float, most: float) -> None:
    percent = size["Value"] if size["Type"] == "CAPACITY_PERCENT" else 100 * size["Value"] / max(1, instances)
    if not least <= percent <= most:
        raise ValidationError(
            f"{member} must be between {least:g}% and {most:g}% of the variant's total instance count ({instances}); "
            f"{size['Value']} ({size['Type']}) is {percent:g}%."
        )
