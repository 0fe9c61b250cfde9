"""The layer before the services: it puts the calls of each caller on record, and fails the one that it is armed for."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.faults.calls import name_of
from tests.faults.kinds import FAULTS, Event, Fault


@dataclass(frozen=True)
class Injection:
    """One fault at one call."""

    caller: str
    call: str
    fault: str
    first: int
    """At which of the caller's calls of that name it begins, from 1."""
    lasts: bool
    """Whether the later ones fail, too."""

    @property
    def kind(self) -> Fault:
        """What happens there."""
        return FAULTS[self.fault]

    def strikes(self, caller: str, call: str, number: int) -> bool:
        """Tell whether it is that caller's call with that number that fails."""
        return (caller, call) == (self.caller, self.call) and (number == self.first or (self.lasts and number > self.first))


class Injector:
    """The layer of a `FakeAws`."""

    def __init__(self) -> None:
        self.injection: Injection | None = None
        self.struck = 0
        """How many calls were failed."""
        self.events: dict[str, Callable[[], None]] = {}
        """What happens, by the faults' names, where a fault is an event."""
        self._caller = ""
        self._numbers: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()  # the ledger is read in threads

    @property
    def record(self) -> dict[tuple[str, str], int]:
        """How many calls of each name each caller made."""
        return dict(self._numbers)

    @contextmanager
    def calls_of(self, caller: str) -> Iterator[None]:
        """Put the calls inside on record as this caller's; others go through and are nobody's."""
        self._caller = caller
        try:
            yield
        finally:
            self._caller = ""

    def __call__(self, call: dict[str, Any], answer: Callable[[], Any]) -> Any:
        """Answer a call, or fail it."""
        if not self._caller:
            return answer()
        name = name_of(call["service"], call["action"], call["parameters"])
        with self._lock:
            self._numbers[self._caller, name] += 1
            strikes = self._strikes(name, self._numbers[self._caller, name])
            self.struck += strikes
        if self.injection is None or not strikes:
            return answer()
        kind = self.injection.kind
        if isinstance(kind, Event):
            return self._happen(kind.name, answer)
        is_spread = kind.spreads and self.struck > 1
        return kind.strike(call["action"], _nothing if is_spread else answer, lasts=self.injection.lasts or kind.spreads)

    def _happen(self, name: str, answer: Callable[[], Any]) -> Any:
        try:
            return answer()
        finally:
            caller, self._caller = self._caller, ""
            self.events[name]()
            self._caller = caller

    def _strikes(self, name: str, number: int) -> bool:
        if self.injection is None:
            return False
        spread = self.injection.kind.spreads and self.struck > 0 and self._caller == self.injection.caller
        return spread or self.injection.strikes(self._caller, name, number)


def _nothing() -> None:
    """Answer a call that reaches nobody."""
