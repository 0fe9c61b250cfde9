"""Arrival processes: when requests are due, seconds from the beginning of a run, in order, decided before the first is sent."""

from __future__ import annotations

import csv
import io
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from loadtest.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class ScheduledRequest:
    """One request that will be sent."""

    at_s: float
    """When, from the beginning of the run."""
    prompt_tokens: int = 0
    """How long its prompt is; 0: as the profile says."""
    output_tokens: int = 0
    """How long its answer may be; 0: as the profile says."""


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


_COLUMNS = {
    "at": ("TIMESTAMP", "Timestamp"),
    "prompt": ("ContextTokens", "Request tokens"),
    "output": ("GeneratedTokens", "Response tokens"),
}


def replay(trace: str, speed: float, where: str) -> list[ScheduledRequest]:
    """Read a recorded trace from its CSV text, in the order of time.

    The columns are found by name: those of Azure's LLM inference traces (AzurePublicDataset, 2023 and 2024), or those of BurstGPT, in all its
    releases. BurstGPT notes a failed request as one with no answer: it is left out.

    Args:
        trace: the CSV's text.
        speed: how many times faster than it was recorded.
        where: what an error calls it.

    Raises:
        InvalidInput: it is no trace; names `where` and the line.
    """
    rows = csv.DictReader(io.StringIO(trace))
    names = {}
    for what, known in _COLUMNS.items():
        found = [name for name in known if name in (rows.fieldnames or ())]
        if not found:
            raise InvalidInput(f"{where} has no column {' or '.join(known)}; it has {', '.join(rows.fieldnames or ['none'])}")
        names[what] = found[0]
    recorded: list[tuple[float, int, int]] = []
    for row in rows:
        try:
            prompt, output = int(row[names["prompt"]]), int(row[names["output"]])
            recorded.append((_seconds(row[names["at"]]), prompt, output))
        except (ValueError, TypeError) as error:
            raise InvalidInput(f"{where}, line {rows.line_num}: {error}") from error
    if not any(output for _, _, output in recorded):
        raise InvalidInput(f"{where} has no request with an answer")
    begin_s = min(at_s for at_s, _, _ in recorded)
    schedule = [
        ScheduledRequest((at_s - begin_s) / speed, max(prompt, 1), output) for at_s, prompt, output in recorded if output > 0
    ]
    return sorted(schedule, key=lambda due: due.at_s)


def _seconds(text: str) -> float:
    """Read seconds as they are (BurstGPT), or a date and time (Azure: that of 2023 without an offset, that of 2024 with one)."""
    try:
        return float(text)
    except ValueError:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
