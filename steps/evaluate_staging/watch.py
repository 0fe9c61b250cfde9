"""The endpoint and the version, looked at while they are measured and once more before a verdict.

The requests that an endpoint did not answer because somebody deleted it would look like the model's failures. A version that was deleted
needs no further hour of an instance.
"""

from __future__ import annotations

import logging
import threading
from types import TracebackType
from typing import Self

from delivery.endpoint.hosting import EndpointState
from delivery.errors import DeliveryError, InputError
from delivery.registry import model_packages
from steps.evaluate_staging.prepare import Prepared
from steps.evaluate_staging.staging import StagingEndpoint

logger = logging.getLogger(__name__)

_LOOK_S = 20.0


class EndpointWatch:
    """Looks every few seconds, in a thread of its own, as long as its `with` block lasts."""

    def __init__(self, prepared: Prepared, staged: StagingEndpoint, beside: StagingEndpoint | None = None) -> None:
        """Know what to look at.

        Args:
            prepared: What `prepare` found.
            staged: The endpoint of the version.
            beside: That of production's version, which is asked the same; None where there is none.
        """
        self._prepared, self._staged, self._beside = prepared, staged, beside
        self.beside_lost = ""
        """Why what production's version measured says nothing: its endpoint went away, or became another one. Empty while it is there."""
        self._gone: DeliveryError | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look_now_and_then, name="endpoint-watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()  # a look under way ends by itself

    def check(self) -> None:
        """Raise what was seen; asks nobody.

        Raises:
            InputError: The version was deleted.
            DeliveryError: The endpoint is not the one any more.
        """
        if self._gone is not None:
            raise self._gone

    def confirm(self) -> str:
        """Look once more, at the end.

        Returns:
            Why it is not known whether the endpoint was the same to the end; empty when it was.

        Raises:
            InputError: The version was deleted.
            DeliveryError: The endpoint is not the one any more.
        """
        self.check()
        try:
            gone = self._look()
        except DeliveryError as error:
            return f"whether {self._staged.endpoint} is still the endpoint that was measured is not known: {error}"
        if gone is not None:
            raise gone
        return ""

    def _look_now_and_then(self) -> None:
        while self._gone is None and not self._over.wait(_LOOK_S):
            try:
                self._gone = self._look()
            except DeliveryError as error:
                logger.warning(f"{error}; looked at again in {_LOOK_S:.0f} s")

    def _look(self) -> DeliveryError | None:
        """Look at the version and the endpoint; what is wrong, None when nothing is. DeliveryError when SageMaker cannot be asked."""
        package = self._prepared.package
        try:
            model_packages.read(self._prepared.recorder.sagemaker, package.arn)
        except InputError as error:
            return InputError(f"version {package.version} was deleted while it was measured: {error}")
        if changed := self._changed(self._staged):
            return DeliveryError(
                f"the staging endpoint {self._staged.endpoint} {changed} while it was measured; this says nothing about version "
                f"{package.version}, which stays as it is: measure it again: {self._prepared.command_again}"
            )
        if self._beside is not None and not self.beside_lost and (changed := self._changed(self._beside)):
            self.beside_lost = f"production's version beside this one, {self._beside.endpoint}, {changed} while it was measured"
            logger.warning(f"{self.beside_lost}; its stored evaluation is compared with")
        return None

    def _changed(self, staged: StagingEndpoint) -> str:
        return _change(staged.state, self._prepared.hosting.state(staged.endpoint))


def _change(before: EndpointState, now: EndpointState | None) -> str:
    """Say what became of an endpoint; empty when it is what it was."""
    if now is None:
        return "was deleted, by hand or by a reaper whose clock is ahead,"
    if now.created != before.created:
        return "was deleted and made anew"
    if now.config != before.config:
        return f"was given another endpoint config, {now.config},"
    if now.status != "InService":
        return f"became {now.status}{f' ({now.failure})' if now.failure else ''}"
    return ""
