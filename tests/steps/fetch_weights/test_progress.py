"""How far a fetch is: at a terminal one live line, in a log one line after another."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

import pytest

from steps.fetch_weights.progress import FetchProgress, duration, size
from tests.support.worlds import fetching

SCRIPT = """
import logging
import sys
from delivery.errors import DeliveryError
from delivery.job import frame

logger = logging.getLogger("steps.any")

def step(arguments):
    logger.info("starting")
    for n in range(3):
        frame.progress(f"{n} of 3")
    logger.warning("a try failed")
    frame.progress("3 of 3")
    if arguments:
        raise DeliveryError("it broke")

sys.exit(frame.main(step, sys.argv[1:]))
"""


def test_the_rate_of_each_leg_the_files_and_the_time_left() -> None:
    now = [0.0]
    seen = FetchProgress(lambda: now[0])
    seen.expect(files=12, total_bytes=1_000_000_000)
    assert seen.line() == "0 B of 1.0 GB, Hub 0 B/s, S3 0 B/s, 0 of 12 files"
    now[0] = 2
    seen.add(downloaded=500_000_000, uploaded=400_000_000, files=3)
    assert seen.line() == "400.0 MB of 1.0 GB, Hub 250.0 MB/s, S3 200.0 MB/s, 3 of 12 files, 2 s left"


def test_rates_are_of_the_last_ten_seconds() -> None:
    now = [0.0]
    seen = FetchProgress(lambda: now[0])
    seen.expect(files=2, total_bytes=4_000_000_000)
    for second in range(1, 31):
        now[0] = second
        seen.add(downloaded=0 if second > 16 else 250_000_000, uploaded=100_000_000)
        line = seen.line()
    assert line == "3.0 GB of 4.0 GB, Hub 0 B/s, S3 100.0 MB/s, 0 of 2 files, 10 s left"


def test_sizes_and_durations_for_a_reader() -> None:
    assert [size(n) for n in (0, 999, 98_400_000, 1.4e12)] == ["0 B", "999 B", "98.4 MB", "1.40 TB"]
    assert [duration(n) for n in (4.4, 200, 7500)] == ["4 s", "3 min 20 s", "2 h 5 min"]


def test_a_log_has_one_line_after_another() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=fetching.ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "starting",
        "progress: 0 of 3",
        "progress: 1 of 3",
        "progress: 2 of 3",
        "a try failed",
        "progress: 3 of 3",
    ]


@pytest.mark.parametrize(("arguments", "end"), [([], ""), (["break"], "error: it broke\n")])
def test_a_terminal_has_one_line_drawn_again(arguments: list[str], end: str) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, *arguments], cwd=fetching.ROOT, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b"".join(iter(lambda: _read(ours), b"")).decode()
    os.close(ours)
    process.wait()
    assert "progress:" not in shown
    assert shown.count("\x1b[K") == 4
    on_screen = [re.sub(r".*\r\x1b\[K", "", line) for line in shown.replace("\r\n", "\n").split("\n")]
    assert "\n".join(on_screen) == f"starting\n2 of 3\na try failed\n3 of 3\n{end}"


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # EIO: nobody has the other end open any longer
        return b""
