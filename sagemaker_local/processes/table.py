"""The processes that stand for containers: started, watched, logged, and ended with the server."""

from __future__ import annotations

import logging
import os
import select
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sagemaker_local.errors import AwsError
from sagemaker_local.state.store import hurried

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sagemaker_local.logs.sink import LogSink, LogTail
    from sagemaker_local.state.store import Store

_KIND = "process"
_TAIL_BYTES = 256 * 1024
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class LaunchSpec:
    """A process to start. Its stdout and stderr go to ``log_path`` and to a CloudWatch log stream."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    log_path: Path
    log_group: str
    log_stream: str
    region: str = "us-east-1"


@dataclass
class ChildProcess:
    """A started process, the leader of a process group of its own."""

    launch: LaunchSpec
    pid: int
    _process: subprocess.Popen[bytes]
    _table: ProcessTable
    _tail: LogTail
    _settled: threading.Event = field(default_factory=threading.Event)
    _settling: threading.Lock = field(default_factory=threading.Lock)

    def poll(self) -> int | None:
        """Return the exit code (negative: ended by that signal), or None while the process runs."""
        code = self._process.poll()
        if code is not None:
            self._settle()
        return code

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait until the process has ended and its last line is logged; None when it still runs after ``timeout`` seconds."""
        if self._process.returncode is None and not _await_exit(self._process, timeout):
            return None
        code = self._process.wait()
        self._settle()
        return code

    def terminate(self, grace_s: float = 30.0) -> int:
        """SIGTERM to the process, then, after ``grace_s`` seconds, SIGKILL to its whole group. Returns the exit code.

        As Docker does: only the container's first process gets SIGTERM, and nothing in the container outlives it.
        """
        if self.poll() is None:
            _signal(os.kill, self.pid, signal.SIGTERM)
            if self.wait(grace_s) is None:
                _signal(os.killpg, self.pid, signal.SIGKILL)
        code = self.wait(None)
        assert code is not None  # noqa: S101 -- wait without a timeout ends with an exit code
        return code

    def tail(self, lines: int) -> list[str]:
        """Return the last lines that the process has written."""
        try:
            with self.launch.log_path.open("rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(0, file.tell() - _TAIL_BYTES))
                text = file.read().decode(errors="replace")
        except FileNotFoundError:
            return []
        return list(deque((line for line in text.splitlines() if line.strip()), maxlen=lines))

    def _settle(self) -> None:
        """Once, when the process has ended: end what is left of its group and put its last lines."""
        with self._settling:
            if not self._settled.is_set():
                _signal(os.killpg, self.pid, signal.SIGKILL)
                self._table._ended(self)
                self._settled.set()


class ProcessTable:
    """Every process that this server has started.

    None outlives the server: it ends them when it stops, a keeper process ends them when the server is killed, and the next
    start ends those of a machine where both were.
    """

    def __init__(self, store: Store, logs: LogSink) -> None:
        self._store = store
        self._logs = logs
        self._lock = threading.Lock()
        self._children: dict[int, ChildProcess] = {}
        self._keeper: subprocess.Popen[str] | None = None
        self._closed = False
        self._sweep()

    def start(self, launch: LaunchSpec) -> ChildProcess:
        """Start a process in a new session.

        Raises:
            OSError: the program or its working directory does not exist, or may not be run.
            RuntimeError: the server is stopping.
        """
        launch.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock:
            if self._closed:
                raise RuntimeError(f"{launch.name} is not started: the server is stopping")
            with launch.log_path.open("ab") as log:
                process = subprocess.Popen(
                    list(launch.argv),
                    env=dict(launch.env),
                    cwd=launch.cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            self._tell_keeper(f"+{process.pid}")
            self._store.put(_KIND, str(process.pid), {"name": launch.name, "started": _start_time(process.pid)})
            tail = self._logs.follow(launch.log_path, launch.log_group, launch.log_stream, launch.region)
            child = ChildProcess(launch, process.pid, process, self, tail)
            self._children[process.pid] = child
        return child

    def running(self) -> list[ChildProcess]:
        """Return the processes that have not ended yet."""
        with self._lock:
            children = list(self._children.values())
        return [child for child in children if child.poll() is None]

    def close(self, grace_s: float = 5.0) -> None:
        """End every process: SIGTERM to all, ``grace_s`` seconds for all of them together, SIGKILL. Nothing starts afterwards."""
        with self._lock:
            self._closed = True
        children = self.running()
        for child in children:
            _signal(os.kill, child.pid, signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        for child in children:
            if child.wait(max(0.0, deadline - time.monotonic())) is None:
                child.terminate(0.0)
        if self._keeper is not None and self._keeper.stdin is not None:
            self._keeper.stdin.close()
            self._keeper.wait()

    def _ended(self, child: ChildProcess) -> None:
        try:
            self._logs.finish(child._tail)
            with hurried():
                self._store.delete(_KIND, str(child.pid))
        except (sqlite3.OperationalError, AwsError) as error:  # what waits for the process must learn of its end all the same
            _LOGGER.error("the last lines of %s are lost: %s", child.launch.name, error)
        with self._lock:
            self._children.pop(child.pid, None)
            self._tell_keeper(f"-{child.pid}")

    def _tell_keeper(self, line: str) -> None:
        if self._keeper is None:
            program = Path(__file__).with_name("_keeper.py")
            self._keeper = subprocess.Popen(
                [sys.executable, "-I", "-S", str(program)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                text=True,
                bufsize=1,
            )
        if self._keeper.stdin is not None and not self._keeper.stdin.closed:
            self._keeper.stdin.write(line + "\n")

    def _sweep(self) -> None:
        """End what an earlier server on the same state left behind. A pid that was given to another process is left alone."""
        for key, record in self._store.list(_KIND):
            if record["started"] is not None and _start_time(int(key)) == record["started"]:
                _signal(os.killpg, int(key), signal.SIGKILL)
            self._store.delete(_KIND, key)


def _await_exit(process: subprocess.Popen[bytes], timeout: float | None) -> bool:
    """Wait without polling for a process to end; False when it still runs after ``timeout`` seconds."""
    if timeout is None:
        process.wait()
        return True
    try:
        descriptor = os.pidfd_open(process.pid)
    except (AttributeError, OSError):  # not Linux, or already reaped
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(max(0, int(timeout * 1000))))
    finally:
        os.close(descriptor)


def _signal(send: object, target: int, number: signal.Signals) -> None:
    """Send a signal; nothing happens when the target is gone already."""
    try:
        send(target, number)  # type: ignore[operator]
    except (ProcessLookupError, PermissionError):
        return


def _start_time(pid: int) -> str | None:
    """Return when a process started, in the kernel's clock ticks; tells a pid from its reuse. None where it cannot be known."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None
