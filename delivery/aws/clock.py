"""A service's clock, the `Date` of its answers: hosts whose own clocks differ agree on it about what has expired."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any


class ServiceClock:
    """The clock of one service, as its answers tell it; this host's until the first one does.

    Example:
        >>> clock = ServiceClock()
        >>> clock.note({"ResponseMetadata": {"HTTPHeaders": {"date": "Thu, 01 Jan 2026 12:00:00 GMT"}}}, time.monotonic())
        >>> clock.at.isoformat()
        '2026-01-01T12:00:00+00:00'
    """

    def __init__(self) -> None:
        self.at = datetime.now(UTC)
        """What it said last, in whole seconds."""
        self.asked_at = time.monotonic()
        """When it was asked for that answer, time.monotonic()."""

    def now(self) -> datetime:
        """Return the time that it is by this clock, the time since its last answer counted here."""
        return self.at + timedelta(seconds=time.monotonic() - self.asked_at)

    def note(self, answer: Mapping[str, Any], asked_at: float) -> None:
        """Read the clock off an answer; one without a date that can be read tells nothing.

        Args:
            answer: As boto3 returns it, or a ClientError's `response`.
            asked_at: When the service was asked, time.monotonic().
        """
        told = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
        try:
            at = parsedate_to_datetime(told)
        except ValueError:
            at = self.at + timedelta(seconds=asked_at - self.asked_at)
        self.at, self.asked_at = at if at.tzinfo else at.replace(tzinfo=UTC), asked_at
