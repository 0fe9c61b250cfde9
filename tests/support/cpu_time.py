"""What a command costs beside a bare one in the same moments: CPU time, too, is longer on a busy machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_TRIES = 6


def costs_at_most(
    times: float, ours: Sequence[str], bare: Sequence[str], check: Callable[[subprocess.CompletedProcess[str], bool], None]
) -> None:
    """Fail unless a Python command takes at most so many times the CPU time of a bare one just before it, in one of some tries.

    Each is compared with its neighbour: on a shared machine the same command may take twice as long a second later.

    Args:
        times: The bound.
        ours: Python's arguments.
        bare: Python's arguments of the bare one.
        check: Asserts that a run did what it is for; the second argument is whether it was ours.
    """

    def cpu_s(arguments: Sequence[str]) -> float:
        before = os.times()
        done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
        after = os.times()
        check(done, arguments is ours)
        return after.children_user + after.children_system - before.children_user - before.children_system

    pairs = list[str]()
    for _ in range(_TRIES):
        bare_s, ours_s = cpu_s(bare), cpu_s(ours)
        if ours_s < times * bare_s:
            return
        pairs.append(f"{ours_s:.2f} s of CPU, and the bare command {bare_s:.2f} s")
    pytest.fail("\n".join(pairs))
