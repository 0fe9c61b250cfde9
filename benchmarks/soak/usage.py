"""What the stack uses, by /proc: its two services, and everything that they started."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Usage:
    """What is in use between two releases."""

    releases: int
    """How many were done."""
    sagemaker_mib: float
    """Resident memory of sagemaker_local."""
    hub_mib: float
    """Resident memory of local_hub."""
    open_files: int
    """Of both services."""
    processes: int
    """Both services' own, and those that they started and that are still there."""
    temp_files: int
    """Files and folders below TMPDIR."""
    temp_mib: float
    state_mib: float
    """The whole state folder: buckets, logs and records, which are to be kept."""


def usage(releases: int, state: Path, temp: Path, pids: tuple[int, int]) -> Usage:
    """Measure a stack.

    Args:
        releases: How many were done.
        state: Its state folder.
        temp: What it has as TMPDIR.
        pids: The processes of sagemaker_local and local_hub.

    Returns:
        What it uses now.
    """
    below = list(temp.rglob("*"))
    return Usage(
        releases,
        _rss_mib(pids[0]),
        _rss_mib(pids[1]),
        sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids),
        len(descendants(pids)),
        len(below),
        _mib(below),
        _mib(state.rglob("*")),
    )


def descendants(pids: tuple[int, ...]) -> set[int]:
    """Return these processes and all that they started, except those of which only the exit code is left."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                status, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:
                continue  # it ended just now
            if status != "Z":
                parents[int(folder.name)] = int(parent)
    found = set(pids)
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def cpu_s(pids: tuple[int, ...]) -> float:
    """Return the CPU time in seconds that these processes took, and those of what they started that has ended."""
    ticks = 0
    for pid in pids:
        # utime, stime, cutime, cstime: fields 14 to 17 of proc_pid_stat(5), of which the third is the first after the name.
        ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def command_lines(pids: set[int]) -> list[str]:
    """Return the beginnings of the command lines of these processes, but for those that have ended."""
    found = []
    for pid in sorted(pids):
        try:
            line = (Path("/proc") / str(pid) / "cmdline").read_bytes()
        except OSError:
            continue
        found.append(line.replace(b"\0", b" ").decode(errors="replace")[:120].strip())
    return found


def _rss_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0]) / 1024


def _mib(paths: object) -> float:
    total = 0
    for path in paths:  # type: ignore[attr-defined]
        try:
            total += path.lstat().st_size
        except OSError:
            continue  # it was deleted just now
    return total / 2**20
