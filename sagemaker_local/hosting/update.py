"""One update of an endpoint: instances replaced, traffic shifted, alarms watched, everything taken back when one goes off.

"Deployment guardrails for updating models in production" in the developer guide describes the steps.
"""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from sagemaker_local.errors import InstanceFailed, RollbackFailed, UpdateFailed
from sagemaker_local.hosting.deployment import count_of
from sagemaker_local.hosting.traffic import TrafficSplit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sagemaker_local.context import Context
    from sagemaker_local.hosting.deployment import Deployment
    from sagemaker_local.hosting.instances.fleet import Fleet, VariantFleet
    from sagemaker_local.hosting.instances.health import HealthClient
    from sagemaker_local.hosting.instances.instance import Instance

T = TypeVar("T")

_ALARM_POLL_S = 0.1


@dataclass(eq=False)
class EndpointUpdate:
    """The old fleet, the new one, and the way from one to the other. Runs on the server's event loop."""

    context: Context
    region: str
    health: HealthClient
    old: Fleet
    new: Fleet
    deployment: Deployment
    shift: Callable[[TrafficSplit], None]
    """Puts a traffic in place at once."""
    on_stage: Callable[[str], None]
    """Told ``Creating``, ``ActivatingTraffic``, ``Baking`` (VariantStatus) and ``RollingBack``."""
    _deadline: float = field(init=False)

    def __post_init__(self) -> None:
        self._deadline = time.monotonic() + self.deployment.max_execution_s

    async def run(self) -> None:
        """Make the update. Afterwards only the new fleet is there.

        Raises:
            UpdateFailed: it did not go well and was taken back: only the old fleet is there.
            RollbackFailed: nor could it be taken back.
        """
        if self.deployment.rolling_batch is None:
            await self._blue_green()
        else:
            await self._rolling()

    async def _blue_green(self) -> None:
        try:
            self.on_stage("Creating")
            self._check_alarms()
            await self._in_time(self.new.start(self.health))
            for share in self.deployment.shifts:
                self.on_stage("ActivatingTraffic")
                self.shift(TrafficSplit.split(self.new, self.old, share) if share < 1 else TrafficSplit.to(self.new))
                await self._bake()
        except (InstanceFailed, UpdateFailed) as error:
            self.on_stage("RollingBack")
            self.shift(TrafficSplit.to(self.old))
            await self.new.stop()
            raise UpdateFailed(str(error)) from error
        await asyncio.sleep(self.deployment.termination_wait_s)
        await self.old.stop()

    async def _rolling(self) -> None:
        """Batch by batch: new instances, traffic to them in place of as many old ones, baking, the old ones gone."""
        pairs = [(group, self.old.variants.get(name)) for name, group in self.new.variants.items()]
        sizes = {name: len(group.instances) for name, group in self.old.variants.items()}
        waiting: list[tuple[VariantFleet, list[Instance]]] = []
        try:
            self._check_alarms()
            while any(len(group.instances) < group.desired for group, _ in pairs):
                self.on_stage("Creating")
                waiting = []
                for group, old_group in pairs:
                    await self._launch_batch(group)
                    if old_group is not None:
                        waiting.append((old_group, _surplus(group, old_group, sizes[old_group.name])))
                self.on_stage("ActivatingTraffic")
                for old_group, leaving in waiting:
                    old_group.instances = [instance for instance in old_group.instances if instance not in leaving]
                self._shift_by_instances()
                await self._bake()
                await asyncio.gather(*(old_group.retire(leaving) for old_group, leaving in waiting))
                waiting = []
        except (InstanceFailed, UpdateFailed) as error:
            await self._roll_back(waiting, sizes, error)
            raise UpdateFailed(str(error)) from error
        self.shift(TrafficSplit.to(self.new))
        await self.old.stop()

    async def _launch_batch(self, group: VariantFleet) -> None:
        count = min(count_of(self.deployment.rolling_batch, group.desired), group.desired - len(group.instances))
        if count > 0:
            group.instances = [*group.instances, *await self._in_time(group.launch(self.health, count))]

    def _shift_by_instances(self) -> None:
        new, old = len(self.new.instances()), len(self.old.instances())
        self.shift(TrafficSplit.split(self.new, self.old, new / (new + old)) if old else TrafficSplit.to(self.new))

    async def _roll_back(
        self, waiting: list[tuple[VariantFleet, list[Instance]]], sizes: dict[str, int], cause: Exception
    ) -> None:
        """Put old instances back in place of the new ones, a batch at a time."""
        self.on_stage("RollingBack")
        for group, leaving in waiting:
            group.instances = [*group.instances, *(instance for instance in leaving if instance.exit_code() is None)]
        try:
            for name, group in self.old.variants.items():
                batch = count_of(self.deployment.rollback_batch, sizes[name])
                while len(group.instances) < sizes[name]:
                    count = min(batch, sizes[name] - len(group.instances))
                    group.instances = [*group.instances, *await group.launch(self.health, count)]
                    self._shift_by_instances()
        except InstanceFailed as error:
            raise RollbackFailed(f"{cause} The rollback failed too: {error}") from error
        self.shift(TrafficSplit.to(self.old))
        await self.new.stop()

    async def _bake(self) -> None:
        """Wait, with an eye on the alarms.

        Raises:
            UpdateFailed: an alarm is in ALARM, or the update's time is up.
        """
        self.on_stage("Baking")
        until = time.monotonic() + self.deployment.bake_s
        while True:
            self._check_alarms()
            left = until - time.monotonic()
            if left <= 0:
                return
            if time.monotonic() > self._deadline:
                raise UpdateFailed(_TOO_LONG)
            await asyncio.sleep(min(left, _ALARM_POLL_S))

    def _check_alarms(self) -> None:
        if not self.deployment.alarms:
            return
        alarms = self.context.moto.backend("cloudwatch", self.region).alarms
        tripped = [name for name in self.deployment.alarms if name in alarms and alarms[name].state_value == "ALARM"]
        if tripped:
            raise UpdateFailed(
                f"One or more configured alarms are in the ALARM state: [{', '.join(tripped)}]. The endpoint was rolled back."
            )

    async def _in_time(self, work: Awaitable[T]) -> T:
        """Wait for work, at most until the update's time is up."""
        try:
            return await asyncio.wait_for(work, max(0.0, self._deadline - time.monotonic()))
        except TimeoutError:
            raise UpdateFailed(_TOO_LONG) from None


_TOO_LONG = "The deployment took longer than MaximumExecutionTimeoutInSeconds. The endpoint was rolled back."


def _surplus(group: VariantFleet, old_group: VariantFleet, old_size: int) -> list[Instance]:
    """Return the old instances that are no longer needed, now that part of the new ones serve."""
    done = len(group.instances) / group.desired if group.desired else 1.0
    keep = math.ceil(old_size * (1.0 - done) - 1e-9)
    return old_group.instances[: max(0, len(old_group.instances) - keep)]
