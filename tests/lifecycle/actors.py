"""Actors: several pieces of work under way at once, of which one goes on at a time, by as many calls to AWS as it is told to.

Each has a thread, but never do two run: an actor stands still before its next call to AWS (or its next sleep) until it is its turn again. So an
interleaving is a value that Hypothesis draws, shrinks and repeats. Sleeping moves a clock and takes no time.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from unittest import mock

from delivery.endpoint import lease
from delivery.history import ledger

Fault = Callable[[str, Callable[[], Any]], Any]
"""What becomes of a call: takes its action and what answers it; returns the answer, or raises what boto3 would."""
_TO_THE_END = 20_000
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class Killed(BaseException):
    """The actor's process ends here: nothing of it is done any more."""


class Endless(Exception):
    """An actor did not come to its end."""


class Actor:
    """Somebody's work under way."""

    def __init__(self, stage: Stage, name: str, work: Callable[[], Any]) -> None:
        self.name = name
        self.is_over = False
        self.is_killed = False
        self.error: Exception | None = None
        """What the work ended with; None where it ended well, or was killed."""
        self.calls_left = 0
        self.fault: Fault | None = None
        """What the next call meets."""
        self.memory: dict[str, Any] = {}
        """What its process keeps of ledgers."""
        self._stage, self._work = stage, work
        self._turn, self._stands = threading.Lock(), threading.Lock()
        self._turn.acquire()
        self._stands.acquire()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def go_on(self, calls: int = _TO_THE_END, fault: Fault | None = None) -> None:
        """Go on by so many calls, the first of which meets the fault; return when it stands before the next one, or is over."""
        self.calls_left, self.fault = calls, fault
        self._stage.current, ledger._verified = self, self.memory
        self._turn.release()
        self._stands.acquire()
        self._stage.current, ledger._verified = None, {}
        if calls == _TO_THE_END and not self.is_over:
            raise Endless(f"{self.name} did not end")

    def kill(self) -> None:
        """End its process before its next call."""
        self.is_killed = True
        self.go_on()

    def stand(self) -> None:
        """Called by its own thread before each call: wait for its turn."""
        if self.calls_left == 0:
            self._stands.release()
            self._turn.acquire()
        if self.is_killed:
            raise Killed
        self.calls_left -= 1

    def _run(self) -> None:
        self._turn.acquire()
        try:
            if not self.is_killed:
                self._work()
        except Killed:
            pass
        except Exception as error:  # noqa: BLE001  (the machine judges it)
            self.error = error
        finally:
            self.is_over = True
            self._stands.release()


@dataclass
class Stage:
    """Where the actors work, and the clock that they share."""

    current: Actor | None = None
    """Whose turn it is; None: the machine itself looks at the account."""
    now_s: float = 0.0
    _renewals: list[_Renewal] = field(default_factory=list)

    def now(self) -> datetime:
        """The time of day."""
        return _EPOCH + timedelta(seconds=self.now_s)

    def through(self, call: dict[str, Any], answer: Callable[[], Any]) -> Any:
        """Let whose turn it is make a call, once it is told to go on, and meet the fault that waits for it."""
        actor = self.current
        if actor is None:
            return answer()
        actor.stand()
        fault, actor.fault = actor.fault, None
        return answer() if fault is None else fault(call["action"], answer)

    def sleep(self, seconds: float) -> None:
        """Let so much time pass. Leases of actors that work are renewed meanwhile, as their threads would."""
        if self.current is not None:
            self.current.stand()
        self.pass_by(seconds)

    def pass_by(self, seconds: float) -> None:
        """Let so much time pass."""
        until = self.now_s + max(0.0, seconds)
        while due := [one for one in self._renewals if one.at_s <= until]:
            first = min(due, key=lambda one: one.at_s)
            self.now_s = max(self.now_s, first.at_s)
            self._renew(first)
        self.now_s = until

    def _renew(self, renewal: _Renewal) -> None:
        self._renewals.remove(renewal)
        if (renewal.actor is not None and (renewal.actor.is_over or renewal.actor.is_killed)) or renewal.lease._done.is_set():
            return
        if not renewal.lease._writing.locked():  # else its actor stands in the middle of a renewal: its thread would wait
            before, self.current = self.current, None
            renewal.lease._renew()
            self.current = before
        self.renew_later(renewal.lease, renewal.actor)

    def renew_later(self, held: lease.Lease, actor: Actor | None) -> None:
        """Renew the lease when its thread would, as long as its actor lives."""
        self._renewals.append(_Renewal(self.now_s + held._expires_s / lease._RENEWALS, held, actor))


@dataclass(frozen=True)
class _Renewal:
    at_s: float
    lease: lease.Lease
    actor: Actor | None


class _RenewerThread:
    """What stands for a lease's thread: the clock calls it."""

    def __init__(self, target: Callable[[], None], **_: Any) -> None:
        self._lease: Any = target.__self__  # type: ignore[attr-defined]

    def start(self) -> None:
        _theatre.stage.renew_later(self._lease, _theatre.stage.current)

    def join(self) -> None:
        """The lease's own flag ends it."""


class InlinePool:
    """A ThreadPoolExecutor that works in the thread of whoever asks: calls keep their order."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __enter__(self) -> InlinePool:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def map(self, function: Callable[..., Any], *arguments: Any) -> Iterator[Any]:
        """As the pool's."""
        return iter([function(*each) for each in zip(*arguments, strict=False)])


@dataclass
class _Theatre:
    """The one stage that is played on now: what is patched once for many stages asks here."""

    stage: Stage = field(default_factory=Stage)


_theatre = _Theatre()


def play_on(stage: Stage) -> None:
    """Let the clock and the leases' threads be this stage's from now on."""
    _theatre.stage = stage


@contextmanager
def virtual_time() -> Iterator[None]:
    """Let the project's clocks, pools and the leases' threads be the stage's."""
    sleep = time.sleep

    def sleep_on_stage(seconds: float) -> None:
        if _theatre.stage.current is None:
            sleep(seconds)
        else:
            _theatre.stage.sleep(seconds)

    threads = SimpleNamespace(Lock=threading.Lock, Event=threading.Event, Thread=_RenewerThread)
    with ExitStack() as patched:
        patched.enter_context(mock.patch("time.sleep", sleep_on_stage))
        patched.enter_context(mock.patch("time.monotonic", lambda: _theatre.stage.now_s))
        patched.enter_context(mock.patch("delivery.endpoint.lease.threading", threads))
        for name, module in list(sys.modules.items()):
            if name.startswith(("delivery.", "steps.")) and hasattr(module, "ThreadPoolExecutor"):
                patched.enter_context(mock.patch.object(module, "ThreadPoolExecutor", InlinePool))
        yield
