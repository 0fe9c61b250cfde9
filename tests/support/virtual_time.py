"""Waits that take no time: whoever sleeps moves the clock."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from unittest import mock


@dataclass
class VirtualClock:
    """The machine's clock, and how far it was moved."""

    ahead_s: float = 0.0

    def now(self) -> datetime:
        """The time of day."""
        return datetime.now(UTC) + timedelta(seconds=self.ahead_s)

    def pass_by(self, seconds: float) -> None:
        """Let so much time pass."""
        self.ahead_s += max(0.0, seconds)


@contextmanager
def virtual_time() -> Iterator[VirtualClock]:
    """Let `time.sleep` move `time.monotonic` and the yielded clock instead of waiting. Waits of `threading` are real ones."""
    clock, monotonic = VirtualClock(), time.monotonic
    with (
        mock.patch("time.sleep", clock.pass_by),
        mock.patch("time.monotonic", lambda: monotonic() + clock.ahead_s),
    ):
        yield clock
