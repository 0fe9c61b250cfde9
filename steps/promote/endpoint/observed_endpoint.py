"""The production endpoint as it is: what it serves, whether that is right, and whether it still is. Nothing here changes it."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from config.production import Autoscaling
from config.schema import Release
from delivery.endpoint import prompt_checks
from delivery.endpoint.deployment import Deployment
from delivery.endpoint.hosting import EndpointState
from delivery.endpoint.lease import Lease
from delivery.endpoint.prompt_checks import PromptCheckResult
from delivery.errors import ChangedByHand, DeliveryError, InputError
from delivery.job.frame import progress
from delivery.names import MODEL_TAG, PREVIOUS_TAG, VERSION_TAG, Fact
from steps.promote.endpoint.clients import PromotionClients

logger = logging.getLogger(__name__)

_WATCH_POLL_S = 1.0


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


class ObservedEndpoint:
    """One production endpoint, looked at by whoever has its lease."""

    def __init__(self, release: Release, clients: PromotionClients, lease: Lease) -> None:
        self._release, self._clients, self._lease = release, clients, lease
        self._hosting = clients.hosting
        self._settings = release.model.production
        self.name = self._settings.endpoint

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
        return self._awaited(state)

    def served(self, state: EndpointState) -> ServedVersion:
        """Return what it serves, by its endpoint config's tags."""
        tags = self._hosting.config_tags(state.config)
        version = tags.get(VERSION_TAG)
        return ServedVersion(state.config, int(version) if version else None, tags.get(PREVIOUS_TAG))

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

    def look_again(self, config: str) -> EndpointState:
        """Make sure that the endpoint is in service and serves that config, once it has been looked over and before it is told of.

        Args:
            config: What it is to serve.

        Returns:
            The endpoint as it is now.

        Raises:
            ChangedByHand: It is gone, or serves something else.
            LeaseLost: Another promotion took over.
        """
        state = self._awaited(self._hosting.state(self.name))
        if state is None:
            raise ChangedByHand(f"{self.name} is gone: somebody deleted it while {config} was looked over")
        if state.config != config or state.has_failed:
            raise ChangedByHand(
                f"{self.name} is {state.status} and serves {state.config}: somebody gave it that while {config} was looked over; it stays"
            )
        return state

    def may_serve(self, config: str) -> bool:
        """Tell whether it serves that config, or may be about to."""
        state = self._hosting.state(self.name)
        return state is not None and not state.has_failed and (state.is_busy or state.config == config)

    def serves(self, config: str) -> bool:
        """Tell whether it is at rest and serves that config."""
        state = self._hosting.state(self.name)
        return state is not None and not state.is_busy and not state.has_failed and state.config == config

    def is_there(self) -> bool:
        """Tell whether there is such an endpoint, in whatever state."""
        return self._hosting.state(self.name) is not None

    def _awaited(self, state: EndpointState | None) -> EndpointState | None:
        """Look at the endpoint until nothing changes it any more; None once it is gone."""
        while state is not None and state.is_busy:
            progress(f"{self.name} is {state.status}")
            self._lease.check()
            time.sleep(_WATCH_POLL_S)
            state = self._hosting.state(self.name)
        return state

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
