"""Objectives against what was measured, alone and beside production, and whether measuring on can decide them (`is_worth_more`)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from loadtest.measurement.confidence import TAIL, Interval
from loadtest.measurement.measurement import Measurement
from loadtest.measurement.models import ObjectiveResult, ProfileResult, Quantiles, Trial
from loadtest.measurement.percentiles import PERCENTILES, min_samples
from loadtest.profiles import COST, ERRORS, Objective

_OF_COUNTED_TOKENS = {"output_tokens_per_s", "total_tokens_per_s", COST}
"""Metrics that lean on the server's count of its tokens; TPOT does, too."""
NOTHING_THERE = "nothing in production to compare with"
_STEADY = {"closed_loop", "open_loop", "ladder"}
"""Kinds of load that are the same from beginning to end: what they measure is a sample of what they would measure for ever. A ramp, a replay, a
search are what they were."""
_FAR = 5.0
_TIMES_WITHOUT_END, _HOPELESS_TIMES = 4.0, 200.0
"""How many times as long a measurement should be that was too short for an end; more than so many times is not worth saying."""
_ANOTHER_LOOK = 1.2
"""How many times as long it takes because a longer measurement may be looked at once more: the quantiles' squares, from three looks to four."""
_LOSING = 1e12
"""What an objective without a value is compared as: beyond every bound that a person would write."""


def profile_result(
    load: dict[str, Any],
    measurement: Measurement,
    objectives: Mapping[str, Objective],
    *,
    usd_per_hour: float | None,
    lag_at_most_ms: float,
    production: ProfileResult | None,
    incomparable: str = "",
    trials: list[Trial] | None = None,
    extra_metrics: Mapping[str, float | None] | None = None,
) -> ProfileResult:
    """Everything that is said of a profile. `extra_metrics` are metrics that no single run measures, such as the capacity found; `incomparable`
    says why production's numbers must not be compared with, empty where they may be."""
    metrics = {**measurement.metrics(objectives, usd_per_hour), **(extra_metrics or {})}
    intervals, latencies = measurement.intervals(objectives, objectives), measurement.latencies()
    if production is not None and production.load != load:
        incomparable = "production was measured under another load"
    comparable = None if incomparable else production
    scored = {
        name: score(
            objective,
            metrics[name],
            comparable.metrics.get(name) if comparable else None,
            intervals.get(name),
            note=incomparable or _absent(name, comparable),
            failures=_failures(name, measurement),
        )
        for name, objective in objectives.items()
    }
    return ProfileResult(
        load=load,
        duration_s=measurement.duration_s,
        goes=len(measurement.windows),
        looks=measurement.looks,
        requests=len(measurement.counted),
        errors=measurement.errors,
        error_examples={result.error: result.message for result in reversed(measurement.counted) if not result.is_ok},
        finish_reasons=measurement.finish_reasons,
        output_tokens=measurement.output_tokens,
        usage_differs=measurement.usage_differs,
        latencies_ms=latencies,
        tokens_per_s=measurement.tokens_per_s,
        metrics=metrics,
        answer_lengths=measurement.answer_lengths,
        prompt_cache=measurement.prompt_cache,
        client=measurement.client(lag_at_most_ms),
        trials=trials or [],
        objectives={
            name: _decided(
                on_interval(
                    name,
                    objectives[name],
                    result,
                    measurement.duration_s,
                    latencies.get(name.split("_", 1)[0]),
                    measurement.looks,
                    measurement.longer_by,
                )
                if load.get("kind") in _STEADY
                else result,
                _few(name, latencies),
                _overclaimed(name, measurement) if not load.get("exact_output") else "",
            )
            for name, result in scored.items()
        },
    )


def is_missed(metric: str, result: ObjectiveResult) -> bool:
    """Tell whether an objective is missed, whatever a longer measurement says: a share of failures, only where its interval says so."""
    if result.met or result.undecided:
        return False
    return metric != ERRORS or result.low is None or result.low > result.bound


def is_worth_more(profile: ProfileResult) -> bool:
    """Tell whether a longer measurement may decide what this one does not: nothing is missed, and the numbers say something."""
    if profile.client.bottleneck or not profile.requests:
        return not profile.client.bottleneck
    found = profile.objectives
    undecided = [one for one in found.values() if one.undecided]
    return (
        bool(undecided)
        and all(one.more_helps for one in undecided)
        and not any(is_missed(metric, one) for metric, one in found.items())
    )


def is_undecided(profile: ProfileResult) -> bool:
    """Tell whether an objective is undecided, so that the run is invalid unless more is measured."""
    return any(one.undecided for one in profile.objectives.values())


def may_still_pass(profiles: Iterable[ProfileResult]) -> bool:
    """Tell whether every load passes or may do so when it is measured longer: else nobody needs to pay for that."""
    return all(
        is_worth_more(profile)
        or (not profile.client.bottleneck and all(one.met and not one.undecided for one in profile.objectives.values()))
        for profile in profiles
    )


def _failures(metric: str, measurement: Measurement) -> str:
    """Say why a percentile is infinite: how many requests failed, and how many, for the time to an answer, never came to one."""
    counted = measurement.counted
    thought = sum(result.is_ok and result.ttfo_ms == math.inf for result in counted) if metric.startswith("ttfo_") else 0
    within = f" and {thought} ended within their thought" if thought else ""
    return f"{sum(not result.is_ok for result in counted)} of {len(counted)} requests failed{within}: each is slower than every bound"


def _absent(metric: str, production: ProfileResult | None) -> str:
    """Say that production's evaluation, which could be compared with, has no such number."""
    return "" if production is None or production.metrics.get(metric) is not None else f"production's evaluation has no {metric}"


def on_interval(
    metric: str,
    objective: Objective,
    result: ObjectiveResult,
    duration_s: float,
    distribution: Quantiles | None = None,
    looks: int = 1,
    longer_by: str = "duration_s",
) -> ObjectiveResult:
    """Decide an absolute bound on the interval: met where all of it is on the good side, missed where none is, undecided between.

    A share of failures is decided as it was counted, with what failed; a bound relative to production on the two values.

    Args:
        metric: the objective's name.
        objective: its bounds.
        result: what `score` found.
        duration_s: how long was measured. Seconds.
        distribution: of the latency, if it is one: where the time is too short for an end of the interval, a bound that is far from every
            sample is met still.
        looks: how many times it may be looked at as it grows.
        longer_by: what makes it longer.
    """
    if metric == ERRORS or objective.absolute is None or result.value is None or result.low is None:
        return result
    high = _far(metric, distribution, looks) if result.high is None else result.high
    low = result.low or _far_below(metric, distribution, looks)
    worst, best = (high, low) if objective.is_upper else (low, high)
    if objective.within(worst, objective.absolute):
        return result
    if not objective.within(best, objective.absolute):
        return result.model_copy(update={"met": False, "compared_value": _LOSING if objective.is_upper else -_LOSING})
    if not result.met and objective.met_by(result.value):  # of two bounds, production's is missed
        return result
    end = result.low if result.value >= objective.absolute else math.inf if result.high is None else result.high
    further_s = _further_s(objective.absolute, result.value, end, duration_s, looks)
    reach = f"{result.low:.4g} to {result.high:.4g}" if result.high is not None else f"{result.low:.4g} or more"
    wanted = f"about {further_s:.0f} s more" if further_s is not None else "far more time than this"
    return result.model_copy(
        update={
            "further_s": further_s,
            "more_helps": True,
            "undecided": f"{metric} is {_shown(result.value)} and could be {reach}, which does not decide whether it is "
            f"{result.bound_kind.replace('_', ' ')} {objective.absolute:g}: it takes {wanted} ({longer_by}), or another bound",
        }
    )


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


def _further_s(bound: float, value: float, end: float, duration_s: float, looks: int) -> float | None:
    """Estimate how much longer must be measured until the interval's end is on the value's side of the bound: its width falls with the square
    root of time. None where there is no telling, or no end of it."""
    margin = abs(bound - value)
    if not math.isfinite(value) or margin == 0:
        return None
    times = (abs(end - value) / margin) ** 2 if math.isfinite(end) else _TIMES_WITHOUT_END
    if looks > 1:
        times *= _ANOTHER_LOOK
    return duration_s * (times - 1) if times <= _HOPELESS_TIMES else None


def _shown(value: float) -> str:
    return "infinite" if value == math.inf else f"{value:.4g}"


def _decided(result: ObjectiveResult, few: str, overclaimed: str) -> ObjectiveResult:
    """Note a doubt: a bound that is missed is missed; one that is met in doubt is neither. It is the better reason for an undecided one, too."""
    if not result.met or not (few or overclaimed):
        return result
    return result.model_copy(update={"undecided": few or overclaimed, "more_helps": not overclaimed})


def _few(metric: str, latencies: Mapping[str, Quantiles | None]) -> str:
    """Say that a percentile is of too few samples."""
    distribution, needed = latencies.get(metric.split("_", 1)[0]), min_samples(metric)
    if distribution is None or distribution.samples >= needed:
        return ""
    return f"{metric} is of {distribution.samples} samples and needs {needed} (measure longer, or bound a lower percentile)"


def _overclaimed(metric: str, measurement: Measurement) -> str:
    """Say that a metric is made of tokens that nobody saw. (Not asked of answers of exactly so many tokens: what an engine makes after the end of
    an answer, ignore_eos, is often no text.)"""
    if metric not in _OF_COUNTED_TOKENS and not metric.startswith("tpot_"):
        return ""
    return f"{metric}: {measurement.overclaimed}" if measurement.overclaimed else ""


def score(
    objective: Objective,
    value: float | None,
    production: float | None = None,
    interval: Interval | None = None,
    *,
    note: str = "",
    failures: str = "",
) -> ObjectiveResult:
    """One objective. A value that was not measured is missed; a relative bound with nothing to compare with is met. `failures` says why a value
    is infinite, where it is."""
    losing = _LOSING if objective.is_upper else -_LOSING
    compared, met = (losing, False) if value is None else (min(value, _LOSING), objective.met_by(value))
    if value is not None and objective.relative is not None:
        relative = objective.relative
        if production is None:
            related, note = True, note or NOTHING_THERE
        else:
            related = objective.within(_ratio(value, production), relative) if production else objective.within(value, 0)
        if objective.absolute is None:  # the gate's bound is a ratio then; where there is none, exactly that bound
            compared = _ratio(value, production) if production else relative if related else losing
        elif not related:
            compared = losing
        met = met and related
    low, high = interval or (None, None)
    notes = [note if objective.relative is not None else "", failures if value == math.inf else ""]
    return ObjectiveResult(
        value=value,
        low=low,
        high=high,
        production=production if objective.relative is not None else None,
        compared_value=compared,
        bound=objective.bound,
        bound_kind="at_most" if objective.is_upper else "at_least",
        relative_bound=objective.relative,
        met=met,
        note="; ".join(filter(None, notes)),
    )


def _ratio(value: float, production: float) -> float:
    """Return how many times production's the value is; no more than what a condition of a pipeline can compare. Infinite ones are alike."""
    return 1.0 if value == production == math.inf else min(value / production, _LOSING)
