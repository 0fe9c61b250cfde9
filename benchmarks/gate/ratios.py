"""How an objective relative to production is decided: the same engine twice, and one that is slower, in many pairs of runs.

Each pair is measured in alternating blocks (`loadtest.interleaving`), or, *stored*, at two times. Blocks of both sides have the same arrivals and
requests. The machine drifts: its speed is an Ornstein-Uhlenbeck process of five minutes that both sides meet at their own times; a stored run
draws all of it anew. Everything else is as in `engine`, which also gives each side its own moods, hiccups and noise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy

from benchmarks.gate.engine import Engine, Load, Runs, simulate
from loadtest.interleaving import blocks
from loadtest.measurement.comparison import USUAL_RUN_TO_RUN, Ratio, ratio_interval
from loadtest.measurement.confidence import TimeSlices
from loadtest.measurement.estimates import Estimates
from loadtest.measurement.long_run_variance import SLICES
from loadtest.profiles import Objective, OpenLoop

DRIFT_SIGMA, DRIFT_S = 0.03, 300.0
_WARMUP_S, _LONGEST_ANSWER_S, _DRAIN_S = 5.0, 60.0, 5.0
_PROFILE = OpenLoop(
    kind="open_loop", rate_per_s=1, warmup_s=_WARMUP_S, duration_s=1, objectives={"error_rate": Objective(at_most=1)}
)
"""What the lengths of blocks go by."""
_METRICS = (
    *(f"{latency}_{share}_ms" for latency in ("ttft", "itl", "e2e") for share in ("p50", "p95")),
    "requests_per_s",
    "output_tokens_per_s",
)


@dataclass
class Outcome:
    """One metric of many pairs under one load."""

    metric: str
    pairs: int = 0
    met: int = 0
    missed: int = 0
    halves: list[float] = field(default_factory=list)
    """How far the ratio may be above what was measured; infinite without an end."""

    def add(self, found: Ratio | None, value: float, tolerance: float) -> None:
        """Decide one pair as an objective would, `at_most_production` or `at_least_production`."""
        self.pairs += 1
        low, high = (0.0, math.inf) if found is None else (found.low, math.inf if found.high is None else found.high)
        self.halves.append(high / value - 1 if value else math.inf)
        if self.metric.endswith("_ms"):
            self.met, self.missed = self.met + (high <= tolerance), self.missed + (low > tolerance)
        else:
            self.met, self.missed = self.met + (low >= 1 / tolerance), self.missed + (high < 1 / tolerance)

    @property
    def undecided(self) -> int:
        """How many pairs decide nothing."""
        return self.pairs - self.met - self.missed


def measure(
    engine: Engine, load: Load, *, pairs: int, duration_s: float, seed: int, slower: float, tolerance: float, is_stored: bool
) -> Iterator[Outcome]:
    """Simulate pairs and decide them.

    Args:
        engine: What both sides are.
        load: What is put on each.
        pairs: How many.
        duration_s: How long each side is measured. Seconds.
        seed: Of all that is drawn.
        slower: How many times as long everything takes on the version's side.
        tolerance: The bound: at most so many times the latency, at least so many times less of a rate.
        is_stored: Whether production was measured at another time.

    Yields:
        Each metric's outcome.
    """
    lengths = blocks(_PROFILE, duration_s)
    ours, theirs = _sides(engine, load, pairs, lengths, seed, slower, is_stored=is_stored)
    outcomes = {metric: Outcome(metric) for metric in _METRICS}
    for pair in range(pairs):
        rows = range(pair * len(lengths), (pair + 1) * len(lengths))
        one, other = _side(ours, rows, lengths[0]), _side(theirs, rows, lengths[0])
        for metric, outcome in outcomes.items():
            value, base = one.value(metric), other.value(metric)
            outcome.add(_ratio(one, other, metric, is_stored=is_stored), value / base if base else math.inf, tolerance)
    yield from outcomes.values()


def _sides(
    engine: Engine, load: Load, pairs: int, lengths: Sequence[float], seed: int, slower: float, *, is_stored: bool
) -> tuple[Runs, Runs]:
    """Run both sides, block by block, in the order in which they alternate."""
    source = numpy.random.default_rng(seed)
    speed, drift = source.standard_normal((2, pairs)), numpy.zeros((2, pairs, len(lengths)))
    now = source.standard_normal((2, pairs))
    kept = math.exp(-(_WARMUP_S + lengths[0] + _DRAIN_S) / DRIFT_S)
    for number in range(len(lengths)):
        for side in (0, 1) if number % 2 == 0 else (1, 0):
            drift[side, :, number] = now[side if is_stored else 0]
            now = now * kept + math.sqrt(1 - kept**2) * source.standard_normal((2, pairs))
    found = []
    for side in (0, 1):
        level = engine.run_sigma * speed[side if is_stored else 0][:, None] + DRIFT_SIGMA * drift[side]
        speeds = (level + (math.log(slower) if side == 0 else 0.0)) / engine.run_sigma
        found.append(
            simulate(
                engine,
                load,
                runs=pairs * len(lengths),
                duration_s=_WARMUP_S + lengths[0] + _LONGEST_ANSWER_S,
                seed=seed + 1 + side,
                speeds=speeds.reshape(-1),
                workload_seed=seed + 3 + (side if is_stored else 0),
            )
        )
    return found[0], found[1]


def _ratio(one: _Side, other: _Side, metric: str, *, is_stored: bool) -> Ratio | None:
    value, base = one.value(metric), other.value(metric)
    if not is_stored:
        return one.estimates.beside(other.estimates, metric, value, base)
    interval, base_interval = one.estimates.interval(metric), other.estimates.interval(metric)
    if interval is None or base_interval is None:
        return None
    return ratio_interval(value, interval, base, base_interval, run_to_run=USUAL_RUN_TO_RUN)


@dataclass
class _Side:
    """What one side of a pair measured."""

    slices: TimeSlices
    samples: dict[str, tuple[Any, Any]]
    """Latency → values and how many times each was seen."""
    sums: dict[str, Any]
    duration_s: float

    @property
    def estimates(self) -> Estimates:
        """Its intervals."""
        return Estimates(self.slices)

    def value(self, metric: str) -> float:
        """Return what was measured of a metric."""
        if not metric.endswith("_ms"):
            return float(self.sums["completed" if metric == "requests_per_s" else "tokens"].sum()) / self.duration_s
        latency, percentile, _ = metric.split("_")
        values, counts = self.samples[latency]
        order = numpy.argsort(values)
        ranks = numpy.cumsum(counts[order])
        return float(values[order][numpy.searchsorted(ranks, int(percentile[1:]) / 100 * ranks[-1] - 1e-9)])


def _side(seen: Runs, rows: Sequence[int], block_s: float) -> _Side:
    """Put the blocks of one side together, as `Measurement` does."""
    duration_s, share = block_s * len(rows), SLICES // len(rows)
    found = _Side(TimeSlices(duration_s), {}, {name: numpy.zeros(SLICES) for name in ("completed", "tokens")}, duration_s)
    collected: dict[str, list[tuple[Any, Any, Any]]] = {"ttft": [], "e2e": [], "itl": []}
    for number, row in enumerate(rows):

        def places(moments: Any, number: int = number) -> Any:
            return (((moments - _WARMUP_S) / block_s).clip(0, 1) * share).astype(int).clip(0, share - 1) + number * share

        due, first, ended = seen.due_s[row], seen.first_s[row], seen.ended_s[row]
        is_due = _measured(due, block_s) & ~numpy.isnan(ended)
        for name, moments in (("ttft", first), ("e2e", ended)):
            collected[name].append((places(due[is_due]), (moments - due)[is_due], numpy.ones(is_due.sum())))
        ends, decoding = seen.iteration_ended_s[:, row], seen.decoding[:, row]
        is_seen = _measured(ends, block_s) & (decoding > 0)
        iterations, tokens = places(ends[is_seen]), decoding[is_seen].astype(float)
        collected["itl"].append((iterations, seen.iteration_s[is_seen, row].astype(float), tokens))
        found.sums["tokens"] += numpy.bincount(iterations, tokens, minlength=SLICES)
        found.sums["tokens"] += numpy.bincount(places(first[_measured(first, block_s)]), minlength=SLICES)
        found.sums["completed"] += numpy.bincount(places(ended[_measured(ended, block_s)]), minlength=SLICES)
    for name, parts in collected.items():
        at, values, counts = (numpy.concatenate(column) for column in zip(*parts, strict=True))
        found.slices.sample(name, at.tolist(), values.tolist(), counts.tolist())
        found.samples[name] = values, counts
    for name, amounts in found.sums.items():
        for place, amount in enumerate(amounts.tolist()):
            found.slices.count(name, place, amount)
    return found


def _measured(moments: Any, block_s: float) -> Any:
    return (moments >= _WARMUP_S) & (moments < _WARMUP_S + block_s)
