"""`python -m benchmarks.coordination`: how hosts of one job start together and miss one another, over S3 and on a network of their own.

Hosts are processes on this machine, so that one monotonic clock stamps all: no skew between real hosts' clocks is in the figures, for
nobody. Ours runs the product's own code against SeaweedFS, with 20 to 50 ms added to each request. Ray and pyzmq are installed below
build/benchmarks when first run (260 MB). Of each: how far apart hosts start, when told by a message ("message") and when told a moment
beforehand ("moment", the only way of ours); how long the first host waits from its wish to start until all have started; when it knows
that a host was killed (SIGKILL) or stands still (SIGSTOP, which is what a lost instance looks like: no connection is closed) and the
others that the first one was; CPU time and memory of coordinating, beyond the process that does the work; the lines of code of ours.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.coordination.figures import Spread, code_lines, of_all, skews_ms
from benchmarks.coordination.notes import HOLD_S
from benchmarks.coordination.ours import TIMING
from benchmarks.coordination.processes import ROOT, Usage, started
from benchmarks.load_client.peers import install
from tests.support.worlds import fetching

HERE = Path(__file__).parent
_UP_S, _FOUND_S = 420.0, 120.0
_SETTLED_S = (6.0, 11.0)
"""When a host is lost, from when all have joined: longer than a heartbeat takes, and anywhere between two."""
_runs = itertools.count()


@dataclass(frozen=True)
class Contender:
    """One way to coordinate."""

    name: str
    program: str
    """The module that a host runs."""
    python: Path = Path(sys.executable)
    environment: Mapping[str, str] = field(default_factory=dict)
    side_by_side: int = 2
    """How many runs in which a host is lost are made at the same time."""

    def commands(self, count: int, folder: Path, kind: str, starts: int) -> list[list[str]]:
        """Return what each host runs."""
        rest = [str(count), str(folder), kind, str(starts)]
        return [[str(self.python), "-m", self.program, str(index), *rest] for index in range(count)]


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coordination", description=__doc__)
    parser.add_argument("--hosts", type=int, nargs="*", default=[2, 4, 8])
    parser.add_argument("--starts", type=int, default=30)
    parser.add_argument("--losses", type=int, default=3, help="how often a host is killed, and stopped (default 3)")
    parser.add_argument("--lose-of", type=int, default=2, help="of how many hosts one is lost (default 2)")
    parser.add_argument("--only", nargs="*", choices=["ours", "ray", "pyzmq"], default=["ours", "ray", "pyzmq"])
    parser.add_argument("--cache", type=Path, default=ROOT / "build" / "benchmarks" / "coordination")
    given = parser.parse_args()
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {platform.platform(terse=True)}, Python {platform.python_version()}"
    )
    with tempfile.TemporaryDirectory(prefix="hosts-") as name, fetching.seaweed(Path(name) / "s3") as s3:
        contenders = _contenders(given.only, given.cache, s3)
        folder = Path(name)
        print(f"\n{given.starts} starts of hosts that have joined; CPU and memory are a host's, the mean of all")
        print(f"  {'':22}{'hosts':>6}{'joined':>8}{'message: p50':>14}{'max':>7}{'moment: p50':>13}{'max ms':>8}", end="")
        print(f"{'to start: p50':>15}{'max s':>7}{'CPU s to join':>15}{'ms/minute':>11}{'MB':>6}")
        for contender in [one for one in contenders if not one.name.endswith(")")]:
            for count in given.hosts:
                _attempt(contender.name, partial(_starts, contender, count, given.starts, folder))
        if given.losses:
            print(f"\nOne of {given.lose_of} hosts is lost, {given.losses} times each; seconds until another one knows")
        for contender in contenders if given.losses else ():
            _attempt(contender.name, partial(_losses, contender, given.lose_of, given.losses, folder))
    _print_lines()


def _contenders(names: Sequence[str], cache: Path, s3: str) -> list[Contender]:
    """Those of `names` that can be had here, some of them once more with shorter limits."""
    found = []
    access = {"AWS_ENDPOINT_URL": s3, "AWS_ACCESS_KEY_ID": "test-key", "AWS_SECRET_ACCESS_KEY": "test-secret"}
    if "ours" in names:
        ours = Contender("ours, S3", "benchmarks.coordination.ours", environment=access, side_by_side=12)
        found += [
            ours,
            Contender("ours (5 s of silence)", ours.program, environment={**access, TIMING: "1 5 1"}, side_by_side=12),
        ]
    quick = {f"RAY_health_check_{name}": value for name, value in _RAY_QUICK.items()}
    for name in names:
        if name == "ours":
            continue
        try:
            python = install(name, cache, HERE / "peers") / "bin" / "python"
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"{name} cannot be installed here and is left out: {error}")
            continue
        program = f"benchmarks.coordination.peers.{name}_program"
        found.append(Contender(name, program, python, side_by_side=2 if name == "ray" else 12))
        if name == "ray":
            found.append(Contender("ray (5 checks of 1 s)", program, python, environment=quick))
    return found


_RAY_QUICK = {"initial_delay_ms": "1000", "period_ms": "1000", "timeout_ms": "1000", "failure_threshold": "5"}


def _attempt(name: str, measure: Callable[[], None]) -> None:
    try:
        measure()
    except RuntimeError as error:
        print(f"  {name} FAILED: {error}", flush=True)


def _starts(contender: Contender, count: int, starts: int, folder: Path) -> None:
    """Start often, hold, and print what that took."""
    run = _folder(folder)
    with started(contender.commands(count, run, "starts", starts), contender.environment, run) as hosts:
        base = [hosts.wait("base", index, _UP_S) for index in range(count)]
        up = [hosts.wait("up", index, _UP_S) for index in range(count)]
        joined, failed, use = hosts.usage(), "", _Idle(math.nan, math.nan)
        try:
            hosts.wait("on", 0, 60 + 20 * starts)
            on = hosts.usage()
            hosts.wait("done", 0, HOLD_S + 60)
            use = _Idle.of(on, hosts.usage(), base)
        except RuntimeError as error:
            failed = str(error)
        by_message, by_moment = hosts.stamps("message"), hosts.stamps("moment")
        [told] = hosts.stamps("told")
    message, moment = Spread.of(skews_ms(of_all(by_message))), Spread.of(skews_ms(of_all(by_moment)[:starts]))
    first = of_all(by_message) or of_all(by_moment)[:starts]  # the sooner of the two ways that it has
    to_start = Spread.of([(max(moments) - told[number]) / 1e9 for number, moments in enumerate(first)])
    cpu_s = sum(after.cpu_s - note["cpu_s"] for after, note in zip(joined, base, strict=True)) / count
    joined_s = (max(note["at_ns"] for note in up) - min(note["at_ns"] for note in base)) / 1e9
    print(f"  {contender.name:22}{count:>6}{joined_s:>7.1f}s{message.p50:>14.2f}{message.most:>7.1f}{moment.p50:>13.2f}", end="")
    print(
        f"{moment.most:>8.1f}{to_start.p50:>15.3f}{to_start.most:>7.2f}{cpu_s:>15.2f}{use.minute_ms:>11.0f}{use.megabytes:>6.0f}"
    )
    if failed:
        print(f"  {'':22}after {moment.count} starts it FAILED: {failed}")
    sys.stdout.flush()


@dataclass(frozen=True)
class _Idle:
    """What a host, the mean of all, uses while a load is on."""

    minute_ms: float
    """CPU time of a minute. Milliseconds."""
    megabytes: float

    @classmethod
    def of(cls, before: Sequence[Usage], after: Sequence[Usage], base: Sequence[Mapping[str, Any]]) -> _Idle:
        """From what was used at the hold's begin and at its end, and by the programs before they joined."""
        cpu_s = sum(later.cpu_s - earlier.cpu_s for earlier, later in zip(before, after, strict=True)) / len(base)
        memory = sum(later.pss_bytes - note["pss"] for later, note in zip(after, base, strict=True)) / len(base)
        return cls(cpu_s / HOLD_S * 60e3, memory / 1e6)


def _losses(contender: Contender, count: int, times: int, folder: Path) -> None:
    """Lose hosts, and print when that was found."""
    cases = (
        ("killed", "lose", signal.SIGKILL, count - 1),
        ("stopped", "lose", signal.SIGSTOP, count - 1),
        ("the first killed", "idle", signal.SIGKILL, 0),
        ("the first stopped", "idle", signal.SIGSTOP, 0),
    )
    pool = ThreadPoolExecutor(contender.side_by_side)
    found = [
        (title, [pool.submit(_loss, contender, count, kind, number, victim, _folder(folder)) for _ in range(times)])
        for title, kind, number, victim in cases
    ]
    pool.shutdown(wait=False)
    for title, runs in found:
        try:
            seconds, texts = zip(*(run.result() for run in runs), strict=True)
        except BaseException:
            pool.shutdown(cancel_futures=True)  # waits for those under way, whose hosts would outlive this
            raise
        spread = Spread.of([second for second in seconds if second is not None])
        unfound = f"; {seconds.count(None)} times not within {_FOUND_S:.0f} s" if None in seconds else ""
        print(
            f"  {contender.name:22}{title:18} p50 {spread.p50:6.1f}  max {spread.most:6.1f}{unfound}  ({texts[0][:90]})",
            flush=True,
        )


def _loss(
    contender: Contender, count: int, kind: str, number: signal.Signals, victim: int, folder: Path
) -> tuple[float | None, str]:
    """Seconds until the first host, or the second where the first is lost, says that a host is gone (None: never), and what it says."""
    witness = 0 if victim else 1
    with started(contender.commands(count, folder, kind, 0), contender.environment, folder) as hosts:
        hosts.wait("up", 0, _UP_S)
        if kind == "lose":
            hosts.wait("on", 0, _UP_S)
        for index in range(count):
            hosts.wait("up", index, _UP_S)
        time.sleep(random.uniform(*_SETTLED_S))
        at_ns = hosts.signal(victim, number)
        try:
            lost = hosts.wait("lost", witness, _FOUND_S)
        except RuntimeError:
            return None, "nothing said"
        return (lost["at_ns"] - at_ns) / 1e9, lost["text"].splitlines()[0]


def _folder(folder: Path) -> Path:
    made = folder / f"r{next(_runs)}"
    made.mkdir()
    return made


def _print_lines() -> None:
    ours = [*(ROOT / "steps/evaluate_staging/coordination").glob("*.py"), ROOT / "delivery/job/host_registry.py"]
    print("\nLines of code, without comments and docstrings")
    for path in [*ours, *(HERE / "peers").glob("*_program.py")]:
        print(f"  {code_lines(path):>5}  {path.relative_to(ROOT)}")
    print(
        f"  {sum(map(code_lines, ours)):>5}  of ours; a peer's program starts and misses hosts, but hands on no load and brings no results back"
    )


if __name__ == "__main__":
    main()
