"""How a new version replaces the one in production, one class a strategy, each knowing SageMaker's words for it.

Source of the limits: the API reference of `DeploymentConfig`, `TrafficRoutingConfig` and `RollingUpdatePolicy`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from config.base import Strict

_WaitSeconds = Annotated[int, Field(ge=0, le=3600)]


def _percent(value: int) -> dict[str, Any]:
    return {"Type": "CAPACITY_PERCENT", "Value": value}


def _blue_green(routing: dict[str, Any]) -> dict[str, Any]:
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing}}


class AllAtOnce(Strict):
    """A whole second fleet, then all traffic at once. Needs double the instances while it runs."""

    strategy: Literal["all_at_once"]
    bake_s: _WaitSeconds = 0
    """How long alarms are watched after the traffic moved. Seconds."""

    def deployment_config(self) -> dict[str, Any]:
        """The boto3 `DeploymentConfig` without its alarms."""
        return _blue_green({"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": self.bake_s})


class Canary(Strict):
    """A whole second fleet; first a share of the traffic, then the rest. Needs double the instances while it runs."""

    strategy: Literal["canary"]
    canary_percent: Annotated[int, Field(ge=1, le=50)] = 10
    """The share that moves first. Per cent of capacity."""
    bake_s: _WaitSeconds = 300
    """How long alarms are watched before the rest moves. Seconds."""

    def deployment_config(self) -> dict[str, Any]:
        """The boto3 `DeploymentConfig` without its alarms."""
        size = _percent(self.canary_percent)
        return _blue_green({"Type": "CANARY", "WaitIntervalInSeconds": self.bake_s, "CanarySize": size})


class Linear(Strict):
    """A whole second fleet; the traffic moves in equal steps. Needs double the instances while it runs."""

    strategy: Literal["linear"]
    step_percent: Annotated[int, Field(ge=10, le=50)] = 25
    """The share that moves in each step. Per cent of capacity."""
    bake_s: _WaitSeconds = 300
    """How long alarms are watched after each step. Seconds."""

    def deployment_config(self) -> dict[str, Any]:
        """The boto3 `DeploymentConfig` without its alarms."""
        size = _percent(self.step_percent)
        return _blue_green({"Type": "LINEAR", "WaitIntervalInSeconds": self.bake_s, "LinearStepSize": size})


class Rolling(Strict):
    """A batch of instances at a time. Needs only one batch more than it has."""

    strategy: Literal["rolling"]
    batch_percent: Annotated[int, Field(ge=5, le=50)] = 50
    """The size of a batch. Per cent of the instances."""
    bake_s: _WaitSeconds = 300
    """How long alarms are watched after each batch. Seconds."""

    def deployment_config(self) -> dict[str, Any]:
        """The boto3 `DeploymentConfig` without its alarms."""
        return {
            "RollingUpdatePolicy": {
                "MaximumBatchSize": _percent(self.batch_percent),
                "WaitIntervalInSeconds": self.bake_s,
                "RollbackMaximumBatchSize": _percent(100),
            }
        }


Update = Annotated[AllAtOnce | Canary | Linear | Rolling, Field(discriminator="strategy")]
"""Every update strategy, told apart by `strategy`."""
