"""Arrival processes: when requests are due, seconds from the beginning of a run, in order, decided before the first is sent."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PrefixBlocks:
    """What a recorded prompt has in common with others: prompts whose ids begin alike begin alike."""

    ids: tuple[int, ...]
    """Its blocks, in order; the last may be cut short, or missing where it is."""
    tokens_each: int
    """How many tokens a block has."""
    known: int = 0
    """How many blocks at its beginning an earlier request of the schedule has as well."""


@dataclass(frozen=True, slots=True)
class ScheduledRequest:
    """One request that will be sent."""

    at_s: float
    """When, from the beginning of the run."""
    prompt_tokens: int = 0
    """How long its prompt is; 0: as the profile says."""
    output_tokens: int = 0
    """How long its answer may be; 0: as the profile says."""
    blocks: PrefixBlocks | None = None
    """What its prompt is made of, where that was recorded."""


def of_kind(kind: str, rate_per_s: float, burstiness: float, seed: int) -> Iterator[float]:
    """Yield arrivals of a process by its name: `constant`, `poisson`, or `gamma`, which alone has a burstiness. Seconds."""
    made: dict[str, Callable[[], Iterator[float]]] = {
        "constant": lambda: constant(rate_per_s),
        "poisson": lambda: poisson(rate_per_s, seed),
        "gamma": lambda: gamma(rate_per_s, burstiness, seed),
    }
    return made[kind]()


def constant(rate_per_s: float) -> Iterator[float]:
    """Yield evenly spaced arrivals. Seconds."""
    number = 0
    while True:
        yield number / rate_per_s
        number += 1


def poisson(rate_per_s: float, seed: int) -> Iterator[float]:
    """Yield arrivals that are independent of one another: a Poisson process, exponentially distributed gaps. Seconds."""
    return gamma(rate_per_s, 1.0, seed)


def gamma(rate_per_s: float, burstiness: float, seed: int) -> Iterator[float]:
    """Yield arrivals with gaps from a gamma distribution whose shape is `burstiness`: below 1 requests come in bursts, above 1 ever more evenly."""
    chosen = random.Random(seed)  # noqa: S311  (must repeat, not be secret)
    at_s = 0.0
    while True:
        at_s += chosen.gammavariate(burstiness, 1 / (rate_per_s * burstiness))
        yield at_s


def ramp(from_per_s: float, to_per_s: float, level_s: float, duration_s: float) -> Iterator[float]:
    """Yield arrivals at the first rate for `level_s`, then for `duration_s` at a rate that changes evenly to the second.

    Request n is due when the integral of the rate reaches n.
    """
    slope = (to_per_s - from_per_s) / duration_s
    level, number = level_s * from_per_s, 0
    while number < level + duration_s * (from_per_s + to_per_s) / 2:
        if number < level or not slope:
            yield number / from_per_s
        else:
            root = math.sqrt(max(from_per_s**2 + 2 * slope * (number - level), 0.0))
            yield level_s + (root - from_per_s) / slope
        number += 1
