"""Endpoints: their life from Creating to deleted, and the fleet that serves each."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import AwsError, InstanceFailed, RollbackFailed, UpdateFailed, ValidationError
from sagemaker_local.hosting.capture import summary
from sagemaker_local.hosting.deployment import Deployment, keeps, retain
from sagemaker_local.hosting.description import changed, scaling, stage, variant_summary
from sagemaker_local.hosting.instances.download import ModelDataCache
from sagemaker_local.hosting.instances.fleet import Fleet, VariantFleet
from sagemaker_local.hosting.traffic import TrafficSplit
from sagemaker_local.hosting.update import EndpointUpdate
from sagemaker_local.state.records import Record, Records
from sagemaker_local.state.tags import Tags

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from sagemaker_local.context import Context
    from sagemaker_local.hosting.instances.health import HealthClient
    from sagemaker_local.hosting.instances.instance import Instance

_LOGGER = logging.getLogger(__name__)
_EVENT = "SageMaker Endpoint State Change"
_DEPLOYMENT_EVENT = "SageMaker Endpoint Deployment State Change"
_WATCH_INTERVAL_S = 0.25
_RESTART_DELAY_S = 1.0
_FLEET_KIND = "endpoint-fleet"
_INTERRUPTED = "The operation was interrupted: sagemaker_local was stopped meanwhile. What served before serves again."
_UPDATABLE = frozenset({"InService", "UpdateRollbackFailed"})
_DELETABLE = frozenset({"InService", "Failed", "OutOfService", "UpdateRollbackFailed"})


@dataclass(eq=False)
class Endpoint:
    """One endpoint: its record, and its fleet when it has one. Lives on the server's event loop."""

    region: str
    name: str
    fleet: Fleet | None = None
    """What the endpoint is, apart from an update under way."""
    traffic: TrafficSplit | None = None
    """Where requests go; None while nothing serves."""
    pending: Fleet | None = None
    """The fleet of an update that is under way."""
    stage: Record | None = None
    """The VariantStatus of the fleet of an update."""
    scaling: dict[str, Record] = field(default_factory=dict)
    """The VariantStatus of variants that are getting another instance count."""
    remnants: list[Fleet] = field(default_factory=list)
    """What updates left that could not be taken back: it serves beside the fleet until the next update, or the end."""
    pending_since: float = 0.0
    work: asyncio.Task[None] | None = None
    watch: asyncio.Task[None] | None = None

    def groups(self) -> list[VariantFleet]:
        """Return every group of instances that may get requests."""
        return [group for fleet in (self.traffic.fleets if self.traffic else []) for group in fleet.variants.values()]


@dataclass
class Endpoints:
    """All endpoints of a server. Public methods without ``async`` may be called from any thread."""

    context: Context
    live: dict[tuple[str, str], Endpoint] = field(default_factory=dict)
    _health: HealthClient | None = None

    @property
    def records(self) -> Records:
        """DescribeEndpoint's answers, without what the fleet knows."""
        return Records(self.context.store, "endpoint")

    @property
    def health(self) -> HealthClient:
        """The HTTP client for health checks."""
        if self._health is None:
            # deferred: aiohttp costs 0.2 s of a start of 0.5 s, and only who has an endpoint needs it
            from sagemaker_local.hosting.instances.health import HealthClient

            self._health = HealthClient()
        return self._health

    def create(self, region: str, record: Record, tags: list[dict[str, str]], config: Record, models: Record) -> None:
        """Start a new endpoint; returns while it is Creating.

        Raises:
            ValidationError: the name is taken.
        """
        name = record["EndpointName"]
        new = {**record, "EndpointStatus": "Creating", "LastModifiedTime": record["CreationTime"]}
        if not self.records.add(region, name, new):
            raise ValidationError(f'Cannot create already existing endpoint "{record["EndpointArn"]}".')
        Tags(self.context.store).add(record["EndpointArn"], tags)
        self._save(region, name, {"config": config, "models": models, "sizes": {}})
        self._announce(region, name)
        self._on_loop(self._begin(region, name, self._create(region, name, config, models)))

    def update(self, region: str, name: str, config: Record, models: Record, request: Record) -> None:
        """Replace what an endpoint serves, as UpdateEndpoint's request says; returns while it is Updating.

        Raises:
            ValidationError: it is not in a status that can be updated, or the deployment config is wrong.
        """
        self._must_be(self.get(region, name), _UPDATABLE, "update")
        fleet = self.live[region, name].fleet
        for variant in config["ProductionVariants"]:
            before = fleet.variants.get(variant["VariantName"]) if fleet is not None else None
            kept = before.desired if before is not None and keeps(request, "DesiredInstanceCount") else None
            Deployment.of(request.get("DeploymentConfig") or {}, kept or variant["InitialInstanceCount"])
        self.change(region, name, _UPDATABLE, "update", EndpointStatus="Updating", FailureReason=None)
        self._on_loop(self._begin(region, name, self._update(region, name, config, models, request)))

    def delete(self, region: str, name: str) -> None:
        """Delete an endpoint; returns while it is Deleting.

        Raises:
            ValidationError: there is none, or it is being created, updated or deleted.
        """
        self.change(region, name, _DELETABLE, "delete", EndpointStatus="Deleting")
        self._on_loop(self._begin(region, name, self._delete(region, name)))

    def resize(self, region: str, name: str, changes: dict[str, tuple[float | None, int | None]]) -> None:
        """Give variants another weight, another instance count, or both; returns while the endpoint is Updating.

        Raises:
            ValidationError: there is no such endpoint or variant, or it is busy.
        """
        self._must_be(self.get(region, name), _UPDATABLE, "update")
        for variant in changes:
            self.desired(region, name, variant)
        self.change(region, name, _UPDATABLE, "update", EndpointStatus="Updating", FailureReason=None)
        self._on_loop(self._begin(region, name, self._resize(region, name, changes)))

    def desired(self, region: str, name: str, variant: str) -> int:
        """Return the instance count that a variant is to have.

        Raises:
            ValidationError: there is no such endpoint or variant.
        """
        record = self.get(region, name)
        endpoint = self.live.get((region, name))
        group = endpoint.fleet.variants.get(variant) if endpoint is not None and endpoint.fleet is not None else None
        if group is None:
            raise ValidationError(f'Variant {variant} not found for endpoint "{record["EndpointArn"]}".')
        return group.desired

    def get(self, region: str, name: str) -> Record:
        """Return an endpoint's record.

        Raises:
            ValidationError: there is none.
        """
        return self._there(self.records.get(region, name), region, name)

    def _there(self, record: Record | None, region: str, name: str) -> Record:
        if record is None:
            arn = f"arn:aws:sagemaker:{region}:{self.context.account_id}:endpoint/{name}"
            raise ValidationError(f'Could not find endpoint "{arn}".')
        return record

    def describe(self, region: str, name: str) -> Record:
        """DescribeEndpoint's answer: the record, with what the fleet knows.

        Raises:
            ValidationError: there is no such endpoint.
        """
        record = self.get(region, name)
        endpoint = self.live.get((region, name))
        if endpoint is not None and endpoint.fleet is not None:
            groups, scaling = list(endpoint.fleet.variants.values()), endpoint.scaling
            if capture := summary(endpoint.fleet.config.get("DataCaptureConfig")):
                record["DataCaptureConfig"] = capture
            record["ProductionVariants"] = [variant_summary(group, scaling.get(group.name)) for group in groups]
        if endpoint is not None and (pending := endpoint.pending) is not None:
            record["PendingDeploymentSummary"] = {
                "EndpointConfigName": pending.config_name,
                "ProductionVariants": [variant_summary(group, endpoint.stage) for group in list(pending.variants.values())],
                "StartTime": endpoint.pending_since,
            }
        return record

    def change(self, region: str, name: str, allowed: frozenset[str] | None = None, verb: str = "", **changes: Any) -> None:
        """Change an endpoint's record, and send its event when the status changed.

        Args:
            region: of the endpoint.
            name: the endpoint's.
            allowed: the statuses in which it may be changed so; None: all. Of several such changes at once one finds it so.
            verb: what is done to it, for the error.
            changes: members of the record; None removes one.

        Raises:
            ValidationError: there is no such endpoint, or it is in another status.
        """
        before = ""

        def after(found: Record | None) -> Record:
            nonlocal before
            record = self._must_be(self._there(found, region, name), allowed, verb)
            before = record["EndpointStatus"]
            changed = {**record, **changes, "LastModifiedTime": time.time()}
            return {key: value for key, value in changed.items() if value is not None}

        if self.records.change(region, name, after)["EndpointStatus"] != before:
            self._announce(region, name)

    def _must_be(self, record: Record, allowed: frozenset[str] | None, verb: str) -> Record:
        if allowed is not None and record["EndpointStatus"] not in allowed:
            raise ValidationError(f'Cannot {verb} in-progress endpoint "{record["EndpointArn"]}".')
        return record

    def _announce(self, region: str, name: str) -> None:
        """Send the endpoint's state."""
        record = self.describe(region, name)
        record.pop("PendingDeploymentSummary", None)
        changed(self.context, region, _EVENT, record["EndpointArn"], record)

    def _announce_deployment(self, region: str, name: str) -> None:
        """Send how far an update, or a change of instance counts, has come."""
        record = self.describe(region, name)
        changed(self.context, region, _DEPLOYMENT_EVENT, record["EndpointArn"], record)

    def _on_loop(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self.context.loop)

    async def _begin(self, region: str, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Make a piece of work the endpoint's, on the event loop."""
        endpoint = self.live.setdefault((region, name), Endpoint(region, name))
        endpoint.work = asyncio.create_task(self._guarded(endpoint, work))

    async def _guarded(self, endpoint: Endpoint, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:
            _LOGGER.exception("endpoint %s", endpoint.name)
            reason = "Unable to finish the operation: an internal error of sagemaker_local; its log has more."
            self.change(endpoint.region, endpoint.name, EndpointStatus="Failed", FailureReason=reason)

    async def _create(self, region: str, name: str, config: Record, models: Record) -> None:
        endpoint = self.live[region, name]
        try:
            fleet = Fleet.of(self.context, region, name, config, models)
            endpoint.pending = fleet
            await fleet.start(self.health)
        except (AwsError, InstanceFailed) as error:
            self.change(region, name, EndpointStatus="Failed", FailureReason=_reason(error))
            return
        finally:
            endpoint.pending = None
        self._serve(endpoint, fleet)
        self._save(region, name, fleet.saved())
        self.change(region, name, EndpointStatus="InService", EndpointConfigName=fleet.config_name)

    def _save(self, region: str, name: str, fleet: Record) -> None:
        """Keep what the endpoint serves, for a server that starts on this state directory later."""
        self.context.store.put(_FLEET_KIND, f"{region}/{name}", fleet)

    def resume(self) -> None:
        """Take up the endpoints that an earlier server left: their instances are started again."""
        for region, record in self.records.everywhere():
            name, status = record["EndpointName"], record["EndpointStatus"]
            saved = self.context.store.get(_FLEET_KIND, f"{region}/{name}")
            if status == "Deleting":
                self._on_loop(self._begin(region, name, self._delete(region, name)))
            elif status == "Creating":
                self._on_loop(self._begin(region, name, self._create(region, name, saved["config"], saved["models"])))
            elif status != "Failed":
                reason = None if status in ("InService", "SystemUpdating") else _INTERRUPTED
                self.change(region, name, EndpointStatus="SystemUpdating", FailureReason=reason)
                self._on_loop(self._begin(region, name, self._resume(region, name, saved)))

    async def _resume(self, region: str, name: str, saved: Record) -> None:
        endpoint = self.live[region, name]
        try:
            fleet = Fleet.of(self.context, region, name, saved["config"], saved["models"])
            fleet.restore(saved["sizes"])
            await fleet.start(self.health)
        except (AwsError, InstanceFailed) as error:
            self.change(region, name, EndpointStatus="Failed", FailureReason=_reason(error))
            return
        self._serve(endpoint, fleet)
        self.change(region, name, EndpointStatus="InService")

    def _serve(self, endpoint: Endpoint, fleet: Fleet) -> None:
        """Begin to serve with a first fleet."""
        endpoint.fleet, endpoint.traffic = fleet, TrafficSplit.to(fleet)
        endpoint.watch = asyncio.create_task(self._watch(endpoint))

    async def _update(self, region: str, name: str, config: Record, models: Record, request: Record) -> None:
        endpoint = self.live[region, name]
        old = endpoint.fleet
        assert old is not None  # noqa: S101 -- what can be updated serves
        try:
            fleet = Fleet.of(self.context, region, name, config, models)
            retain(old, fleet, request)
            await self._shift(endpoint, old, fleet, request.get("DeploymentConfig") or {})
        except (AwsError, InstanceFailed, UpdateFailed) as error:
            self.change(region, name, EndpointStatus="InService", FailureReason=_reason(error))
            return
        except RollbackFailed as error:
            endpoint.remnants.append(fleet)
            self.change(region, name, EndpointStatus="UpdateRollbackFailed", FailureReason=str(error))
            return
        else:  # at once, so that at no moment DescribeEndpoint shows the old fleet without instances and no new one
            endpoint.fleet, endpoint.pending = fleet, None
        finally:
            endpoint.pending = None
            await asyncio.to_thread(self.context.part(ModelDataCache).prune)
        await self._sweep(endpoint)
        self._save(region, name, fleet.saved())
        self.change(
            region,
            name,
            EndpointStatus="InService",
            EndpointConfigName=fleet.config_name,
            LastDeploymentConfig=request.get("DeploymentConfig") or None,
        )

    async def _shift(self, endpoint: Endpoint, old: Fleet, fleet: Fleet, deployment: Record) -> None:
        def shift(traffic: TrafficSplit) -> None:
            endpoint.traffic = traffic

        smallest = min(group.desired for group in fleet.variants.values())
        plan = Deployment.of(deployment, smallest)

        def on_stage(name: str) -> None:
            endpoint.stage = stage(name, fleet, plan)
            if name == "RollingBack":
                self.change(endpoint.region, endpoint.name, EndpointStatus="RollingBack")
            self._announce_deployment(endpoint.region, endpoint.name)

        endpoint.stage, endpoint.pending, endpoint.pending_since = None, fleet, time.time()
        await EndpointUpdate(self.context, endpoint.region, self.health, old, fleet, plan, shift, on_stage).run()

    async def _resize(self, region: str, name: str, changes: dict[str, tuple[float | None, int | None]]) -> None:
        endpoint = self.live[region, name]
        reason = None
        for variant, (weight, count) in changes.items():
            group = endpoint.fleet.variants[variant] if endpoint.fleet is not None else None
            if group is None:
                continue
            group.weight = group.weight if weight is None else weight
            before, group.desired = group.desired, group.desired if count is None else count
            if group.desired != before:
                endpoint.scaling[variant] = scaling(before, group.desired)
                self._announce_deployment(region, name)
            try:
                await group.match_desired(self.health)
            except InstanceFailed as error:
                group.desired, reason = before, str(error)
            endpoint.scaling.pop(variant, None)
        if endpoint.fleet is not None:
            self._save(region, name, endpoint.fleet.saved())
        self.change(region, name, EndpointStatus="InService", FailureReason=reason)

    async def _delete(self, region: str, name: str) -> None:
        endpoint = self.live[region, name]
        if endpoint.watch is not None:
            endpoint.watch.cancel()
        fleet, endpoint.fleet, endpoint.traffic = endpoint.fleet, None, None
        if fleet is not None:
            await fleet.stop(drain_s=0.0)
        await self._sweep(endpoint)
        await asyncio.to_thread(self.context.part(ModelDataCache).prune)
        record = self.get(region, name)
        del self.live[region, name]
        self.records.delete(region, name)
        self.context.store.delete(_FLEET_KIND, f"{region}/{name}")
        Tags(self.context.store).forget(record["EndpointArn"])

    async def _sweep(self, endpoint: Endpoint) -> None:
        """End what an update could not take back."""
        remnants, endpoint.remnants = endpoint.remnants, []
        await asyncio.gather(*(fleet.stop() for fleet in remnants))

    async def _watch(self, endpoint: Endpoint) -> None:
        """Replace instances whose process has ended, as SageMaker restarts a container that has died."""
        while True:
            await asyncio.sleep(_WATCH_INTERVAL_S)
            for group in endpoint.groups():
                for instance in [instance for instance in group.instances if instance.exit_code() is not None]:
                    group.instances.remove(instance)
                    _LOGGER.warning("endpoint %s: instance %s ended with %s", endpoint.name, instance.id, instance.exit_code())
                    asyncio.create_task(self._replace(endpoint, group, instance))  # noqa: RUF006 -- watched by its group

    async def _replace(self, endpoint: Endpoint, group: VariantFleet, gone: Instance) -> None:
        await gone.stop()
        while group in endpoint.groups():
            try:
                fresh = await group.launch(self.health, 1)
            except InstanceFailed as error:
                _LOGGER.warning("endpoint %s: no replacement for %s: %s", endpoint.name, gone.id, error)
                await asyncio.sleep(_RESTART_DELAY_S)
                continue
            if group in endpoint.groups():
                group.instances += fresh
            else:
                await group.retire(fresh, 0.0)
            return


def _reason(error: Exception) -> str:
    return error.message if isinstance(error, AwsError) else str(error)
