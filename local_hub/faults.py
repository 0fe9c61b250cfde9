"""Faults on order: what a Hub and its CDN do on a bad day, for tests of whoever downloads from them.

A `Fault` says what happens (`kind`), to which requests (`path`, `where`, `after`), and how often (`times`). Each request
takes the first fault that fits and still has times left. They can be added in process (`hub.faults.add(Fault(...))`) or
over HTTP (`POST /_local_hub/faults` with the same fields as JSON; `DELETE` clears them).

Kinds
    `status`        answer with `status` (429, 500, 503...), with `Retry-After: retry_after_s` if that is set
    `expired`       the signed address has expired: 403, as S3 and CloudFront answer
    `truncate`      send only the first `at_byte` bytes of the body, then close
    `corrupt`       flip one bit of the byte at offset `at_byte` of the file
    `ignore-range`  answer a ranged request with 200 and the whole file
    `changed`       serve other bytes of the same length, as if the file had been replaced after it was listed
    `stall`         wait `stall_s` seconds before the body
    `reset`         close the connection without an answer
"""

from __future__ import annotations

import dataclasses
import fnmatch
import threading
import time
from typing import Any, Literal, get_args

from local_hub.errors import LocalHubError

__all__ = ["Fault", "FaultPlan", "Kind", "RateCap"]

Kind = Literal["status", "expired", "truncate", "corrupt", "ignore-range", "changed", "stall", "reset"]


@dataclasses.dataclass(slots=True)
class Fault:
    """One fault; see the module's docstring.

    `path` is a shell pattern on `ORG/NAME/path/of/file` (for API calls `ORG/NAME`). `where` is `hub` (API and `resolve`),
    `cdn` (the signed address), or `any`. `after` lets that many fitting requests pass first; `times` None is for ever.
    """

    kind: Kind
    path: str = "*"
    where: Literal["hub", "cdn", "any"] = "cdn"
    times: int | None = 1
    after: int = 0
    status: int = 500
    retry_after_s: int | None = None
    at_byte: int = 0
    stall_s: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise LocalHubError(f"fault kind {self.kind!r} is unknown; known are {', '.join(get_args(Kind))}")

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Fault:
        """Return a fault from its JSON object. Raises `LocalHubError` for a key that is not a field."""
        unknown = set(value) - {field.name for field in dataclasses.fields(cls)}
        if unknown or "kind" not in value:
            raise LocalHubError(f"fault: {'unknown key ' + repr(min(unknown)) if unknown else 'kind is missing'}")
        return cls(**value)


class FaultPlan:
    """The faults still to come; thread-safe."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, *faults: Fault) -> None:
        """Add faults after those already planned."""
        with self._lock:
            self._faults += faults

    def clear(self) -> None:
        """Forget all faults."""
        with self._lock:
            self._faults.clear()

    def take(self, path: str, where: Literal["hub", "cdn"], *, ranged: bool) -> Fault | None:
        """Return the fault for this request, counted as used; None for a good day."""
        with self._lock:
            for fault in self._faults:
                if fault.where not in (where, "any") or not fnmatch.fnmatchcase(path, fault.path):
                    continue
                if fault.times == 0 or (fault.kind == "ignore-range" and not ranged):
                    continue
                if fault.after > 0:
                    fault.after -= 1
                    continue
                if fault.times is not None:
                    fault.times -= 1
                return fault
        return None


class RateCap:
    """A limit on the bytes a second of all transfers together. `bytes_per_s` None is no limit; it may be set at any time."""

    def __init__(self, bytes_per_s: float | None = None) -> None:
        self.bytes_per_s = bytes_per_s
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self, count: int) -> None:
        """Wait until `count` more bytes may be sent."""
        rate = self.bytes_per_s
        if not rate:
            return
        with self._lock:
            now = time.monotonic()
            start = max(now, self._next)
            self._next = start + count / rate
        if start > now:
            time.sleep(start - now)
