"""`python -m benchmarks.gate`: in how many simulated runs a 95 % interval holds the truth.

For p50, p95 and p99 of TTFT, ITL and E2E, rates and shares, in a closed loop and in open loops at 60, 80 and 90 % of what the engine (see
`engine`) completes at most, measured for 60, 300 and 900 s. The truth is that of a very long simulation of the same engine at the same speed;
each run draws its own. *covers*: 93 to 98 % of the intervals hold it; *too short*: most of them say that they have no end; *wide*: more than
98 % hold it, which costs time and refuses nobody; *MISSED*: fewer than 93 % do, and the exit code is 1.

With `--looks 3` each run is looked at three times, twice as long each time, as a load is that is measured until it decides: all three intervals
must hold the truth.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

import numpy

from benchmarks.gate import coverage
from benchmarks.gate.engine import Engine
from loadtest.profiles import LOOKS_AT_MOST

_LOADS = ["closed", "open60", "open80", "open90"]


def main(words: list[str] | None = None) -> int:
    """Print the table; the exit code."""
    arguments = _parsed(words)
    began, engine = time.monotonic(), Engine()
    standings: Counter[str] = Counter()
    error = (0.95 * 0.05 / arguments.runs) ** 0.5
    print(f"{arguments.runs} runs a line; the standard error of a share of 95 % is {error:.1%}")
    print(f"{'load':8} {'time':>6}  {'metric':16} {'held':>7} {'no end':>7} {'width':>7}")
    for number, (name, load) in enumerate(coverage.loads(engine, arguments.loads, arguments.seed).items()):
        seed = arguments.seed + 10 * (number + 1)
        measured = coverage.measure(
            engine, load, runs=arguments.runs, durations_s=arguments.durations, seed=seed, looks=arguments.looks
        )
        for duration_s, cells in measured:
            for cell in cells:
                width = float(numpy.median(cell.widths))
                print(
                    f"{name:8} {duration_s:4.0f} s  {cell.metric:16} {cell.held_share:7.1%} {cell.endless / cell.runs:7.0%} "
                    f"{width:7.1%}  {cell.standing}",
                    flush=True,
                )
                standings[cell.standing] += 1
    print(
        ", ".join(f"{count} {standing}" for standing, count in sorted(standings.items())), f"({time.monotonic() - began:.0f} s)"
    )
    return int(standings["MISSED"] > 0)


def _parsed(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gate", description="How often 95 %% intervals hold the truth.")
    parser.add_argument("--runs", type=int, default=400, help="simulated runs of each load")
    parser.add_argument("--loads", nargs="+", choices=_LOADS, default=_LOADS)
    parser.add_argument("--durations", nargs="+", type=float, default=[60.0, 300.0, 900.0], help="seconds")
    parser.add_argument("--looks", type=int, choices=range(1, LOOKS_AT_MOST + 1), default=1, help="of which all must hold it")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
