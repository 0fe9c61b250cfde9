"""Whether a bound is met, missed or undecided: all of an interval keeps it, none of it does, or neither."""

from __future__ import annotations

import math
from dataclasses import dataclass

from loadtest.measurement.comparison import Ratio
from loadtest.measurement.confidence import TAIL
from loadtest.measurement.models import ObjectiveResult, Quantiles
from loadtest.measurement.percentiles import PERCENTILES
from loadtest.profiles import COST, ERRORS, Objective

LOSING = 1e12
"""What an objective without a value is compared as: beyond every bound that a person would write."""
_BY_VALUE = {COST, "total_tokens_per_s"}
"""Metrics whose absolute bounds are decided as they were counted; what they are made of has bounds of its own."""
_FAR = 5.0
_TIMES_WITHOUT_END, _HOPELESS_TIMES = 4.0, 200.0
"""How many times as long a measurement should be that was too short for an end; more than so many times is not worth saying."""
_ANOTHER_LOOK = 1.2
"""How many times as long it takes because a longer measurement may be looked at once more: the quantiles' squares, from three looks to four."""


@dataclass(frozen=True)
class Measured:
    """What was measured, as far as it says how much longer it would have to be."""

    duration_s: float
    """How long. Seconds."""
    looks: int = 1
    """How many times it may be looked at as it grows."""
    longer_by: str = "duration_s"
    """What makes it longer."""
    distribution: Quantiles | None = None
    """Of the latency, if it is one: where the time is too short for an end of the interval, a bound that is far from every sample is met still."""
    ratio: Ratio | None = None
    """To the baseline; None: the bound relative to it is decided on the two values."""
    advice: str = ""
    """What makes the ratio more certain where measuring longer does not."""


@dataclass(frozen=True)
class _Doubt:
    """Why a bound is undecided."""

    words: str
    further_s: float | None = None
    more_helps: bool = True


def decide(metric: str, objective: Objective, result: ObjectiveResult, measured: Measured) -> ObjectiveResult:
    """Decide an objective on intervals: missed where one of its bounds is, undecided where one of them is, else met.

    A share of failures is decided as it was counted, with what failed.

    Args:
        metric: the objective's name.
        objective: its bounds.
        result: what `score` found.
        measured: what it was found in.
    """
    if metric == ERRORS or result.value is None:
        return result
    found = [_absolute(metric, objective, result, measured), _relative(metric, objective, result, measured)]
    if False in found:
        return result.model_copy(update={"met": False, "compared_value": LOSING if objective.is_upper else -LOSING})
    doubts = [one for one in found if isinstance(one, _Doubt)]
    if not doubts:
        return result
    further = [one.further_s for one in doubts]
    return result.model_copy(
        update={
            "undecided": doubts[0].words,
            "further_s": None if None in further else max(one for one in further if one is not None),
            "more_helps": all(one.more_helps for one in doubts),
        }
    )


def _absolute(metric: str, objective: Objective, result: ObjectiveResult, measured: Measured) -> bool | _Doubt:
    """Decide the absolute bound: True met, False missed. Without an interval it is decided on the value."""
    bound, value = objective.absolute, result.value
    if bound is None or value is None or result.low is None or metric in _BY_VALUE:
        return objective.met_by(value)
    looks = measured.looks
    high = _far(metric, measured.distribution, looks) if result.high is None else result.high
    low = result.low or _far_below(metric, measured.distribution, looks)
    standing = _standing(objective, bound, low, high)
    if standing is not None:
        return standing
    end = result.low if value >= bound else math.inf if result.high is None else result.high
    further_s = None
    if math.isfinite(value) and value != bound:
        further_s = _further_s(abs(bound - value), abs(end - value), measured)
    reach = f"{result.low:.4g} to {result.high:.4g}" if result.high is not None else f"{result.low:.4g} or more"
    side = f"{result.bound_kind.replace('_', ' ')} {bound:g}"
    return _Doubt(f"{metric} is {_shown(value)} and could be {reach}{_open(side, further_s, measured.longer_by)}", further_s)


def _relative(metric: str, objective: Objective, result: ObjectiveResult, measured: Measured) -> bool | _Doubt:
    """Decide the bound relative to the baseline: True met, False missed. Without an interval it is decided on the two values."""
    bound, value, base, ratio = objective.relative, result.value, result.production, measured.ratio
    if bound is None or base is None or value is None:
        return True
    if ratio is None:
        return objective.within(quotient(value, base), bound) if base else objective.within(value, 0)
    found = value / base
    highest = _far(metric, measured.distribution, measured.looks) / base
    low = ratio.low or (found / _FAR if math.isfinite(highest) else 0.0)
    standing = _standing(objective, bound, low, max(highest, _FAR * found) if ratio.high is None else ratio.high)
    if standing is not None:
        return standing
    end = ratio.low if found >= bound else ratio.high
    reach = f"{ratio.low:.3f} to {ratio.high:.3f}" if ratio.high is not None else f"{ratio.low:.3f} or more"
    words = f"{metric} is {found:.3f} times production's {base:.4g} and could be {reach} times it"
    side = f"{result.bound_kind.replace('_', ' ')} {bound:g} times it"
    margin = abs(math.log(bound / found))
    if margin <= ratio.fixed:
        return _Doubt(
            f"{words}, which does not decide whether it is {side}: {measured.advice}, or take another bound", None, False
        )
    half = abs(math.log(end / found)) if end else math.inf
    own, left = math.sqrt(max(half**2 - ratio.fixed**2, 0.0)), math.sqrt(margin**2 - ratio.fixed**2)
    further_s = _further_s(left, own, measured) if left else None
    return _Doubt(words + _open(side, further_s, measured.longer_by), further_s)


def _standing(objective: Objective, bound: float, low: float, high: float) -> bool | None:
    """Hold an interval against a bound: True where all of it keeps it, False where none does, None between."""
    worst, best = (high, low) if objective.is_upper else (low, high)
    if objective.within(worst, bound):
        return True
    return None if objective.within(best, bound) else False


def _open(side: str, further_s: float | None, longer_by: str) -> str:
    wanted = f"about {further_s:.0f} s more" if further_s is not None else "far more time than this"
    return f", which does not decide whether it is {side}: it takes {wanted} ({longer_by}), or another bound"


def quotient(value: float, base: float) -> float:
    """Return how many times the baseline's the value is; no more than what a condition of a pipeline can compare. Infinite ones are alike."""
    return 1.0 if value == base == math.inf else min(value / base, LOSING)


def _far(metric: str, distribution: Quantiles | None, looks: int) -> float:
    """Return what a percentile is taken to be below, though no interval says so: the largest sample, and some times the percentile itself, where
    there are as many samples as it takes for an end of independent ones (at one look six for a median, 368 for a p99)."""
    if distribution is None or not math.isfinite(distribution.max):
        return math.inf
    name = metric.split("_")[1]
    if (PERCENTILES[name] / 1000) ** distribution.samples > TAIL / looks:
        return math.inf
    return max(distribution.max, _FAR * float(getattr(distribution, name)))


def _far_below(metric: str, distribution: Quantiles | None, looks: int) -> float:
    """Return what a percentile is taken to be above, though its interval begins nowhere: some part of it, where there are enough samples."""
    if distribution is None:
        return 0.0
    name = metric.split("_")[1]
    return (
        float(getattr(distribution, name)) / _FAR
        if (1 - PERCENTILES[name] / 1000) ** distribution.samples <= TAIL / looks
        else 0.0
    )


def _further_s(margin: float, half: float, measured: Measured) -> float | None:
    """Estimate how much longer must be measured until an interval's end is on the value's side of the bound: its width falls with the square root
    of time. None where there is no telling, or no end of it.

    Args:
        margin: how far the bound is from the value.
        half: how far the interval's end is.
        measured: what the interval was found in.
    """
    times = (half / margin) ** 2 if math.isfinite(half) else _TIMES_WITHOUT_END
    if measured.looks > 1:
        times *= _ANOTHER_LOOK
    return measured.duration_s * (times - 1) if times <= _HOPELESS_TIMES else None


def _shown(value: float) -> str:
    return "infinite" if value == math.inf else f"{value:.4g}"
