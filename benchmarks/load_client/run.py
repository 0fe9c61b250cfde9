"""One client run against the server: its CPU while the load was on, and what it recorded beside what the server stamped."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SAMPLE_S = 0.1
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Level:
    """How much load."""

    streams: int
    itl_ms: float
    duration_s: float
    stall_ms: float = 0
    stall_every: int = 0


@dataclass(frozen=True)
class Cost:
    """What a run took."""

    tokens: int
    """Sent by the server."""
    load_cpu_s: float
    """CPU seconds of the client and all its processes, from its first request to its last token."""
    whole_cpu_s: float
    """The same from its start to its end: imports, tokenizers, reports."""
    server_late_p50_ms: float
    server_late_p99_ms: float

    @property
    def us_per_token(self) -> float:
        """CPU microseconds for one output token, while the load was on."""
        return self.load_cpu_s / self.tokens * 1e6


class StampingServer:
    """The server, as the benchmark speaks to it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def begin(self, level: Level) -> None:
        """Set the plan and forget what was before."""
        plan = {"itl_ms": level.itl_ms, "stall_ms": level.stall_ms, "stall_every": level.stall_every}
        self._call("PUT", "/plan", json.dumps(plan).encode())

    def told(self) -> dict[str, Any]:
        """Return what it did since."""
        return self._call("GET", "/truth", None)

    def _call(self, method: str, path: str, body: bytes | None) -> dict[str, Any]:
        with urllib.request.urlopen(urllib.request.Request(self.url + path, body, method=method), timeout=30) as answer:
            told: dict[str, Any] = json.load(answer)
            return told


def run(command: Sequence[str], folder: Path, environment: dict[str, str], truth: StampingServer, level: Level) -> Cost:
    """Run a client to its end. RuntimeError with the end of its output when it fails, or when the server saw no load."""
    truth.begin(level)
    log = folder / "output.log"
    samples: list[tuple[int, float]] = []
    done = threading.Event()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **environment}, stdout=output, stderr=subprocess.STDOUT
        )

        def watch() -> None:
            while not done.wait(_SAMPLE_S):
                samples.append((time.monotonic_ns(), _cpu_s(process.pid)))

        watcher = threading.Thread(target=watch)
        watcher.start()
        _, status, usage = os.wait4(process.pid, 0)
        done.set()
        watcher.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    told = truth.told()
    if process.returncode or not told["tokens"]:
        raise RuntimeError(
            f"{command[0]} ended with {process.returncode}, {told['tokens']} tokens sent: {log.read_text()[-1500:]}"
        )
    load = _between(samples, told["last_ns"]) - _between(samples, told["first_ns"])
    whole = usage.ru_utime + usage.ru_stime
    return Cost(told["tokens"], load, whole, told["late_p50_ms"], told["late_p99_ms"])


def _between(samples: list[tuple[int, float]], moment_ns: int) -> float:
    """Return the CPU seconds that had been used at a moment: between two samples, in proportion."""
    before = max((sample for sample in samples if sample[0] <= moment_ns), default=samples[0])
    after = min((sample for sample in samples if sample[0] > moment_ns), default=samples[-1])
    if after[0] <= before[0]:
        return before[1]
    share = (moment_ns - before[0]) / (after[0] - before[0])
    return before[1] + max(0.0, share) * (after[1] - before[1])


def _cpu_s(root: int) -> float:
    """Return what a process and its descendants have used so far, and those of these that ended and were waited for. Seconds."""
    stats = {int(name): stat for name in os.listdir("/proc") if name.isdigit() and (stat := _stat(name))}  # noqa: PTH208
    ticks = 0
    for number, (_, used) in stats.items():
        ancestor = number
        while ancestor != root and ancestor in stats:
            ancestor = stats[ancestor][0]
        ticks += used if ancestor == root else 0
    return ticks / _TICKS_PER_S


def _stat(number: str) -> tuple[int, int] | None:
    """Return a process's parent, and its CPU in clock ticks (proc(5): ppid, utime + stime + cutime + cstime); None when it is gone."""
    try:
        fields = Path(f"/proc/{number}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return int(fields[1]), sum(map(int, fields[11:15]))
