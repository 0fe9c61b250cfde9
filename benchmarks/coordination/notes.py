"""What a host of a run writes down, on the clock that all processes of a machine share. Standard library only: peers import it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

HOLD_S = 20.0
"""How long hosts do nothing but live, for their CPU time meanwhile. Seconds."""
FOREVER_S = 3600.0
"""How long a load lasts in which a host is lost. Seconds."""


@dataclass(frozen=True)
class Task:
    """What a host's program is asked to do: `INDEX COUNT FOLDER KIND STARTS`."""

    index: int
    count: int
    folder: Path
    kind: str
    """`starts`: start so often, then hold. `lose`: start a load that does not end. `idle`: only be there."""
    starts: int

    @classmethod
    def parse(cls, arguments: Iterable[str]) -> Task:
        """Read the program's arguments."""
        index, count, folder, kind, starts = arguments
        return cls(int(index), int(count), Path(folder), kind, int(starts))

    def note(self, name: str, text: str = "") -> None:
        """Write that something has come about just now."""
        path = self.folder / f"{name}-{self.index}.json"
        made = path.with_suffix(".new")
        facts = {"at_ns": time.monotonic_ns(), "text": text, "cpu_s": time.process_time(), "pss": pss_bytes(os.getpid())}
        made.write_text(json.dumps(facts))
        made.rename(path)

    def stamp(self, how: str, number: int, at_ns: int, *, host: int | None = None) -> None:
        """Write that a host, this one if none is named, made its start `number` at that moment."""
        with (self.folder / f"stamps-{self.index if host is None else host}.jsonl").open("a") as lines:
            lines.write(json.dumps({"how": how, "number": number, "at_ns": at_ns}) + "\n")


def wait_until_wall(at_ns: int) -> int:
    """Sleep until a moment of the wall clock; returns the monotonic clock's then."""
    time.sleep(max(0.0, (at_ns - time.time_ns()) / 1e9))
    return time.monotonic_ns()


def pss_bytes(process: int) -> int:
    """Read a process's memory, what it shares counted in proportion (proc(5), smaps_rollup). Bytes."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
