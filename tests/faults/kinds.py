"""The faults: what becomes of one call, as botocore shows it to whoever made it, or of the process that makes it.

botocore tries some failures again by itself (its standard mode: throttling, 5xx, lost connections, time-outs). A fault that strikes once is
then seen by nobody but the service; one that lasts is seen after the last try.

To add a kind: an entry of `FAULTS`, which `plan` takes by itself.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError, ConnectionClosedError, HTTPClientError, ReadTimeoutError

_ADDRESS = "https://fault.example"
_TRIES = 3


class Killed(BaseException):
    """The process is gone: no handler and no clean-up of it reaches a service any more."""


@dataclass(frozen=True)
class Fault:
    """One way in which a call fails."""

    name: str
    error: Callable[[str], BaseException]
    """Makes the exception for an action of that name."""
    applied: bool = False
    """Whether the service did what was asked before the answer got lost."""
    retried: bool = True
    """Whether botocore asks again."""
    spreads: bool = False
    """Whether every later call of the same process fails, too, whatever it is."""
    words: str = ""
    """What a message that names the cause has of it."""

    def strike(self, action: str, answer: Callable[[], Any], *, lasts: bool) -> Any:
        """Do to one call what this fault does to it; the answer, where botocore's next try gets one.

        Args:
            action: The API's action.
            answer: What the service does and answers when it is asked.
            lasts: Whether the next tries fail, too.

        Returns:
            The service's answer.

        Raises:
            ClientError: The service's own error, or the fault's; or one of botocore's others.
        """
        for _ in range(_TRIES if self.retried and lasts else 1):
            if self.applied:
                self._answer_nobody_gets(answer)
        if self.retried and not lasts:
            return answer()
        raise self.error(action)

    @staticmethod
    def _answer_nobody_gets(answer: Callable[[], Any]) -> None:
        try:
            answer()
        except ClientError:
            return  # this answer is lost, too


class Event(Fault):
    """Something happens around a call, which is answered: what, the scenario says (`Scenario.events`)."""


class Termination(Fault):
    """SIGTERM arrives while a call is under way, which is answered."""

    def strike(self, action: str, answer: Callable[[], Any], *, lasts: bool) -> Any:
        """Send the signal, and answer."""
        found = answer()
        os.kill(os.getpid(), signal.SIGTERM)
        return found


def _refusal(code: str, message: str, status: int) -> Callable[[str], Exception]:
    response: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return lambda action: ClientError(response, action)


def _lost(error: type[HTTPClientError], **more: Any) -> Callable[[str], Exception]:
    return lambda _: error(endpoint_url=_ADDRESS, **more)


_DENIED = _refusal("AccessDeniedException", "not authorized", 400)
_EXPIRED = _refusal("ExpiredTokenException", "the token is expired", 400)
_CLOSED = "Connection was closed"

FAULTS = {
    fault.name: fault
    for fault in (
        Fault("denied", _DENIED, retried=False, words="AccessDenied"),
        Fault("throttled", _refusal("ThrottlingException", "Rate exceeded", 400), words="Throttling"),
        Fault("500", _refusal("InternalFailure", "try again", 500), words="InternalFailure"),
        Fault("reset", _lost(ConnectionClosedError), words=_CLOSED),
        Fault("lost-answer", _lost(ConnectionClosedError), applied=True, words=_CLOSED),
        Fault("hangs", _lost(ReadTimeoutError), applied=True, words="Read timeout"),
        Fault("expired", _EXPIRED, retried=False, spreads=True, words="ExpiredToken"),
        Fault("cut-off", _lost(ConnectionClosedError), spreads=True, words=_CLOSED),
        Fault("killed", lambda _: Killed(), applied=True, retried=False, spreads=True),
        Termination("terminated", lambda _: Killed(), words="SIGTERM"),
        Event("server-killed", lambda _: Killed(), retried=False),
        Event("two-at-once", lambda _: Killed(), retried=False),
        Event("clock-ahead", lambda _: Killed(), retried=False),
        Event("clock-behind", lambda _: Killed(), retried=False),
        Event("disk-full", lambda _: Killed(), retried=False),
        Event("endpoint-deleted", lambda _: Killed(), retried=False),
        Event("endpoint-set-back", lambda _: Killed(), retried=False),
        Event("version-deleted", lambda _: Killed(), retried=False),
        Event("bucket-emptied", lambda _: Killed(), retried=False),
    )
}
"""By name. After `denied`, `throttled`, `500` and `reset` the service has done nothing; after `lost-answer` and `hangs` it has; `expired` are the
credentials, for every service at once, and `cut-off` is the network. The clock is that of the services, an hour from this machine's; what is
deleted, emptied or set back was so by hand."""
