"""One process measured: wall clock, CPU seconds, peak memory, bytes on disk."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_SAMPLE_S = 0.1


@dataclass(frozen=True)
class Measured:
    """What a run took. CPU and memory are the process's and its children's; disk is the largest its own folder was."""

    wall_s: float
    cpu_s: float
    peak_rss_bytes: int
    disk_bytes: int


def run(command: Sequence[str], environment: dict[str, str], folder: Path) -> Measured:
    """Run a command that writes nowhere but below `folder`. RuntimeError with its output when it fails."""
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
        started = time.monotonic()
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.monotonic() - started
    done.set()
    watcher.join()
    if status != 0:
        raise RuntimeError(f"{' '.join(command)} failed: {log.read_text()[-2000:]}")
    largest = max(largest, _disk_bytes(folder))
    return Measured(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, largest)


def _disk_bytes(folder: Path) -> int:
    total = 0
    for directory, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(directory, name)).st_blocks * 512  # noqa: PTH116, PTH118
            except FileNotFoundError:
                continue  # renamed or removed while we looked
    return total
