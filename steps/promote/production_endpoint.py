"""The production endpoint and the ways in which it changes: created, updated, smoke-tested, restored, tidied up.

Right before every call that only the lease's holder may make, the lease is confirmed with S3: a step that stopped for a while and lost
it touches nothing more.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from config.production import Autoscaling
from config.schema import Release
from delivery.endpoint import deployment, prompt_checks
from delivery.endpoint.deployment import Deployment
from delivery.endpoint.hosting import EndpointState
from delivery.endpoint.lease import Lease
from delivery.endpoint.prompt_checks import PromptCheckResult
from delivery.errors import DeliveryError, InputError, LeaseLost, cleaning_up_after
from delivery.job.frame import progress
from delivery.names import ENDPOINT_TAG, MODEL_TAG, PREVIOUS_TAG, VERSION_TAG, Fact
from steps.promote.clients import PromotionClients

logger = logging.getLogger(__name__)

_WATCH_POLL_S = 1.0
_MARGIN_S = 900.0  # on top of what an update may take by itself: SageMaker takes instances down, too


@dataclass(frozen=True)
class ServedVersion:
    """What the endpoint serves."""

    config: str
    version: int | None
    """None when this project did not make it."""
    previous: str | None
    """The endpoint config before it, where it is known."""
    autoscaling: Autoscaling | None = None
    """What it is to have back when its autoscaling was taken away for an update that came to nothing."""


class ProductionEndpoint:
    """One production endpoint, changed by one promotion at a time."""

    def __init__(self, release: Release, clients: PromotionClients, lease: Lease) -> None:
        self._release, self._clients, self._lease = release, clients, lease
        self._hosting = clients.hosting
        self._settings = release.model.production
        self.name = self._settings.endpoint
        self.touched = False
        """Whether what it serves was changed, or begun to."""
        self._timeout_s = 2 * release.update_timeout_s + _MARGIN_S  # there, and back where SageMaker takes it back

    def at_rest(self) -> EndpointState | None:
        """Wait until nothing changes the endpoint any more.

        Returns:
            The endpoint; None when there is none.

        Raises:
            InputError: It is not this model's.
            LeaseLost: Another promotion took over meanwhile.
        """
        state = self._hosting.state(self.name)
        if state is None:
            return None
        self._check_owner(state)
        if state.is_busy:
            logger.info(f"{self.name} is {state.status}: an earlier try of a promotion, or autoscaling; it is awaited")
        while state is not None and state.is_busy:
            progress(f"{self.name} is {state.status}")
            self._lease.check()
            time.sleep(_WATCH_POLL_S)
            state = self._hosting.state(self.name)
        return state

    def served(self, state: EndpointState) -> ServedVersion:
        """Return what it serves, by its endpoint config's tags."""
        tags = self._hosting.config_tags(state.config)
        version = tags.get(VERSION_TAG)
        return ServedVersion(state.config, int(version) if version else None, tags.get(PREVIOUS_TAG))

    def create(self, new: Deployment) -> EndpointState:
        """Create a first endpoint, or one instead of one that failed. One that does not come up is deleted: nobody is served by it.

        Args:
            new: What it is to serve.

        Returns:
            The endpoint, InService.

        Raises:
            DeliveryError: It did not come up; the message says why.
            LeaseLost: Another promotion took over.
        """
        there = self._hosting.state(self.name)
        if there is not None and there.has_failed:
            logger.info(f"{self.name} is Failed and serves nobody: it is deleted")
            self._delete()
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
        self._clients.alarms.put(self._settings.guards, new.name, new.tags)
        return state

    def update(self, new: Deployment, old: ServedVersion) -> EndpointState:
        """Replace what it serves, the way that the model file says.

        Args:
            new: What it is to serve.
            old: What it serves.

        Returns:
            The endpoint, which serves the new config.

        Raises:
            DeliveryError: SageMaker refused the update or took it back; the message says why. Autoscaling is then as before.
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

    def smoke_test(self, state: EndpointState, new: Deployment) -> list[PromptCheckResult]:
        """Check the image, ask the prompt checks, watch the alarms for as long as the model file says.

        Args:
            state: The endpoint after its update.
            new: What it is to serve.

        Returns:
            The prompt checks' results; all passed.

        Raises:
            DeliveryError: The first that is not right.
            LeaseLost: Another promotion took over.
        """
        self._check_image(state, new)
        results = prompt_checks.ask_all(self._clients.runtime, self.name, self._release.model.evaluation.prompt_checks)
        for result in results:
            if not result.passed:
                raise DeliveryError(
                    f"after the update {self.name} answered {result.prompt!r} with {result.answer!r}, which does not contain "
                    f"{result.expect!r}"
                )
        self._watch([*self._clients.alarms.of_fleet(self._settings.guards, state.config), *self._settings.alarms])
        return results

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
        if previous is None or self._hosting.config(previous) is None:
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

    def settle(self, state: EndpointState, new: Deployment) -> None:
        """Settle the new version, which is to stay: the endpoint's own tags, its alarms, its autoscaling."""
        self._lease.confirm()
        self._hosting.tag(state.arn, new)
        self._clients.alarms.put(self._settings.guards, state.config, new.tags)
        self._lease.confirm()
        self._clients.scaling.apply(self._settings.autoscaling)

    def tidy_up(self, state: EndpointState) -> None:
        """Delete the endpoint configs, models and alarms that earlier promotions to this endpoint left, killed ones' among them."""
        prefix = deployment.prefix("production", self._release)
        for name in sorted(self._hosting.definitions(prefix) - {state.config}):
            tags = self._hosting.config_tags(name) or self._hosting.model_tags(name)
            if (tags.get(MODEL_TAG), tags.get(ENDPOINT_TAG)) == (self._release.name, self.name):
                self._lease.confirm()
                self._forget(name)

    def _check_owner(self, state: EndpointState) -> None:
        owner = self._hosting.tags(state.arn).get(MODEL_TAG)
        if owner != self._release.name:
            raise InputError(
                f"the endpoint {self.name} exists, but was not made for {self._release.name} by this pipeline "
                f"(its tag release:model is {owner!r}); choose another production.endpoint, or delete that one"
            )

    def _check_image(self, state: EndpointState, new: Deployment) -> None:
        """Check that the instances run the image that was evaluated: the tag may have been moved after it was verified."""
        evaluated = new.package.facts.get(Fact.IMAGE_DIGEST)
        for image in state.images:
            _, _, digest = image.partition("@")
            if evaluated and digest and digest != evaluated:
                raise DeliveryError(
                    f"{self.name} runs {image}, but {evaluated} was evaluated: the image's tag was moved meanwhile"
                )

    def _watch(self, alarms: Sequence[str]) -> None:
        """Look at the alarms once at least, and for as long as the model file says."""
        until = time.monotonic() + self._settings.watch_s
        while True:
            self._lease.check()
            if in_alarm := self._clients.alarms.in_alarm(alarms):
                raise DeliveryError(f"after the update of {self.name} an alarm went off: {'; '.join(in_alarm)}")
            left = until - time.monotonic()
            if left <= 0:
                return
            progress(f"{self.name} is watched, {left:.0f} s to go")
            time.sleep(min(left, _WATCH_POLL_S))

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
            return f"; its autoscaling was taken away and could not be brought back: {error}"
        return ""

    def _switch(self, config: str, policy: dict[str, Any]) -> None:
        keep_counts = self._settings.autoscaling is not None
        self.touched = True
        self._hosting.switch(self.name, config, policy, keep_counts=keep_counts, before_each_try=self._lease.confirm)

    def _wait(self) -> EndpointState:
        return self._hosting.wait(self.name, self._timeout_s, progress, self._lease.check)

    def _delete(self) -> None:
        state = self._hosting.state(self.name)
        self._lease.confirm()
        self._clients.scaling.remove()
        self._hosting.delete(self.name, before_each_try=self._lease.confirm)
        self._hosting.wait_gone(self.name)
        self._clients.alarms.delete_endpoints_own()
        if state is not None and state.config:
            self._clients.alarms.delete(state.config)

    def _forget(self, config: str) -> None:
        self._clients.alarms.delete(config)
        if config not in self._hosting.delete_config(config):
            self._hosting.delete_model(config)
