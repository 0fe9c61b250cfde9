"""One process measured: wall clock, CPU seconds, peak memory, bytes on disk; and what the servers that it talks to spend meanwhile."""

from __future__ import annotations

import os
import statistics
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_SAMPLE_S = 0.1


@dataclass(frozen=True)
class Measured:
    """What a run took. CPU and memory are the process's and its children's; disk is the largest its own folder was."""

    wall_s: float
    cpu_s: float
    servers_cpu_s: float
    """What the Hub and the S3 sink spent on it: they share the machine with it."""
    peak_rss_bytes: int
    disk_bytes: int

    @classmethod
    def middle(cls, runs: Sequence[Self]) -> Self:
        """Return the median of times, the most of memory and disk."""
        return cls(
            statistics.median(m.wall_s for m in runs),
            statistics.median(m.cpu_s for m in runs),
            statistics.median(m.servers_cpu_s for m in runs),
            max(m.peak_rss_bytes for m in runs),
            max(m.disk_bytes for m in runs),
        )


def run(command: Sequence[str], environment: dict[str, str], folder: Path, servers: Sequence[int]) -> Measured:
    """Run a command that writes nowhere but below `folder`; `servers` are process ids. RuntimeError with its output when it fails."""
    log = folder.with_suffix(".log")
    largest = 0
    done = threading.Event()

    def watch() -> None:
        nonlocal largest
        while not done.wait(_SAMPLE_S):
            largest = max(largest, _disk_bytes(folder))

    watcher = threading.Thread(target=watch)
    watcher.start()
    with log.open("wb") as output:
        servers_before = sum(map(_cpu_s, servers))
        started = time.monotonic()
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.monotonic() - started
        servers_cpu_s = sum(map(_cpu_s, servers)) - servers_before
    done.set()
    watcher.join()
    if status != 0:
        raise RuntimeError(f"{' '.join(command)} failed: {log.read_text()[-2000:]}")
    largest = max(largest, _disk_bytes(folder))
    return Measured(wall_s, usage.ru_utime + usage.ru_stime, servers_cpu_s, usage.ru_maxrss * 1024, largest)


def _cpu_s(process: int) -> float:
    """CPU seconds of a living process: fields 14 and 15 of /proc/PID/stat (proc(5)), counted behind the name, which may hold blanks."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _disk_bytes(folder: Path) -> int:
    total = 0
    for directory, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(directory, name)).st_blocks * 512  # noqa: PTH116, PTH118
            except FileNotFoundError:
                continue  # renamed or removed while we looked
    return total
