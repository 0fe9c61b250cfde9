"""A client process: takes loads from a pipe, puts its share on, gives back every result. It ends when its parent does."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection

from loadtest.client.chat_client import ChatRequest, LoadClient
from loadtest.generator.load import Load, count, prompt_source, run, tokenizer_of
from loadtest.measurement.request_record import RequestRecord
from loadtest.measurement.worker_result import WorkerResult

_TICK_NS = 50_000_000
_REPORT_S = 0.5
_OPEN_FILES = 32_768


@dataclass(slots=True)
class WorkerProgress:
    """How far one process is: sent to its parent twice a second."""

    requests: int = 0
    failed: int = 0
    tokens: int = 0


@dataclass(frozen=True)
class WorkerReady:
    """Sent by a process that has prepared its share and can begin."""


@dataclass(frozen=True)
class BeginAt:
    """An order: begin at this moment of the monotonic clock, which all processes of a machine share."""

    begin_ns: int


@dataclass(frozen=True)
class SendTogether:
    """An order: send one request so many times at the same moment."""

    load: Load
    request: ChatRequest
    times: int


@dataclass(frozen=True)
class WorkerFailed:
    """Sent by a process that cannot; the message says why."""

    message: str


def main(pipe: Connection) -> None:
    """Serve the pipe until it closes. What SIGINT and SIGTERM mean is the parent's to decide."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _allow_open_files()
    while True:
        try:
            order = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            if isinstance(order, SendTogether):
                pipe.send(asyncio.run(_send_together(order)))
            else:
                pipe.send(asyncio.run(_measure(order, pipe)))
        except EOFError:
            return  # the parent ended it before it began
        except Exception as error:  # noqa: BLE001  (the parent must hear of it, whatever it is)
            pipe.send(WorkerFailed(f"{type(error).__name__}: {error}"))


def _allow_open_files() -> None:
    """Raise the limit of open files: a stalled endpoint is left with thousands of connections, and the usual 1,024 would look like its refusals."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _send_together(order: SendTogether) -> list[RequestRecord]:
    client = LoadClient(order.load.transport, order.load.timeout_s)
    try:
        return list(await asyncio.gather(*(client.send(order.request, time.monotonic_ns()) for _ in range(order.times))))
    finally:
        client.close()


async def _measure(load: Load, pipe: Connection) -> WorkerResult:
    """Prepare, say so, wait for the beginning, and put the load on."""
    client = LoadClient(load.transport, load.timeout_s)
    tokenizer = tokenizer_of(load)
    prompts = prompt_source(load, tokenizer)
    load.transport.request_head(b"")  # imports, credentials
    pipe.send(WorkerReady())
    begin = pipe.recv()
    loop = asyncio.get_running_loop()
    _end_with_parent(pipe)
    found, progress = WorkerResult(), WorkerProgress()

    from_s, to_s = load.window_s
    from_ns, to_ns = begin.begin_ns + int(from_s * 1e9), begin.begin_ns + int(to_s * 1e9)

    def begun(due_ns: int) -> None:
        if not load.concurrency and from_ns <= due_ns < to_ns:
            found.lag_ns.append(max(0, time.monotonic_ns() - due_ns))

    def note(result: RequestRecord) -> None:
        found.results.append(result)
        progress.requests += 1
        progress.failed += not result.is_ok
        progress.tokens += len(result.token_ns)

    watching = asyncio.create_task(watch(found, begin.begin_ns, from_ns, to_ns))
    reporting = asyncio.create_task(_report(progress, pipe))
    try:
        await run(load, client, prompts, begin.begin_ns, begun, note)
    finally:
        watching.cancel()
        reporting.cancel()
        client.close()
        loop.remove_reader(pipe.fileno())
    found.prompts_to, found.prompts_repeated = prompts.dealt_to, prompts.repeated
    if tokenizer is not None:
        count(load, found.results, tokenizer)
    return found


async def watch(found: WorkerResult, begin_ns: int, from_ns: int, to_ns: int) -> None:
    """Measure the client itself while it measures: lateness of the event loop, and CPU.

    A client that stands still for two seconds is late at every tick of these, not once: else the longer it stands, the rarer that would look.
    """
    due = time.monotonic_ns()
    cpu: tuple[float, int] | None = None
    while due < to_ns:
        due += _TICK_NS
        await asyncio.sleep(max(0.0, (due - time.monotonic_ns()) / 1e9))
        now = time.monotonic_ns()
        if now >= from_ns:
            cpu = cpu or (time.process_time(), now)
            found.lag_ns.extend(
                range(max(0, now - due), -1, -_TICK_NS)
            )  # with the ticks that it slept through, each late by less
            if now > cpu[1]:
                found.cpu_share = (time.process_time() - cpu[0]) * 1e9 / (now - cpu[1])
        due = max(due, now)


async def _report(progress: WorkerProgress, pipe: Connection) -> None:
    while True:
        await asyncio.sleep(_REPORT_S)
        pipe.send(WorkerProgress(progress.requests, progress.failed, progress.tokens))


def _end_with_parent(pipe: Connection) -> None:
    """Watch the pipe: nothing is sent to a process while it measures, so when its pipe is readable, the parent is gone."""
    asyncio.get_running_loop().add_reader(pipe.fileno(), os._exit, 1)
