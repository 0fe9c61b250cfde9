"""The client processes of one machine: started once, given one load after another, together."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Self, TypeVar

from loadtest.client.chat_client import ChatRequest
from loadtest.errors import LoadTestError
from loadtest.generator import worker
from loadtest.generator.load import Load
from loadtest.generator.worker import BeginAt, SendTogether, WorkerFailed, WorkerProgress, WorkerReady
from loadtest.measurement.measurement import Measurement
from loadtest.measurement.request_record import RequestRecord
from loadtest.measurement.worker_result import WorkerResult

T = TypeVar("T")
_LEAD_NS = 50_000_000  # between "begin" and the beginning: longer than a message takes
_POLL_S = 1.0
STREAMS_A_PROCESS = 32
"""Beyond this, another process helps, up to one a core: one holds many times more, but then its own scheduling shows in the tail."""


class WorkerPool:
    """Client processes. A context manager: they are ended at its end, however that comes."""

    def __init__(self, processes: int | None = None) -> None:
        """Allow `processes` at most; one a core when None. They are started when a load needs them."""
        self._most = processes or os.cpu_count() or 1
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[tuple[multiprocessing.process.BaseProcess, Connection]] = []
        self._prepared: list[Connection] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for process, pipe in self._workers:
            pipe.close()
            if kind is not None:
                process.kill()  # it may be in the middle of a load
        for process, _ in self._workers:
            process.join(5)
            if process.is_alive():
                process.kill()
                process.join()
        self._workers.clear()

    def measure(self, load: Load, on_progress: Callable[[str], None] = lambda _: None) -> Measurement:
        """Put a load on and wait until its last answer is complete.

        Args:
            load: what is asked, when.
            on_progress: gets a line for people about once a second.

        Returns:
            What was measured.

        Raises:
            LoadTestError: a client process failed.
        """
        self.prepare(load)
        begin_ns = time.monotonic_ns() + _LEAD_NS
        return Measurement.of(load.window_s, begin_ns, self.begin(load, begin_ns, on_progress))

    def prepare(self, load: Load) -> None:
        """Have the processes read and make what the load needs, so that all can begin at the same moment."""
        self._prepared = self._pipes(self._needed(load))
        for number, pipe in enumerate(self._prepared):
            pipe.send(load.share(number, len(self._prepared)))
        for pipe in self._prepared:
            self._expect(pipe, WorkerReady)

    def begin(self, load: Load, begin_ns: int, on_progress: Callable[[str], None]) -> list[WorkerResult]:
        """Put the load that was prepared on from `begin_ns` on (monotonic clock); returns what each process measured."""
        for pipe in self._prepared:
            pipe.send(BeginAt(begin_ns))
        return self._collect(self._prepared, begin_ns, load, on_progress)

    def send_together(self, load: Load, request: ChatRequest, times: int) -> list[RequestRecord]:
        """Send one request so many times at the same moment; returns what became of each."""
        [pipe] = self._pipes(1)
        pipe.send(SendTogether(load, request, times))
        answer: list[RequestRecord] = self._expect(pipe, list)
        return answer

    def _needed(self, load: Load) -> int:
        """Return how many processes a load keeps busy. An open loop's streams: those of its busiest second, if each took two."""
        streams = load.concurrency
        if not streams:
            seconds: dict[int, int] = {}
            for due in load.schedule:
                seconds[int(due.at_s)] = seconds.get(int(due.at_s), 0) + 1
            streams = 2 * max(seconds.values(), default=1)
        return max(1, min(self._most, -(-streams // STREAMS_A_PROCESS)))

    def _pipes(self, count: int) -> list[Connection]:
        while len(self._workers) < count:
            ours, theirs = self._context.Pipe()
            process = self._context.Process(target=worker.main, args=(theirs,), daemon=True)
            process.start()
            theirs.close()  # so that the end of the process is the end of the pipe
            self._workers.append((process, ours))
        return [pipe for _, pipe in self._workers[:count]]

    def _collect(
        self, pipes: list[Connection], begin_ns: int, load: Load, on_progress: Callable[[str], None]
    ) -> list[WorkerResult]:
        progress: dict[Connection, WorkerProgress] = {}
        found: dict[Connection, WorkerResult] = {}
        shown = 0.0
        while len(found) < len(pipes):
            for pipe in wait([pipe for pipe in pipes if pipe not in found], timeout=_POLL_S):
                assert isinstance(pipe, Connection)  # noqa: S101  (that is what it was given)
                message = self._received(pipe)
                if isinstance(message, WorkerProgress):
                    progress[pipe] = message
                elif isinstance(message, WorkerResult):
                    found[pipe] = message
            if time.monotonic() - shown >= 1.0:
                shown = time.monotonic()
                on_progress(_line(list(progress.values()), (time.monotonic_ns() - begin_ns) / 1e9, load))
        return list(found.values())

    def _expect(self, pipe: Connection, kind: type[T]) -> T:
        while not isinstance(message := self._received(pipe), kind):
            pass
        return message

    @staticmethod
    def _received(pipe: Connection) -> object:
        try:
            message: object = pipe.recv()
        except (EOFError, OSError) as error:
            raise LoadTestError("a client process ended by itself; its memory may not have sufficed") from error
        if isinstance(message, WorkerFailed):
            raise LoadTestError(f"a client process failed: {message.message}")
        return message


def _line(progress: list[WorkerProgress], elapsed_s: float, load: Load) -> str:
    """Say how it goes, for people."""
    requests, failed = sum(one.requests for one in progress), sum(one.failed for one in progress)
    rate = sum(one.tokens for one in progress) / max(elapsed_s, 0.001)
    phase = "warming up, " if elapsed_s < load.window_s[0] else "finishing, " if elapsed_s > load.window_s[1] else ""
    left = max(0.0, load.window_s[1] - elapsed_s)
    return f"{phase}{requests} requests, {rate:.0f} tokens/s" + (f", {failed} failed" if failed else "") + f", {left:.0f} s left"
