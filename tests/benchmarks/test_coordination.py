"""The arithmetic of `benchmarks.coordination`."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.coordination.figures import Spread, code_lines, of_all, skews_ms
from benchmarks.coordination.notes import Task
from benchmarks.coordination.processes import started
from tests.support.waiting import HANG_S

PROGRAM = """
import subprocess, sys, time
from benchmarks.coordination.notes import Task
task = Task.parse(sys.argv[1:])
child = subprocess.Popen(["sleep", "60"])
task.stamp("moment", 0, 1_000 * task.index)
task.note("up", str(child.pid))
time.sleep(60)
"""


def test_skew_is_from_the_first_host_of_a_start_to_its_last() -> None:
    assert skews_ms(of_all([{0: 0, 1: 5_000_000}, {1: 4_000_000, 0: 2_000_000}, {0: 500_000, 1: 9_000_000}])) == [2.0, 5.0]


def test_a_start_that_a_host_did_not_make_is_no_skew() -> None:
    assert skews_ms(of_all([{0: 0, 1: 1}, {0: 3_000_000}])) == [3.0]
    assert of_all([]) == []


def test_the_middle_of_an_even_number_lies_between_two() -> None:
    assert Spread.of([4, 1, 3, 2]) == Spread(2.5, 4, 4)
    assert Spread.of([7, 1, 3]) == Spread(3, 7, 3)
    assert math.isnan(Spread.of([]).p50)


def test_code_is_what_is_neither_blank_nor_comment_nor_docstring(tmp_path: Path) -> None:
    source = tmp_path / "source.py"
    source.write_text(
        '"""Module.\n\nTwo lines more.\n"""\n\n# comment\nVALUE = """kept\ntext"""\n\n\ndef f() -> int:\n    """Doc."""\n    return 1\n'
    )
    assert code_lines(source) == 4


def test_a_host_is_lost_with_all_that_it_started(tmp_path: Path) -> None:
    commands = [[sys.executable, "-c", PROGRAM, str(index), "2", str(tmp_path), "starts", "1"] for index in range(2)]
    with started(commands, {}, tmp_path) as hosts:
        children = [int(hosts.wait("up", index, HANG_S)["text"]) for index in range(2)]
        assert skews_ms(of_all(hosts.stamps("moment"))) == [0.001]
        assert all(use.pss_bytes > 0 for use in hosts.usage())
        before_ns = time.monotonic_ns()
        assert before_ns <= hosts.signal(1, signal.SIGKILL) <= time.monotonic_ns()
        hosts.processes[1].wait(HANG_S)
        assert state(children[0]) == "S"
        assert state(children[1]) in {"Z", ""}
    assert state(children[0]) in {"Z", ""}, "at the end all are gone"


def state(process: int) -> str:
    """A process's state as ps shows it; empty when it is gone."""
    return subprocess.run(["ps", "-o", "s=", "-p", str(process)], capture_output=True, text=True, check=False).stdout.strip()


def test_a_task_is_what_its_arguments_say() -> None:
    assert Task.parse(["1", "4", os.sep, "lose", "0"]) == Task(1, 4, Path(os.sep), "lose", 0)
