"""How often a 95 % interval of one run holds what a very long run of the same engine measures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy

from benchmarks.gate.engine import SPEED_NODES, SPEED_WEIGHTS, Engine, Load, Runs, simulate
from loadtest.measurement.confidence import Interval, TimeSlices
from loadtest.measurement.long_run_variance import SLICES

HELD_AT_LEAST, HELD_AT_MOST = 0.93, 0.98
_WARMUP_S = 200.0
"""Ten times as long as the engine's queue remembers at 90 % load: what is left of the empty beginning is not what this measures."""
_LONGEST_ANSWER_S = 60.0
_SATURATING_CLIENTS, _SATURATED_RUNS, _SATURATED_S = 64, 50, 200.0
_QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_GOOD_SHARE = 0.9
"""Goodput counts the answers within the time that so many of all keep."""


@dataclass
class Cell:
    """One metric under one load for one duration, over all runs."""

    metric: str
    held: int = 0
    endless: int = 0
    """How many intervals have no end."""
    widths: list[float] = field(default_factory=list)
    """Against the truth."""
    runs: int = 0

    def add(self, intervals: Sequence[Interval | None], truth: float) -> None:
        """Count one run's intervals, one a look: all must hold the truth. How wide they are is the last one's to say."""
        found = [interval or (0.0, None) for interval in intervals]
        low, high = found[-1]
        self.runs += 1
        self.endless += high is None
        self.held += all(begin <= truth <= (math.inf if end is None else end) for begin, end in found)
        self.widths.append((math.inf if high is None else high - low) / truth)

    @property
    def held_share(self) -> float:
        """In which share of the runs the interval holds the truth."""
        return self.held / self.runs

    @property
    def standing(self) -> str:
        """`covers`; `too short` where most runs say that no end can be told; `wide`; `MISSED`: it holds the truth too seldom."""
        if self.held_share < HELD_AT_LEAST:
            return "MISSED"
        if self.endless > self.runs / 2:
            return "too short"
        return "wide" if self.held_share > HELD_AT_MOST else "covers"


def loads(engine: Engine, names: list[str], seed: int) -> dict[str, Load]:
    """Return the loads by name: `closed`, half of the places busy, or `open60`, of so many per cent of what the engine completes at most."""
    length_s = _WARMUP_S + _SATURATED_S
    full = simulate(engine, Load(clients=_SATURATING_CLIENTS), runs=_SATURATED_RUNS, duration_s=length_s, seed=seed)
    completed = ((full.ended_s >= _WARMUP_S) & (full.ended_s < length_s)).sum()
    capacity_per_s = float(completed) / _SATURATED_RUNS / _SATURATED_S
    return {
        name: Load(clients=engine.places // 2) if name == "closed" else Load(rate_per_s=capacity_per_s * int(name[4:]) / 100)
        for name in names
    }


def measure(
    engine: Engine, load: Load, *, runs: int, durations_s: list[float], seed: int, looks: int = 1
) -> Iterator[tuple[float, list[Cell]]]:
    """Simulate, and count how often intervals hold the truth.

    Args:
        engine: What is simulated.
        load: What is put on it.
        runs: How many runs are measured; as many others make the truth, each speed's from a third of them.
        durations_s: How long each is measured. Seconds; shorter ones are the beginning of the longest.
        seed: Of all that is drawn.
        looks: How many times each is looked at, twice as long each time.

    Yields:
        Each duration and its metrics.
    """
    longest_s = max(durations_s) * 2 ** (looks - 1)
    total_s = _WARMUP_S + longest_s + _LONGEST_ANSWER_S
    speeds = numpy.arange(runs) % len(SPEED_NODES)
    known = simulate(engine, load, runs=runs, duration_s=total_s, seed=seed, speeds=numpy.array(SPEED_NODES)[speeds])
    good_s = _good_within(known)
    truths = [_truth(known, numpy.flatnonzero(speeds == node), longest_s, good_s) for node in range(len(SPEED_NODES))]
    del known
    drawn = numpy.random.default_rng(seed + 1).choice(len(SPEED_NODES), size=runs, p=SPEED_WEIGHTS)
    seen = simulate(engine, load, runs=runs, duration_s=total_s, seed=seed + 2, speeds=numpy.array(SPEED_NODES)[drawn])
    for duration_s in durations_s:
        cells = [Cell(metric) for metric in truths[0]]
        for run in range(runs):
            found = [_intervals(_slices(seen, run, duration_s * 2**look, good_s, looks), truths[0]) for look in range(looks)]
            for cell in cells:
                cell.add([intervals[cell.metric] for intervals in found], truths[drawn[run]][cell.metric])
        yield duration_s, cells


def _good_within(known: Runs) -> float:
    taken = (known.ended_s - known.due_s)[known.due_s >= _WARMUP_S]
    return float(numpy.quantile(taken[~numpy.isnan(taken)], _GOOD_SHARE))


def _truth(known: Runs, runs: Any, longest_s: float, good_s: float) -> dict[str, float]:
    """Put runs together as one very long one."""
    end_s = _WARMUP_S + longest_s
    due, first, ended = known.due_s[runs], known.first_s[runs], known.ended_s[runs]
    is_due = (due >= _WARMUP_S) & (due < end_s) & ~numpy.isnan(ended)
    is_iteration = (known.iteration_ended_s[:, runs] >= _WARMUP_S) & (known.iteration_ended_s[:, runs] < end_s)
    gaps, decoding = known.iteration_s[:, runs][is_iteration], known.decoding[:, runs][is_iteration].astype(float)
    order = numpy.argsort(gaps)
    ranks = numpy.cumsum(decoding[order])
    found: dict[str, float] = {}
    for name, share in _QUANTILES.items():
        found[f"ttft_{name}"] = float(numpy.quantile((first - due)[is_due], share, method="inverted_cdf"))
        found[f"e2e_{name}"] = float(numpy.quantile((ended - due)[is_due], share, method="inverted_cdf"))
        found[f"itl_{name}"] = float(gaps[order][numpy.searchsorted(ranks, share * ranks[-1])])
    measured_s = len(runs) * longest_s
    is_completed = (ended >= _WARMUP_S) & (ended < end_s)
    found["requests_per_s"] = float(is_completed.sum()) / measured_s
    found["tokens_per_s"] = float(decoding.sum() + ((first >= _WARMUP_S) & (first < end_s)).sum()) / measured_s
    found["goodput_per_s"] = float((is_completed & (ended - due <= good_s)).sum()) / measured_s
    found["error_rate"] = float(known.failed[runs][is_due].mean())
    return found


def _slices(seen: Runs, run: int, duration_s: float, good_s: float, looks: int) -> TimeSlices:
    """Hand one run to the estimator, as `Measurement` does."""
    slices, end_s = TimeSlices(duration_s, looks), _WARMUP_S + duration_s
    due, first, ended = seen.due_s[run], seen.first_s[run], seen.ended_s[run]

    def places(moments: Any) -> Any:
        return ((moments - _WARMUP_S) / duration_s * SLICES).astype(int).clip(0, SLICES - 1)

    def within(moments: Any) -> Any:
        return (moments >= _WARMUP_S) & (moments < end_s)

    is_due = within(due) & ~numpy.isnan(ended)
    at = places(due[is_due])
    for name, moments in (("ttft", first), ("e2e", ended)):
        slices.sample(name, at.tolist(), (moments - due)[is_due].tolist())
    is_iteration = within(seen.iteration_ended_s[:, run]) & (seen.decoding[:, run] > 0)
    iterations = places(seen.iteration_ended_s[is_iteration, run])
    decoding = seen.decoding[is_iteration, run].astype(float)
    slices.sample("itl", iterations.tolist(), seen.iteration_s[is_iteration, run].tolist(), decoding.tolist())
    is_completed = within(ended)
    completed, firsts = places(ended[is_completed]), places(first[within(first)])
    sums = {
        "due": numpy.bincount(at, minlength=SLICES),
        "failed": numpy.bincount(at, seen.failed[run][is_due], minlength=SLICES),
        "completed": numpy.bincount(completed, minlength=SLICES),
        "good": numpy.bincount(completed, (ended - due)[is_completed] <= good_s, minlength=SLICES),
        "tokens": numpy.bincount(iterations, decoding, minlength=SLICES) + numpy.bincount(firsts, minlength=SLICES),
    }
    for name, amounts in sums.items():
        for place, amount in enumerate(amounts.tolist()):
            slices.count(name, place, amount)
    return slices


def _intervals(slices: TimeSlices, metrics: Any) -> dict[str, Interval | None]:
    rates = {"requests_per_s": "completed", "tokens_per_s": "tokens", "goodput_per_s": "good"}
    found: dict[str, Interval | None] = {}
    for metric in metrics:
        name, _, percentile = metric.partition("_")
        if metric in rates:
            found[metric] = slices.rate(rates[metric])
        elif metric == "error_rate":
            found[metric] = slices.share("failed", "due")
        else:
            found[metric] = slices.quantile(name, _QUANTILES[percentile])
    return found
