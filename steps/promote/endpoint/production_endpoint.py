"""The ways in which the production endpoint changes: created, updated, restored, settled, retired, tidied up.

Right before every call that only the lease's holder may make, the lease is confirmed with S3: a step that stopped for a while and lost
it touches nothing more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from config.production import Autoscaling
from config.schema import Release
from delivery.endpoint import deployment
from delivery.endpoint.deployment import Deployment
from delivery.endpoint.hosting import EndpointState
from delivery.endpoint.lease import Lease
from delivery.errors import DeliveryError, LeaseLost, cleaning_up_after
from delivery.job.frame import progress
from delivery.names import ENDPOINT_TAG, MODEL_TAG
from steps.promote.endpoint.clients import PromotionClients
from steps.promote.endpoint.observed_endpoint import ObservedEndpoint, ServedVersion

logger = logging.getLogger(__name__)

_MARGIN_S = 900.0  # on top of what an update may take by itself: SageMaker takes instances down, too


class ProductionEndpoint(ObservedEndpoint):
    """One production endpoint, changed by one promotion at a time."""

    def __init__(self, release: Release, clients: PromotionClients, lease: Lease) -> None:
        super().__init__(release, clients, lease)
        self.touched = False
        """Whether what it serves was changed, or begun to."""
        self.lost: list[str] = []
        """What the version that it goes on serving has lost, by a change that came to nothing: as `settle` returns it."""
        self._timeout_s = 2 * release.update_timeout_s + _MARGIN_S  # there, and back where SageMaker takes it back
        self._fleet_guards = self._settings.guards.model_copy(update={"no_instance": False})

    def create(self, new: Deployment, begin: Callable[[], None]) -> EndpointState:
        """Create a first endpoint, or one instead of one that failed. One that does not come up is deleted: nobody is served by it.

        Args:
            new: What it is to serve.
            begin: Called right before the first change; what it raises goes through.

        Returns:
            The endpoint, InService.

        Raises:
            DeliveryError: It did not come up; the message says why.
            LeaseLost: Another promotion took over.
        """
        self._lease.confirm()
        with self._forget_unless_begun(new):
            self._hosting.define(new)  # before its alarms: whoever tidies up goes by the endpoint configs and models
            self._clients.alarms.put(self._fleet_guards, new.name, new.tags)
        begin()
        there = self._hosting.state(self.name)
        if there is not None and there.has_failed:
            self.delete_failed()
        self._lease.confirm()
        self.touched = True
        with self._forget_unless_begun(new):
            self._hosting.create(self.name, new)
        try:
            state = self._wait()
        except LeaseLost:
            raise
        except DeliveryError as error:
            with cleaning_up_after(error):
                self._delete()
            raise
        return state

    def update(self, new: Deployment, old: ServedVersion, begin: Callable[[], None]) -> EndpointState:
        """Replace what it serves, the way that the model file says.

        Args:
            new: What it is to serve.
            old: What it serves.
            begin: Called right before the first change; what it raises goes through.

        Returns:
            The endpoint, which serves the new config.

        Raises:
            DeliveryError: SageMaker refused the update or took it back; the message says why, and whether the autoscaling that was
                taken away for it could not be brought back.
            LeaseLost: Another promotion took over.
        """
        self._lease.confirm()
        self._hosting.define(new)
        own = self._clients.alarms.put(self._settings.guards, new.name, new.tags)
        try:
            watched = self._clients.alarms.usable(own, self._settings.alarms)
        except DeliveryError as error:
            with cleaning_up_after(error):
                self._forget(new.name)
            raise
        policy = self._settings.update.deployment_config()
        for kind in policy:
            policy[kind]["MaximumExecutionTimeoutInSeconds"] = self._release.update_timeout_s
        if watched:
            policy["AutoRollbackConfiguration"] = {"Alarms": [{"AlarmName": name} for name in watched]}
        begin()
        self._detach_autoscaling(new, old)
        try:
            with self._forget_unless_begun(new):
                self._switch(new.name, policy)
            state = self._wait()
        except LeaseLost:
            raise
        except DeliveryError as error:
            raise DeliveryError(f"{error}{self._restore_autoscaling(old.autoscaling)}") from error
        if state.config == new.name:
            return state
        lost = self._restore_autoscaling(old.autoscaling)
        reasons = [state.failure, *self._clients.alarms.in_alarm(watched)]
        reason = "; ".join(reason for reason in reasons if reason) or "it does not say why"
        taken_back = DeliveryError(
            f"SageMaker took the update of {self.name} back: {reason}{lost}{self._hosting.recent_logs(self.name)}"
        )
        with cleaning_up_after(taken_back):
            self._forget(new.name)
        raise taken_back

    def restore(self, previous: str | None, left: str, autoscaling: Autoscaling | None) -> None:
        """Restore the endpoint config that it served before; delete the endpoint where there was none.

        Args:
            previous: The config to go back to; None where this promotion created the endpoint.
            left: The config that it serves now.
            autoscaling: What to give it where it has none any more.

        Raises:
            DeliveryError: It could not be restored; the message says what it serves.
            LeaseLost: Another promotion took over.
        """
        self._lease.confirm()
        state = self._hosting.state(self.name)
        if state is not None and state.config not in {left, previous}:
            raise DeliveryError(f"{self.name} serves {state.config}, which somebody gave it meanwhile, and goes on to")
        if previous is None or self._is_gone(previous):
            if previous is not None:
                raise DeliveryError(
                    f"{self.name} goes on serving {left}: {previous}, which it served before, was deleted meanwhile"
                )
            self._delete()
            return
        logger.info(f"{self.name} is given {previous} back")
        self._switch(previous, self._settings.update.return_config())
        state = self._wait()
        if state.config != previous:
            raise DeliveryError(f"{self.name} serves {state.config} and could not be given {previous} back: {state.failure}")
        if lost := self._restore_autoscaling(autoscaling):
            raise DeliveryError(f"{self.name} serves {previous} again{lost}")
        self._forget(left)

    def _is_gone(self, config: str) -> bool:
        """Tell whether an endpoint config was deleted; where that cannot be asked, SageMaker says so when it is to serve it."""
        try:
            return self._hosting.config(config) is None
        except DeliveryError:
            return False

    def delete_failed(self) -> None:
        """Delete the endpoint, which is Failed and serves nobody, and what is behind it.

        Raises:
            DeliveryError: It, or something behind it, could not be deleted: the endpoint may be gone, and the next try deletes what is left.
            LeaseLost: Another promotion took over.
        """
        logger.info(f"{self.name} is Failed and serves nobody: it is deleted")
        self._delete()

    def retire(self, autoscaling: Autoscaling | None) -> None:
        """Delete the endpoint and its autoscaling; `tidy_up` deletes what is behind it.

        Args:
            autoscaling: What to give it back where it cannot be deleted.

        Raises:
            DeliveryError: It could not be deleted, and goes on as it was; the message says what it has lost.
            LeaseLost: Another promotion took over.
        """
        self.touched = True
        try:
            self._end()
        except LeaseLost:
            raise
        except DeliveryError as error:
            raise DeliveryError(f"{error}{self._restore_autoscaling(autoscaling) if self.is_there() else ''}") from error

    def settle(self, state: EndpointState, new: Deployment) -> list[str]:
        """Settle the new version, which is to stay: the endpoint's own tags, its alarms, its autoscaling.

        Args:
            state: The endpoint, which serves it.
            new: The version.

        Returns:
            What could not be done and why, one sentence each: the version serves all the same.

        Raises:
            LeaseLost: Another promotion took over.
        """
        unfinished = []
        work: dict[str, Callable[[], object]] = {
            "tags": lambda: self._hosting.tag(state.arn, new),
            "alarms": lambda: self._clients.alarms.put(self._settings.guards, state.config, new.tags),
            "autoscaling": lambda: self._clients.scaling.apply(self._settings.autoscaling),
        }
        for name, act in work.items():
            try:
                self._lease.confirm()
                act()
            except LeaseLost:
                raise
            except DeliveryError as error:
                unfinished.append(f"{name}: {error}")
        return unfinished

    def tidy_up(self, config: str | None) -> None:
        """Delete the endpoint configs, models and alarms that earlier promotions to this endpoint left, killed ones' among them.

        Args:
            config: What it serves, which stays; None: nothing.
        """
        prefix = deployment.prefix("production", self._release)
        for name in sorted(self._hosting.definitions(prefix) - {config}):
            tags = self._hosting.config_tags(name) or self._hosting.model_tags(name)
            if (tags.get(MODEL_TAG), tags.get(ENDPOINT_TAG)) == (self._release.name, self.name):
                self._forget(name)
        if config is None and not self.is_there():
            self._lease.confirm()
            self._clients.scaling.remove()
            self._clients.alarms.delete_endpoints_own()

    def _detach_autoscaling(self, new: Deployment, old: ServedVersion) -> None:
        """Take the autoscaling away where SageMaker would refuse the update: it changes the instance type of a variant that has some."""
        before, after = (self._instances_of(name) for name in (old.config, new.name))
        if before != after or self._settings.autoscaling is None:
            self._lease.confirm()
            self._clients.scaling.remove()

    def _instances_of(self, config: str) -> list[tuple[object, object]]:
        found = self._hosting.config(config)
        variants = found["ProductionVariants"] if found else []
        return [(variant.get("InstanceType"), variant.get("InstancePools")) for variant in variants]

    @contextmanager
    def _forget_unless_begun(self, new: Deployment) -> Iterator[None]:
        """Let a change that SageMaker refuses (ResourceLimitExceeded, a quota) be no try: what was made for it is deleted, nothing was touched."""
        try:
            yield
        except LeaseLost:
            raise
        except DeliveryError as error:
            with cleaning_up_after(error):
                state = self._hosting.state(self.name)
                if state is None or new.name not in {state.config, state.pending}:
                    self.touched = False
                    self._forget(new.name)
            raise

    def _restore_autoscaling(self, autoscaling: Autoscaling | None) -> str:
        """Give it that autoscaling where it has none; return why that failed, to go behind an error; empty when it did not."""
        try:
            if autoscaling is not None and not self._clients.scaling.is_there():
                self._lease.confirm()
                self._clients.scaling.apply(autoscaling)
        except LeaseLost:
            raise
        except DeliveryError as error:
            self.lost = [f"autoscaling: it was taken away and could not be brought back: {error}"]
            return f"; its autoscaling was taken away and could not be brought back: {error}"
        return ""

    def _switch(self, config: str, policy: dict[str, Any]) -> None:
        keep_counts = self._settings.autoscaling is not None
        self.touched = True
        self._hosting.switch(self.name, config, policy, keep_counts=keep_counts, before_each_try=self._lease.confirm)

    def _wait(self) -> EndpointState:
        return self._hosting.wait(self.name, self._timeout_s, progress, self._lease.check)

    def _delete(self) -> None:
        """Delete the endpoint and what is behind it; the config last: by it the next promotion finds what could not be deleted.

        Nobody is to be served by it any more: it goes also where its autoscaling cannot be taken away, which is said when it is gone.
        """
        state = self._hosting.state(self.name)
        self._lease.confirm()
        left: DeliveryError | None = None
        try:
            self._clients.scaling.remove()
        except DeliveryError as error:
            left = error
        self._end_endpoint()
        self._clients.alarms.delete_endpoints_own()
        if state is not None and state.config:
            self._forget(state.config)
        if left is not None:
            raise left

    def _end(self) -> None:
        self._lease.confirm()
        self._clients.scaling.remove()
        self._end_endpoint()

    def _end_endpoint(self) -> None:
        self._hosting.delete(self.name, before_each_try=self._lease.confirm)
        self._hosting.wait_gone(self.name)

    def _forget(self, config: str) -> None:
        """Delete an endpoint config, its model and its alarms; never what the endpoint serves at this moment, or is being given."""
        state = self._hosting.state(self.name)
        if state is not None and not state.has_failed and config in {state.config, state.pending}:
            logger.warning(f"{config} is not deleted: {self.name} serves it, or is being given it")
            return
        self._lease.confirm()
        self._clients.alarms.delete(config)
        self._hosting.undefine(config)
