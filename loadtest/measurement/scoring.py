"""Objectives against what was measured, alone and beside what is in production."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from loadtest.measurement.confidence import Interval
from loadtest.measurement.measurement import Measurement
from loadtest.measurement.models import ObjectiveResult, ProfileResult, Quantiles, Trial
from loadtest.measurement.percentiles import min_samples
from loadtest.profiles import COST, Objective

_OF_COUNTED_TOKENS = {"output_tokens_per_s", "total_tokens_per_s", COST}
"""Metrics that lean on the server's count of its tokens; TPOT does, too."""
NOTHING_THERE = "nothing in production to compare with"
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
    return ProfileResult(
        load=load,
        duration_s=measurement.duration_s,
        requests=len(measurement.counted),
        errors=measurement.errors,
        error_examples={result.error: result.message for result in reversed(measurement.counted) if not result.is_ok},
        finish_reasons=measurement.finish_reasons,
        output_tokens=measurement.output_tokens,
        usage_differs=measurement.usage_differs,
        latencies_ms=latencies,
        tokens_per_s=measurement.tokens_per_s,
        metrics=metrics,
        prompt_cache=measurement.prompt_cache,
        client=measurement.client(lag_at_most_ms),
        trials=trials or [],
        objectives={
            name: _decided(
                score(
                    objective,
                    metrics[name],
                    comparable.metrics.get(name) if comparable else None,
                    intervals.get(name),
                    note=incomparable or _absent(name, comparable),
                    failures=_failures(name, measurement),
                ),
                _few(name, latencies) or (_overclaimed(name, measurement) if not load.get("exact_output") else ""),
            )
            for name, objective in objectives.items()
        },
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


def _decided(result: ObjectiveResult, doubt: str) -> ObjectiveResult:
    """Note a doubt: a bound that is missed is missed; one that is met in doubt is neither."""
    return result.model_copy(update={"undecided": doubt}) if result.met and doubt else result


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
