"""What a check of `doctor` found: one finding a thing, with what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from botocore.exceptions import BotoCoreError, ClientError

from delivery.errors import DeliveryError
from pipelines.errors import CommandError

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One thing that was checked."""

    status: Status
    """`ok`; `warn`: works, but think of it; `fail`: a release would fail, or nobody can tell."""
    subject: str
    """What was checked, as in `bucket`."""
    message: str
    to_do: str = ""


class Findings(list[Finding]):
    """What one check found, in order.

    >>> found = Findings("bucket")
    >>> found.ok("weights-123 in us-west-2")
    >>> found[0].status
    'ok'
    """

    def __init__(self, subject: str) -> None:
        """`subject` is what is checked, as in `bucket`."""
        super().__init__()
        self.subject = subject

    def ok(self, message: str) -> None:
        """Add: nothing to do."""
        self.append(Finding("ok", self.subject, message))

    def warn(self, message: str, to_do: str = "") -> None:
        """Add: it works, but think of it."""
        self.append(Finding("warn", self.subject, message, to_do))

    def fail(self, message: str, to_do: str) -> None:
        """Add: a release would fail here."""
        self.append(Finding("fail", self.subject, message, to_do))

    @contextmanager
    def fail_on_refusal(self, what: str, to_do: str) -> Iterator[None]:
        """Turn what AWS or the Hub refuses inside into a `fail` with that to do."""
        try:
            yield
        except (ClientError, BotoCoreError, DeliveryError, CommandError) as error:
            self.fail(f"{what}: {error}", to_do)
