"""The section `production` of a model file: where approved versions go, how one replaces another, and what takes it back."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from config.base import Name, Strict
from config.errors import MisplacedValue
from config.routing import LeastOutstanding, Routing
from config.updates import LONGEST_UPDATE_S, AllAtOnce, Update

_ALARM_LIMIT = 10  # AutoRollbackConfig.Alarms (API reference)


class Guards(Strict):
    """The alarms that this project makes for production. One that goes off while an update runs takes the update back.

    Errors and latency are those of the new instances alone: an old version that is in trouble can be replaced.
    """

    errors_percent: Annotated[float, Field(gt=0, le=100)] | None = 5.0
    """At most so many of the requests may end with a 5XX. Per cent; None: no alarm."""
    model_latency_p99_ms: Annotated[float, Field(gt=0)] | None = None
    """SageMaker's ModelLatency may be so long for all but 1 % of the requests. Milliseconds; None: no alarm."""
    no_instance: bool = True
    """Whether an endpoint none of whose instances sends metrics any more is an alarm."""
    period_s: int = 60
    """Over how long errors and latency are taken. Seconds: 10, 30, or a multiple of 60. AWS's endpoint metrics come once a minute."""
    periods: int = Field(default=1, ge=1, le=100)
    """In how many periods in a row it must be bad."""

    @model_validator(mode="after")
    def _period_is_cloudwatchs(self) -> Self:
        if self.period_s not in {10, 30} and (self.period_s < 60 or self.period_s % 60):
            raise MisplacedValue(("period_s",), f"CloudWatch has no period of {self.period_s} s; use 10, 30 or a multiple of 60")
        return self

    @property
    def count(self) -> int:
        """How many alarms that makes."""
        return (self.errors_percent is not None) + (self.model_latency_p99_ms is not None) + self.no_instance


class Autoscaling(Strict):
    """As many instances as the traffic needs, within bounds: a target of Application Auto Scaling."""

    min_instances: int = Field(ge=1)
    """Never fewer."""
    max_instances: int = Field(ge=1)
    """Never more."""
    concurrent_requests_per_instance: float = Field(gt=0)
    """How many requests an instance is to have in flight: above it instances are added, below it taken away."""
    scale_out_cooldown_s: int = Field(default=60, ge=0, le=3600)
    """How long after adding instances more may be added. Seconds."""
    scale_in_cooldown_s: int = Field(default=600, ge=0, le=3600)
    """How long after a change instances may be taken away. Seconds."""

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> Self:
        if self.max_instances < self.min_instances:
            raise MisplacedValue(("max_instances",), f"{self.max_instances} is less than min_instances, {self.min_instances}")
        return self


class DataCapture(Strict):
    """Requests and answers kept in the bucket, under `capture/ENDPOINT/`. They may hold what people wrote: think before you turn it on."""

    percent: int = Field(ge=1, le=100)
    """Which share of the requests. Per cent."""
    content: Literal["input", "output", "both"] = "both"
    """What of them."""


class LeasePolicy(Strict):
    """One promotion at a time may change an endpoint; what the others do."""

    wait_s: int = Field(default=3600, ge=0, le=3 * 3600)
    """How long a promotion waits for another one to end before it gives up. Seconds; 0: it gives up at once."""
    expires_s: int = Field(default=120, ge=5, le=3600)
    """How long after its last sign of life a promotion that died still keeps others out. Seconds."""


class Production(Strict):
    """Where approved versions go."""

    endpoint: Name
    """The endpoint's name."""
    instance_count: int = Field(default=1, ge=1)
    """How many instances serve it; with autoscaling: how many it begins with."""
    update: Update = AllAtOnce(strategy="all_at_once")
    """How a new version replaces the old one."""
    guards: Guards = Guards()
    """The alarms that this project makes."""
    alarms: list[str] = []
    """More CloudWatch alarms, of your own, that take an update back when they go off while it runs."""
    watch_s: int = Field(default=0, ge=0, le=3600)
    """How long after an update and its prompt checks the alarms are watched before the version counts as promoted. Seconds."""
    autoscaling: Autoscaling | None = None
    """How the number of instances follows the traffic; None: it does not."""
    routing: Routing = LeastOutstanding(strategy="least_outstanding")
    """Which instance answers a request."""
    data_capture: DataCapture | None = None
    """Which requests are kept; None: none."""
    evaluation_max_age_days: Annotated[float, Field(gt=0)] | None = 30
    """How old a version's evaluation may be when it is promoted. Days; None: any age."""
    lease: LeasePolicy = LeasePolicy()
    """What happens when two versions are promoted at a time."""

    @model_validator(mode="after")
    def _instances_suit(self) -> Self:
        bounds = self.autoscaling
        if bounds and not bounds.min_instances <= self.instance_count <= bounds.max_instances:
            raise MisplacedValue(
                ("instance_count",),
                f"{self.instance_count} is outside autoscaling's {bounds.min_instances} to {bounds.max_instances}",
            )
        self.update.check(self.least_instances)
        return self

    @model_validator(mode="after")
    def _alarms_fit(self) -> Self:
        room = _ALARM_LIMIT - self.guards.count
        if len(self.alarms) > room:
            raise MisplacedValue(
                ("alarms",),
                f"{len(self.alarms)} alarms of yours and {self.guards.count} of production.guards: SageMaker takes {_ALARM_LIMIT} at most",
            )
        return self

    @model_validator(mode="after")
    def _update_ends_in_time(self) -> Self:
        waits_s = self.update.waits_s() + self.watch_s
        if waits_s > LONGEST_UPDATE_S:
            raise MisplacedValue(
                ("update", "bake_s"),
                f"all waits of an update together are {waits_s} s; at most {LONGEST_UPDATE_S} s: lower it, or take larger steps",
            )
        return self

    @property
    def least_instances(self) -> int:
        """With how many instances an update may find the endpoint."""
        return self.autoscaling.min_instances if self.autoscaling else self.instance_count
