"""`python -m benchmarks.gate`: in how many simulated runs a 95 % interval holds the truth.

For p50, p95 and p99 of TTFT, ITL and E2E, rates and shares, in a closed loop and in open loops at 60, 80 and 90 % of what the engine (see
`engine`) completes at most, measured for 60, 300 and 900 s. The truth is that of a very long simulation of the same engine at the same speed;
each run draws its own. *covers*: 93 to 98 % of the intervals hold it; *too short*: most of them say that they have no end; *wide*: more than
98 % hold it, which costs time and refuses nobody; *MISSED*: fewer than 93 % do, and the exit code is 1.

With `--looks 3` each run is looked at three times, twice as long each time, as a load is that is measured until it decides: all three intervals
must hold the truth.

With `--ratios` pairs of runs are decided as an objective is that allows production's 1.1 times (see `ratios`): the same engine twice, and one that
is twice the tolerance slower. The exit code is 1 where the same engine is refused, or the slower one passed, in more than 2 % of the pairs, over all
objectives of a load together. *undecided*, and how far off the ratio may be, say what a duration is good for.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

import numpy

from benchmarks.gate import coverage, ratios
from benchmarks.gate.engine import Engine
from loadtest.profiles import LOOKS_AT_MOST

_LOADS = ["closed", "open60", "open80", "open90"]


_TOLERANCE, _ERRORS_AT_MOST = 1.1, 0.02


def main(words: list[str] | None = None) -> int:
    """Print the table; the exit code."""
    arguments = _parsed(words)
    return _decisions(arguments) if arguments.ratios else _coverage(arguments)


def _decisions(arguments: argparse.Namespace) -> int:
    began, engine, wrong = time.monotonic(), Engine(), 0
    print(
        f"{arguments.runs} pairs a line; at most {_TOLERANCE:g} times a latency, at least a {_TOLERANCE:g}th of a rate, is allowed"
    )
    print(
        f"{'load':8} {'time':>6} {'baseline':11} {'slower':>6}  {'metric':20} {'passed':>7} {'refused':>8} {'undecided':>10} {'reach':>7}"
    )
    for name, load in coverage.loads(engine, arguments.loads, arguments.seed).items():
        for duration_s in arguments.durations:
            for baseline in ("interleaved", "stored"):
                for slower in (1.0, 1 + 2 * (_TOLERANCE - 1)):
                    outcomes = list(
                        ratios.measure(
                            engine, load, pairs=arguments.runs, duration_s=duration_s, seed=arguments.seed, slower=slower,
                            tolerance=_TOLERANCE, is_stored=baseline == "stored",
                        )
                    )  # fmt: skip
                    for one in outcomes:
                        reach = float(numpy.median(one.halves))
                        print(
                            f"{name:8} {duration_s:4.0f} s {baseline:11} {slower:6.2f}  {one.metric:20} {one.met / one.pairs:7.1%} "
                            f"{one.missed / one.pairs:8.1%} {one.undecided / one.pairs:10.1%} {reach:7.1%}",
                            flush=True,
                        )
                    wrong += _are_wrong(outcomes, slower)
    print(f"{wrong} of the cells wrong ({time.monotonic() - began:.0f} s)")
    return int(wrong > 0)


def _are_wrong(outcomes: list[ratios.Outcome], slower: float) -> bool:
    """Tell whether the same engine is refused, or a slower one passed, too often. Rates of an open loop are those of its arrivals: no speed shows."""
    if slower == 1:
        return sum(one.missed for one in outcomes) > _ERRORS_AT_MOST * outcomes[0].pairs
    latencies = [one for one in outcomes if one.metric.endswith("_ms")]
    return max(one.met for one in latencies) > _ERRORS_AT_MOST * outcomes[0].pairs


def _coverage(arguments: argparse.Namespace) -> int:
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
    parser.add_argument("--ratios", action="store_true", help="decide pairs of runs, one beside the other")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
