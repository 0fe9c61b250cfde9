"""A service of this machine as a process: spawned, awaited, asked whether it answers, stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pipelines.errors import LocalError

PROJECT = Path(__file__).parents[3]
_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 30.0
_ANSWER_TIMEOUT_S = 30.0
"""After this long a service is taken for hung, and `up` starts it anew, with all that it runs: not merely because the machine is busy."""
_OF_THE_USER = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
"""Variables that no service gets: jobs read the token in the secret."""
_DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Service:
    """A process of ours, and where it listens: what it printed when it was ready, empty until then."""

    name: str
    pid: int
    url: str = ""

    @property
    def exists(self) -> bool:
        """Whether its process is there. A number that the system has given to another program since is not."""
        return self.name in _command_line(self.pid)

    @property
    def is_running(self) -> bool:
        """Whether it is there, was ready, and answers."""
        if not self.url or not self.exists:
            return False
        try:
            _DIRECTLY.open(self.url, timeout=_ANSWER_TIMEOUT_S).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True


def open_private(path: Path, mode: str) -> IO[Any]:
    """Open a file for writing that only its owner can read, new or not."""
    file = open(path, mode, opener=lambda name, flags: os.open(name, flags, 0o600))  # noqa: SIM115 -- the caller's to close
    os.fchmod(file.fileno(), 0o600)
    return file


def spawn(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    """Start Python with these arguments as a process that outlives this one; what it prints goes to `log`, its owner's alone like all it writes."""
    with open_private(log, "wb") as output:
        return subprocess.Popen(
            [sys.executable, *command],
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C stops the command, not production
            umask=0o077,
            env={name: value for name, value in os.environ.items() if name not in _OF_THE_USER},
        )


def wait_until_ready(name: str, process: subprocess.Popen[bytes], log: Path) -> Service:
    """Wait for the line `NAME=URL` that each service prints when it is ready.

    Raises:
        LocalError: It ended, or was not ready in time; with the end of its log.
    """
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        for line in log.read_text(errors="replace").splitlines():
            variable, _, url = line.partition("=")
            if variable in {"AWS_ENDPOINT_URL", "HF_ENDPOINT"} and url.startswith("http"):
                return Service(name, process.pid, url)
        if process.poll() is not None:
            break
        time.sleep(0.05)
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
    raise LocalError(f"{name} did not start; the end of its log, {log}:\n{tail}")


def stop(services: Iterable[Service]) -> list[str]:
    """Send SIGTERM, and SIGKILL to what is still there after a while; return the names of those that ran."""
    ran = [service for service in services if service.exists]
    for service in ran:
        _signal(service, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_TIMEOUT_S
    for service in ran:
        while service.exists and time.monotonic() < deadline:
            time.sleep(0.05)
        if service.exists:
            _signal(service, signal.SIGKILL)
    return [service.name for service in ran]


def _signal(service: Service, number: signal.Signals) -> None:
    """Send a signal; one that has ended by itself since the look is gone, too."""
    with suppress(ProcessLookupError):
        os.kill(service.pid, number)


def _command_line(pid: int) -> str:
    """Return the words that a process was started with; empty when there is none, or only its exit code is left."""
    if not Path("/proc/self").exists():
        listed = subprocess.run(
            ["ps", "-p", str(pid), "-o", "stat=,command="], capture_output=True, text=True, check=False
        ).stdout
        return "" if listed.startswith("Z") else listed
    try:  # Linux, where small images have no `ps`
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
