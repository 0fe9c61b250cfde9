"""The instances behind an endpoint config: one group for each production variant."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import InstanceFailed
from sagemaker_local.hosting.instances.containers import plan
from sagemaker_local.hosting.instances.instance import Instance
from sagemaker_local.hosting.instances.routing import strategy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sagemaker_local.context import Context
    from sagemaker_local.hosting.instances.containers import ContainerPlan
    from sagemaker_local.hosting.instances.health import HealthClient

DRAIN_TIMEOUT_S = 120.0


@dataclass(eq=False)
class VariantFleet:
    """The instances of one production variant."""

    context: Context
    region: str
    endpoint: str
    variant: dict[str, Any]
    plan: ContainerPlan
    config: str
    """The name of the endpoint config."""
    desired: int
    weight: float
    instances: list[Instance] = field(default_factory=list)
    """Those that serve."""
    _route: Callable[[Sequence[Instance], bytes], Instance] = field(init=False)

    def __post_init__(self) -> None:
        self._route = strategy((self.variant.get("RoutingConfig") or {}).get("RoutingStrategy", "RANDOM"))

    @property
    def name(self) -> str:
        """The production variant's name."""
        return str(self.variant["VariantName"])

    async def launch(self, health: HealthClient, count: int) -> list[Instance]:
        """Start so many instances and wait until all are healthy. They do not serve yet.

        Raises:
            InstanceFailed: one is not; all of them have been ended.
        """
        instances = [
            Instance(self.context, self.region, self.endpoint, self.variant, self.plan, self.config) for _ in range(count)
        ]
        starts = [asyncio.ensure_future(instance.start(health)) for instance in instances]
        try:
            await asyncio.gather(*starts)
        except BaseException:
            for start in starts:
                start.cancel()
            await asyncio.gather(*starts, return_exceptions=True)
            await asyncio.gather(*(instance.stop() for instance in instances))
            raise
        return instances

    async def match_desired(self, health: HealthClient) -> None:
        """Start or retire instances until as many serve as are wanted; the least busy go first.

        Raises:
            InstanceFailed: a new one is not healthy.
        """
        missing = self.desired - len(self.instances)
        if missing > 0:
            self.instances = [*self.instances, *await self.launch(health, missing)]
        elif missing < 0:
            await self.retire(sorted(self.instances, key=lambda instance: instance.in_flight)[:-missing])

    def choose(self, body: bytes) -> Instance | None:
        """Return the instance for the next request, by the variant's routing strategy; None when none serves."""
        if len(self.instances) < 2:
            return self.instances[0] if self.instances else None
        return self._route(self.instances, body)

    async def retire(self, instances: list[Instance], drain_s: float = DRAIN_TIMEOUT_S) -> None:
        """Take instances out of service: no new requests, those in flight finish, then the processes end."""
        self.instances = [instance for instance in self.instances if instance not in instances]

        async def retire_one(instance: Instance) -> None:
            await instance.drained(drain_s)
            await instance.stop()

        await asyncio.gather(*(retire_one(instance) for instance in instances))


@dataclass(eq=False)
class Fleet:
    """All variants of one endpoint config."""

    config: dict[str, Any]
    """DescribeEndpointConfig's answer when the fleet was made."""
    models: dict[str, Any]
    """DescribeModel's answers by model name, at the same time: what the fleet is does not change with them."""
    variants: dict[str, VariantFleet]

    @property
    def config_name(self) -> str:
        """The endpoint config's name."""
        return str(self.config["EndpointConfigName"])

    @classmethod
    def of(cls, context: Context, region: str, endpoint: str, config: dict[str, Any], models: dict[str, Any]) -> Fleet:
        """Return the fleet that an endpoint config describes, nothing started. ``models`` are its models by name.

        Raises:
            AwsError: a model's package is missing, or a variant is of a kind that is not emulated.
        """
        variants = {}
        for variant in config["ProductionVariants"]:
            variants[variant["VariantName"]] = VariantFleet(
                context,
                region,
                endpoint,
                variant,
                plan(context, region, models[variant["ModelName"]]),
                config["EndpointConfigName"],
                desired=variant.get("InitialInstanceCount", 1),
                weight=variant.get("InitialVariantWeight", 1.0),
            )
        return cls(config, models, variants)

    def saved(self) -> dict[str, Any]:
        """Return what ``of`` and ``restore`` need to make this fleet again."""
        sizes = {name: {"desired": group.desired, "weight": group.weight} for name, group in self.variants.items()}
        return {"config": self.config, "models": self.models, "sizes": sizes}

    def restore(self, sizes: dict[str, Any]) -> None:
        """Take over instance counts and weights that ``saved`` gave."""
        for name, size in sizes.items():
            self.variants[name].desired, self.variants[name].weight = size["desired"], size["weight"]

    async def start(self, health: HealthClient) -> None:
        """Start every instance; they are all healthy and in service afterwards.

        Raises:
            InstanceFailed: one is not; all have been ended.
        """
        groups = list(self.variants.values())
        results = await asyncio.gather(*(group.launch(health, group.desired) for group in groups), return_exceptions=True)
        failures = [result for result in results if isinstance(result, BaseException)]
        for group, result in zip(groups, results, strict=True):
            if not isinstance(result, BaseException):
                group.instances = result
        if failures:
            await self.stop(drain_s=0.0)
            known = [failure for failure in failures if isinstance(failure, InstanceFailed)]
            raise (known or failures)[0]

    def choose(self, target_variant: str | None, body: bytes) -> Instance | None:
        """Return the instance for the next request: the named variant, else one drawn by weight.

        Raises:
            KeyError: there is no such variant.
        """
        if target_variant:
            return self.variants[target_variant].choose(body)
        ready = [group for group in self.variants.values() if group.instances]
        if len(ready) == 1 and len(self.variants) == 1:
            return ready[0].choose(body)
        weighted = [group for group in ready if group.weight > 0]
        if not weighted:
            return None
        return random.choices(weighted, [group.weight for group in weighted])[0].choose(body)  # noqa: S311

    def instances(self) -> list[Instance]:
        """Return every instance in service."""
        return [instance for group in self.variants.values() for instance in group.instances]

    async def stop(self, drain_s: float = DRAIN_TIMEOUT_S) -> None:
        """Drain and end every instance."""
        await asyncio.gather(*(group.retire(list(group.instances), drain_s) for group in self.variants.values()))
