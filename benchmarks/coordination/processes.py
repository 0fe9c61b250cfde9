"""The hosts of one run, as processes with all that they start: made, watched, killed or stopped."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.coordination.notes import pss_bytes

ROOT = Path(__file__).parents[2]
_POLL_S = 0.02
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """What a host and all that it started have used so far."""

    cpu_s: float
    pss_bytes: int


@dataclass(frozen=True)
class Hosts:
    """The hosts of one run."""

    folder: Path
    processes: Sequence[subprocess.Popen[bytes]]

    def wait(self, name: str, index: int, within_s: float) -> dict[str, Any]:
        """Wait for a host's note. RuntimeError with the end of its output when it does not come, or with why it failed."""
        path, deadline = self.folder / f"{name}-{index}.json", time.monotonic() + within_s
        while not path.exists():
            if (failed := self.folder / f"failed-{index}.json").exists():
                raise RuntimeError(json.loads(failed.read_bytes())["text"])
            if time.monotonic() > deadline:
                log = (self.folder / f"log-{index}").read_text(errors="replace")[-300:]
                raise RuntimeError(f"host {index} wrote no {name!r} within {within_s:.0f} s: {log}")
            time.sleep(_POLL_S)
        found: dict[str, Any] = json.loads(path.read_bytes())
        return found

    def stamps(self, how: str) -> list[dict[int, int]]:
        """For each host the moments of its starts, nanoseconds; hosts that made none of that kind are left out."""
        found = []
        for path in sorted(self.folder.glob("stamps-*.jsonl")):
            stamps = [json.loads(line) for line in path.read_text().splitlines()]
            found.append({stamp["number"]: stamp["at_ns"] for stamp in stamps if stamp["how"] == how})
        return [host for host in found if host]

    def usage(self) -> list[Usage]:
        """Read what each host has used so far."""
        used = []
        for process in self.processes:
            tree = descendants(process.pid)
            ticks = sum(stat[1] for number in tree if (stat := _stat(number)))
            used.append(Usage(ticks / _TICKS_PER_S, sum(map(pss_bytes, tree))))
        return used

    def signal(self, index: int, number: signal.Signals) -> int:
        """Send a host and all that it started a signal; returns when, on the monotonic clock. Nanoseconds."""
        at_ns = time.monotonic_ns()
        for process in descendants(self.processes[index].pid):
            with suppress(ProcessLookupError):
                os.kill(process, number)
        return at_ns


@contextmanager
def started(commands: Sequence[Sequence[str]], environment: Mapping[str, str], folder: Path) -> Iterator[Hosts]:
    """Hosts as processes; at the end all that they started is killed."""
    variables = {**os.environ, **environment, "PYTHONPATH": str(ROOT), "BENCHMARK_PORT": str(_free_port())}
    processes = []
    for index, command in enumerate(commands):
        with (folder / f"log-{index}").open("wb") as log:
            processes.append(subprocess.Popen(command, cwd=ROOT, env=variables, stdout=log, stderr=log))
    hosts = Hosts(folder, processes)
    try:
        yield hosts
    finally:
        for index, process in enumerate(processes):
            hosts.signal(index, signal.SIGKILL)
            process.wait()


def descendants(root: int) -> list[int]:
    """List a process and all that descend from it."""
    parents = {int(name): stat[0] for name in os.listdir("/proc") if name.isdigit() and (stat := _stat(int(name)))}  # noqa: PTH208
    found = [root]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def _stat(number: int) -> tuple[int, int] | None:
    """Read a process's parent, and its CPU in clock ticks (proc(5): ppid, utime + stime + cutime + cstime); None when it is gone."""
    try:
        fields = Path(f"/proc/{number}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return int(fields[1]), sum(map(int, fields[11:15]))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
