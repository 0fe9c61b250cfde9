"""Retries: which failures are transient, and how long to wait before the next try.

A retryable call raises TransientError. Pauses grow exponentially (backoff) and are shortened by up to a half at random (jitter), so that
workers that failed together do not come again together; the server's own Retry-After wins.
"""

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
        """Call `attempt` until it works.

        Args:
            what: What it does, a verb with its object, for messages.
            attempt: The call. It raises TransientError for what may be gone the next time.

        Returns:
            What `attempt` returned.

        Raises:
            DeliveryError: It never worked in `settings.attempts` tries, or the server asks to wait too long.
            Stopped: The fetch stops.

        Example:
            >>> answers = [TransientError("busy"), "done"]
            >>> def attempt():
            ...     if isinstance(answer := answers.pop(0), TransientError):
            ...         raise answer
            ...     return answer
            >>> Retries(FetchSettings(first_pause_s=0.01), threading.Event()).call("read it", attempt)
            'done'
        """
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
