"""A server whose truth is known: every token's text is the moment at which it was sent, on the clock that all processes of a machine share.

`python -m benchmarks.load_client.server` prints its address and serves both ways to a model until it is ended. It streams by schedule:
the first token after `ttft_ms`, then one each `itl_ms`. Its own lateness against that schedule is no part of a client's error, since the
stamp is taken as the token is handed to the socket; it is reported beside it. One loop, one timer for all that is due in a quarter
of a millisecond, frames encoded beforehand: it takes its machine's cores from the client as little as it can.
"""

from __future__ import annotations

import asyncio
import gc
import json
import time
from array import array
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field

from benchmarks.load_client.frames import EventStreamFrames, Frames, ServerSentEventFrames

_SLOT_NS = 250_000


@dataclass
class AnswerPlan:
    """How it answers."""

    ttft_ms: float = 50
    itl_ms: float = 10
    tokens: int = 64
    stall_ms: float = 0
    stall_every: int = 0
    """One token of so many is late by `stall_ms`, and those behind it in its answer with it; never an answer's first. 0: none."""


@dataclass
class StampedTokens:
    """What it did since its plan was set. Moments are nanoseconds of the monotonic clock."""

    requests: int = 0
    tokens: int = 0
    stalls: int = 0
    first_ns: int = 0
    """The first request arrived."""
    last_ns: int = 0
    """The last token was sent."""
    late_ns: array[int] = field(default_factory=lambda: array("q"))

    def as_json(self) -> dict[str, float]:
        """For the benchmark."""
        late = sorted(self.late_ns) or [0]
        found = {key: value for key, value in vars(self).items() if key != "late_ns"}
        return {**found, "late_p50_ms": late[len(late) // 2] / 1e6, "late_p99_ms": late[len(late) * 99 // 100] / 1e6}


class Server:
    """The plan, the truth, and the timers."""

    def __init__(self) -> None:
        self.plan = AnswerPlan()
        self.truth = StampedTokens()
        self.frames: dict[bytes, Frames] = {b"completions": ServerSentEventFrames(), b"stream": EventStreamFrames()}
        self._slots: dict[int, list[Callable[[], None]]] = {}
        self._since_stall = 0

    def at(self, moment_ns: int, call: Callable[[], None]) -> None:
        """Call at a moment of the monotonic clock."""
        slot = moment_ns // _SLOT_NS
        waiting = self._slots.get(slot)
        if waiting is None:
            self._slots[slot] = [call]
            asyncio.get_running_loop().call_at((slot + 1) * _SLOT_NS / 1e9, self._fire, slot)
        else:
            waiting.append(call)

    def _fire(self, slot: int) -> None:
        for call in self._slots.pop(slot):
            call()

    def stalls(self, number: int) -> bool:
        """Whether the token `number` of its answer is to be late: the first that can be, then one of each `stall_every`."""
        if not self.plan.stall_every:
            return False
        self._since_stall -= 1
        if self._since_stall > 0 or not number:
            return False
        self._since_stall += self.plan.stall_every
        self.truth.stalls += 1
        return True


class Connection(asyncio.Protocol):
    """One client's connection; one answer at a time."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._data = b""
        self._open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Do its part of asyncio.Protocol; called by the event loop."""
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._open = transport, True

    def connection_lost(self, error: Exception | None) -> None:
        """Do its part of asyncio.Protocol; called by the event loop."""
        self._open = False

    def data_received(self, data: bytes) -> None:
        """Do its part of asyncio.Protocol; called by the event loop."""
        self._data += data
        head, end, body = self._data.partition(b"\r\n\r\n")
        if not end:
            return
        line, _, headers = head.partition(b"\r\n")
        length = 0
        for header in headers.split(b"\r\n"):
            name, _, value = header.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        if len(body) < length:
            return
        self._data = body[length:]
        method, target, _ = line.split(b" ", 2)
        self._serve(method, target, body[:length])

    def _serve(self, method: bytes, target: bytes, body: bytes) -> None:
        server = self._server
        frames = server.frames.get(target.rsplit(b"/", 1)[1].rsplit(b"-", 1)[-1])
        if method == b"POST" and frames is not None:
            self._stream(frames)
        elif method == b"PUT":  # a new plan
            server.plan, server.truth, server._since_stall = AnswerPlan(**json.loads(body)), StampedTokens(), 0
            gc.collect()
            self._answer(asdict(server.plan))
        elif target == b"/truth":
            self._answer(server.truth.as_json())
        else:  # what clients ask before they begin: /health, /v1/models
            self._answer({"object": "list", "data": [{"id": "known-truth", "object": "model"}]})

    def _answer(self, content: Mapping[str, object]) -> None:
        body = json.dumps(content).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)

    def _stream(self, frames: Frames) -> None:
        """One answer, by the plan that holds as it begins."""
        server, plan, truth, transport = self._server, self._server.plan, self._server.truth, self._transport
        arrived = time.monotonic_ns()
        truth.requests += 1
        truth.first_ns = truth.first_ns or arrived
        due, number, token = arrived + int(plan.ttft_ms * 1e6), 0, frames.token
        itl_ns, stall_ns, tokens = int(plan.itl_ms * 1e6), int(plan.stall_ms * 1e6), plan.tokens
        head = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nTransfer-Encoding: chunked\r\n\r\n" % frames.content_type
        beginning = head + frames.beginning()

        def send() -> None:
            nonlocal due, number
            if not self._open:
                return
            if number == 0:
                transport.write(beginning)
            now = time.monotonic_ns()
            transport.write(token(now))
            truth.late_ns.append(now - due)
            truth.tokens += 1
            truth.last_ns = now
            number += 1
            if number == tokens:
                transport.write(frames.end(tokens))
                return
            due += itl_ns + (stall_ns if server.stalls(number) else 0)
            server.at(due, send)

        server.at(due, send)


async def serve() -> None:
    """Until the process is ended."""
    server = Server()
    listening = await asyncio.get_running_loop().create_server(lambda: Connection(server), "127.0.0.1", 0, backlog=1024)
    port = listening.sockets[0].getsockname()[1]
    print(f"http://127.0.0.1:{port}", flush=True)
    gc.freeze()
    await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
