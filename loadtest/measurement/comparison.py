"""How far a ratio of two measurements could be off: 95 % confidence intervals of this version's metric divided by the baseline's.

Made of the two metrics' own intervals (MOVER, the method of variance estimates recovery: G. Y. Zou and A. Donner, "Construction of
confidence limits about effect measures: A general approach", Statistics in Medicine 27, 2008, 1693-1702), on logarithms, so that intervals
that are not symmetric stay so:

    lower = d - sqrt(a² + b² - 2 r a b),  a = from the one's lower end to it, b = from the other to its upper end; the upper end likewise.

Two servers that were asked the same in alternating blocks meet the same arrivals, prompts and moods of the machine, which cancel in their
ratio as far as both vary together: r is the correlation of their time slices at low frequencies. Measured at different times, r is 0, and runs
differ by more than either shows (another host, another neighbour): by how much, whoever compares them must say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from loadtest.measurement.confidence import Interval

_Z = 1.96
USUAL_RUN_TO_RUN = 0.02
"""By how much the logarithm of a metric usually differs from run to run of the same server on another instance of the same type (standard deviation).
GPUs of one kind differ by 8 % from end to end on average, whiskers of a box plot (P. Sinha et al., "Not All GPUs Are Created Equal", SC 2022): of a
normal distribution that is 5.4 standard deviations of 1.5 %."""


@dataclass(frozen=True)
class Ratio:
    """This measurement's metric divided by the baseline's."""

    low: float
    """Where its 95 % confidence interval begins; 0 where no beginning can be told."""
    high: float | None
    """Where it ends; None: no end can be told."""
    fixed: float = 0.0
    """How far off its logarithm may be for what no longer measurement of this side changes."""


def ratio_interval(
    value: float,
    interval: Interval,
    base: float,
    base_interval: Interval,
    *,
    correlation: float | None = None,
    run_to_run: float = 0.0,
) -> Ratio | None:
    """Return the interval of `value` divided by `base`; None where one of them is no positive number.

    Args:
        value: This measurement's metric.
        interval: Its 95 % confidence interval.
        base: The baseline's metric, in the same unit.
        base_interval: Its 95 % confidence interval.
        correlation: How far both vary together, from 0 to 1; None where they were measured at different times.
        run_to_run: The standard deviation of the metric's logarithm between runs of the same server.

    Example:
        >>> found = ratio_interval(110, (105, 116), 100, (96, 104))
        >>> f"{found.low:.3f} to {found.high:.3f}"
        '1.036 to 1.178'
    """
    if not (0 < value < math.inf and 0 < base < math.inf):
        return None
    below, above = _reach(value, interval)
    base_below, base_above = _reach(base, base_interval)
    between = _Z * math.sqrt(2) * run_to_run
    down = _combined(below, base_above, correlation or 0.0, between)
    up = _combined(above, base_below, correlation or 0.0, between)
    fixed = math.hypot(max(base_below, base_above), between) if correlation is None else between
    return Ratio(value / base * math.exp(-down), value / base * math.exp(up) if math.isfinite(up) else None, fixed)


def _reach(value: float, interval: Interval) -> tuple[float, float]:
    """Return how far the metric's logarithm may be below what was measured, and above it."""
    low, high = interval
    return max(0.0, math.log(value / low)) if low > 0 else math.inf, math.inf if high is None else max(
        0.0, math.log(high / value)
    )


def _combined(one: float, other: float, correlation: float, between: float) -> float:
    if not math.isfinite(one + other):
        return math.inf
    return math.sqrt(max(one**2 + other**2 - 2 * correlation * one * other, 0.0) + between**2)
