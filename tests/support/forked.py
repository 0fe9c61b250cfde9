"""`python -m MODULE` as a process that is ready at once: forked from one that has imported what steps import, one for each worker of pytest.

A step spends one to four seconds of CPU on its imports, more than most of them on their work. What is started here is a process in every
way that a test can see: an id, signals, an exit code, an environment and a log of its own.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.support.waiting import HANG_S

ROOT = Path(__file__).parents[2]
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.support.preloaded"])


@dataclass
class ForkedProcess:
    """The process, with the methods of a subprocess.Popen."""

    args: list[str]
    _process: BaseProcess

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = HANG_S) -> int:
        self._process.join(timeout)
        if (code := self._process.exitcode) is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start_module(
    module: str, arguments: list[str], environment: Mapping[str, str], log: Path, *, without: tuple[str, ...] = ()
) -> ForkedProcess:
    """Start `python -m MODULE ARGUMENTS…` in the project's folder.

    Args:
        module: Its name.
        arguments: Behind the module's name.
        environment: All of its environment variables.
        log: The file that gets what it writes.
        without: Packages that it does not find.
    """
    log.write_bytes(b"")
    process = CONTEXT.Process(target=_run, args=(module, arguments, dict(environment), log, without))
    process.start()
    return ForkedProcess([sys.executable, "-m", module, *arguments], process)


def start_anew(module: str, arguments: list[str], environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start the same without a fork, where a test looks at the process itself: its command line, its first environment."""
    command = [sys.executable, "-m", module, *arguments]
    with log.open("wb") as stream:
        return subprocess.Popen(command, cwd=ROOT, env=dict(environment), stdout=stream, stderr=stream)


def _run(module: str, arguments: list[str], environment: dict[str, str], log: Path, without: tuple[str, ...]) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(environment)
    sys.modules.update(dict.fromkeys(without))  # type: ignore[arg-type]  # None: import raises ImportError
    sys.argv = [module, *arguments]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    runpy.run_module(module, run_name="__main__", alter_sys=True)
