"""One host of a star of ZeroMQ sockets, in pyzmq's environment: the first binds, the others connect and say every second that they live."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from benchmarks.coordination.notes import FOREVER_S, HOLD_S, Task, wait_until_wall

HEARTBEAT_S, SILENCE_S = 1.0, 5.0
_LEAD_NS = 200_000_000


def main(task: Task) -> None:
    """Be one of the hosts."""
    task.note("base")
    import zmq  # type: ignore[import-not-found]  # deferred: its memory is a cost of coordinating

    socket = zmq.Context().socket(zmq.DEALER if task.index else zmq.ROUTER)
    address = f"tcp://127.0.0.1:{os.environ['BENCHMARK_PORT']}"
    if task.index == 0:
        socket.bind(address)
        _Lead(task, socket).run()
    else:
        socket.setsockopt(zmq.IDENTITY, str(task.index).encode())
        socket.connect(address)
        _follow(task, socket)


class _Lead:
    """The first host."""

    def __init__(self, task: Task, socket: Any) -> None:
        self._task, self._socket = task, socket
        self._heard: dict[str, float] = {}
        self._beaten = 0.0

    def run(self) -> None:
        """Start the others and itself; find out that one is gone."""
        task = self._task
        while len(self._heard) < task.count - 1:
            self._receive(0.1)
        task.note("up")
        for number in range(task.starts):
            task.stamp("told", number, time.monotonic_ns())
            self._send(f"message {number}")
            task.stamp("message", number, time.monotonic_ns())
            self._receive(0.1)
            at_ns = time.time_ns() + _LEAD_NS
            self._send(f"moment {number} {at_ns}")
            task.stamp("moment", number, wait_until_wall(at_ns))
            self._receive(0.1)
        task.note("on")
        until = time.monotonic() + (HOLD_S if task.kind == "starts" else FOREVER_S)
        while time.monotonic() < until:
            self._receive(0.1)
            if lost := [name for name, at in self._heard.items() if time.monotonic() - at > SILENCE_S]:
                task.note("lost", f"{lost[0]} is silent")
                return
        task.note("done")
        time.sleep(FOREVER_S)

    def _send(self, text: str) -> None:
        for name in self._heard:
            self._socket.send_multipart([name.encode(), text.encode()])

    def _receive(self, for_s: float) -> None:
        until = time.monotonic() + for_s
        while (left_s := until - time.monotonic()) > 0:
            if self._socket.poll(left_s * 1000):
                name, _ = self._socket.recv_multipart()
                self._heard[name.decode()] = time.monotonic()
        if time.monotonic() - self._beaten > HEARTBEAT_S:
            self._beaten = time.monotonic()
            self._send("beat")


def _follow(task: Task, socket: Any) -> None:
    heard, beaten = time.monotonic() + 10, 0.0
    socket.send(b"beat")
    task.note("up")
    while time.monotonic() - heard < SILENCE_S:
        if time.monotonic() - beaten > HEARTBEAT_S:
            beaten = time.monotonic()
            socket.send(b"beat")
        if not socket.poll(200):
            continue
        kind, *rest = socket.recv().decode().split()
        heard = time.monotonic()
        if kind == "message":
            task.stamp("message", int(rest[0]), time.monotonic_ns())
        elif kind == "moment":
            task.stamp("moment", int(rest[0]), wait_until_wall(int(rest[1])))
    task.note("lost", "the first host is silent")


if __name__ == "__main__":
    main(Task.parse(sys.argv[1:]))
