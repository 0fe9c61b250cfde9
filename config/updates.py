"""How a new version replaces the one in production, one class a strategy, each knowing SageMaker's words for it.

Source of the limits: the API reference of `DeploymentConfig`, `TrafficRoutingConfig` and `RollingUpdatePolicy`: a canary is at most 50 %
of the instances, a linear step 10 to 50 %, a rolling batch 5 to 50 %. Those are whole instances, so one instance cannot be divided.

Add a strategy: a class here, and its name in `Update`; docs/extending.md does it.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Annotated, Any, Literal

from pydantic import Field

from config.base import Strict
from config.errors import MisplacedValue

LONGEST_UPDATE_S = 28_800
"""The longest that SageMaker lets an update take: MaximumExecutionTimeoutInSeconds (API reference of `RollingUpdatePolicy` and
`BlueGreenUpdatePolicy`). Seconds."""

_WaitSeconds = Annotated[int, Field(ge=0, le=3600)]


def _percent(value: int) -> dict[str, Any]:
    return {"Type": "CAPACITY_PERCENT", "Value": value}


def _blue_green(routing: dict[str, Any]) -> dict[str, Any]:
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing}}


def _check_share(strategy: str, key: str, percent: int, instances: int) -> None:
    """Raise MisplacedValue when that share of so many instances is less than one of them, or more than half."""
    if instances < 2:
        raise MisplacedValue(
            ("update", "strategy"),
            f"{strategy!r} replaces a part of the instances first, at most half of them, and production has {instances}; use "
            "all_at_once, or raise production.instance_count (autoscaling.min_instances) to 2",
        )
    if math.floor(instances * percent / 100) < 1:
        raise MisplacedValue(
            ("update", key),
            f"{percent} % of {instances} instances is less than one instance; it must be {math.ceil(100 / instances)} or more",
        )


class _Strategy(Strict):
    """What every strategy can say of itself: all that the model file's checks, the plan and Promote ask of one."""

    @abstractmethod
    def deployment_config(self) -> dict[str, Any]:
        """Return the boto3 `DeploymentConfig` without its alarms."""

    @abstractmethod
    def return_config(self) -> dict[str, Any]:
        """Return the boto3 `DeploymentConfig` of a rollback: what production served before is served again."""

    @abstractmethod
    def check(self, instances: int) -> None:
        """Raise MisplacedValue when so many instances cannot be divided this way."""

    @abstractmethod
    def peak_instances(self, count: int) -> int:
        """Return how many instances there are at most while it replaces `count`."""

    @abstractmethod
    def longest_s(self, count: int, start_s: float) -> float:
        """Return how long it may take for `count` instances that each come up within `start_s`. Seconds."""

    @abstractmethod
    def waits_s(self) -> int:
        """Return the waits of an update, summed up. Seconds."""


class _BlueGreen(_Strategy):
    """What the strategies with a whole second fleet have in common."""

    def peak_instances(self, count: int) -> int:
        """Return how many instances there are at most while it replaces `count`: the old fleet and the new one."""
        return 2 * count

    def longest_s(self, count: int, start_s: float) -> float:
        """Return how long it may take for `count` instances that each come up within `start_s`. Seconds."""
        return start_s + self.waits_s()

    def return_config(self) -> dict[str, Any]:
        """Return the boto3 `DeploymentConfig` of a rollback: at once, since there is capacity for a second fleet."""
        return _blue_green({"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0})


class AllAtOnce(_BlueGreen):
    """A whole second fleet, then all traffic at once. Needs double the instances while it runs."""

    strategy: Literal["all_at_once"]
    """Which strategy this is."""
    bake_s: _WaitSeconds = 0
    """How long alarms are watched after the traffic moved. Seconds."""

    def deployment_config(self) -> dict[str, Any]:
        """Return the boto3 `DeploymentConfig` without its alarms."""
        return _blue_green({"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": self.bake_s})

    def check(self, instances: int) -> None:
        """Accept any number of instances."""

    def waits_s(self) -> int:
        """Return the waits of an update, summed up. Seconds."""
        return self.bake_s


class Canary(_BlueGreen):
    """A whole second fleet; first a share of the traffic, then the rest. Needs double the instances while it runs."""

    strategy: Literal["canary"]
    """Which strategy this is."""
    canary_percent: Annotated[int, Field(ge=1, le=50)] = 10
    """The share that moves first. Per cent of the instances: one at least."""
    bake_s: _WaitSeconds = 300
    """How long alarms are watched before the rest moves. Seconds."""

    def deployment_config(self) -> dict[str, Any]:
        """Return the boto3 `DeploymentConfig` without its alarms."""
        size = _percent(self.canary_percent)
        return _blue_green({"Type": "CANARY", "WaitIntervalInSeconds": self.bake_s, "CanarySize": size})

    def check(self, instances: int) -> None:
        """Raise MisplacedValue when so many instances cannot be divided this way."""
        _check_share(self.strategy, "canary_percent", self.canary_percent, instances)

    def waits_s(self) -> int:
        """Return the waits of an update, summed up. Seconds."""
        return 2 * self.bake_s


class Linear(_BlueGreen):
    """A whole second fleet; the traffic moves in equal steps. Needs double the instances while it runs."""

    strategy: Literal["linear"]
    """Which strategy this is."""
    step_percent: Annotated[int, Field(ge=10, le=50)] = 25
    """The share that moves in each step. Per cent of the instances: one at least."""
    bake_s: _WaitSeconds = 300
    """How long alarms are watched after each step. Seconds."""

    def deployment_config(self) -> dict[str, Any]:
        """Return the boto3 `DeploymentConfig` without its alarms."""
        size = _percent(self.step_percent)
        return _blue_green({"Type": "LINEAR", "WaitIntervalInSeconds": self.bake_s, "LinearStepSize": size})

    def check(self, instances: int) -> None:
        """Raise MisplacedValue when so many instances cannot be divided this way."""
        _check_share(self.strategy, "step_percent", self.step_percent, instances)

    def waits_s(self) -> int:
        """Return the waits of an update, summed up. Seconds."""
        return math.ceil(100 / self.step_percent) * self.bake_s


class Rolling(_Strategy):
    """A batch of instances at a time, on the way back, too: never more than one batch beyond what it has. At 100 %, its default, SageMaker
    would use "a blue/green rollback strategy" (API reference of `CapacitySize`): double the instances, asked for at the worst moment."""

    strategy: Literal["rolling"]
    """Which strategy this is."""
    batch_percent: Annotated[int, Field(ge=5, le=50)] = 50
    """The size of a batch. Per cent of the instances: one at least."""
    bake_s: _WaitSeconds = 300
    """How long alarms are watched after each batch. Seconds."""

    def deployment_config(self) -> dict[str, Any]:
        """Return the boto3 `DeploymentConfig` without its alarms."""
        return self._policy(self.bake_s)

    def return_config(self) -> dict[str, Any]:
        """Return the boto3 `DeploymentConfig` of a rollback: in batches, since there may be no capacity for more."""
        return self._policy(0)

    def _policy(self, wait_s: int) -> dict[str, Any]:
        size = _percent(self.batch_percent)
        return {
            "RollingUpdatePolicy": {
                "MaximumBatchSize": size,
                "WaitIntervalInSeconds": wait_s,
                "RollbackMaximumBatchSize": size,
            }
        }

    def batch(self, count: int) -> int:
        """Return how many of `count` instances are replaced at a time."""
        return max(1, count * self.batch_percent // 100)

    def peak_instances(self, count: int) -> int:
        """Return how many instances there are at most while it replaces `count`: the old fleet and one batch."""
        return count + self.batch(count)

    def longest_s(self, count: int, start_s: float) -> float:
        """Return how long it may take for `count` instances that each come up within `start_s`. Seconds."""
        return math.ceil(count / self.batch(count)) * (start_s + self.bake_s)

    def check(self, instances: int) -> None:
        """Raise MisplacedValue when so many instances cannot be divided this way."""
        _check_share(self.strategy, "batch_percent", self.batch_percent, instances)

    def waits_s(self) -> int:
        """Return the waits of an update, summed up. Seconds."""
        return math.ceil(100 / self.batch_percent) * self.bake_s


Update = Annotated[AllAtOnce | Canary | Linear | Rolling, Field(discriminator="strategy")]
"""Every update strategy, told apart by `strategy`."""
