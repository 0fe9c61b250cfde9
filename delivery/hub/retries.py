"""Trying again: which failures pass by themselves, and how long to wait for that."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from typing import TypeVar

from delivery.errors import DeliveryError, TransientError
from delivery.hub.fetch_settings import FetchSettings

logger = logging.getLogger(__name__)

_Result = TypeVar("_Result")


class Stopped(Exception):
    """The fetch has failed or was stopped elsewhere: this worker leaves."""


class Retries:
    """Calls something until it works, fails for good or `settings.attempts` are used up; pauses end at once when `stop` is set."""

    def __init__(self, settings: FetchSettings, stop: threading.Event) -> None:
        self._settings = settings
        self._stop = stop

    def call(self, what: str, attempt: Callable[[], _Result]) -> _Result:
        """What `attempt` returns. DeliveryError, naming `what` and the last reason, when it never did; Stopped when the fetch stops."""
        number = 0
        while True:
            number += 1
            if self._stop.is_set():
                raise Stopped
            try:
                return attempt()
            except TransientError as error:
                if number == self._settings.attempts:
                    raise DeliveryError(
                        f"could not {what} in {number} tries: {error}; start the step again: what is finished is not fetched again"
                    ) from error
                pause = self._pause(number, error, what)
                logger.info(f"could not {what}: {error}; trying again in {pause:.1f} s ({number} of {self._settings.attempts})")
                self._stop.wait(pause)

    def _pause(self, number: int, error: TransientError, what: str) -> float:
        if error.retry_after_s is not None:
            if error.retry_after_s > self._settings.longest_retry_after_s:
                raise DeliveryError(
                    f"could not {what}: {error}; the server asks to wait {error.retry_after_s:.0f} s: start the step again after that"
                )
            return error.retry_after_s
        pause = self._settings.first_pause_s * 2.0 ** (number - 1)
        return min(pause, self._settings.longest_pause_s) * random.uniform(0.5, 1.0)  # noqa: S311  (jitter, not a secret)
