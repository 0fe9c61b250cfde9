"""Objectives against what was measured, alone and beside production, and whether measuring on can decide them (`is_worth_more`)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from loadtest.measurement.comparison import Ratio, ratio_interval
from loadtest.measurement.confidence import Interval
from loadtest.measurement.deciding import LOSING, Measured, decide, quotient
from loadtest.measurement.measurement import Measurement
from loadtest.measurement.models import ObjectiveResult, ProfileResult, Quantiles, Trial
from loadtest.measurement.percentiles import min_samples
from loadtest.profiles import COST, ERRORS, Objective

_OF_COUNTED_TOKENS = {"output_tokens_per_s", "total_tokens_per_s", COST}
"""Metrics that lean on the server's count of its tokens; TPOT does, too."""
NOTHING_THERE = "nothing in production to compare with"
_STEADY = {"closed_loop", "open_loop", "ladder"}
"""Kinds of load that are the same from beginning to end: what they measure is a sample of what they would measure for ever. A ramp, a replay, a
search are what they were."""


@dataclass(frozen=True)
class Comparison:
    """How the baseline's numbers relate to this measurement's."""

    beside: Measurement | None = None
    """The baseline's requests, where it was asked in alternating blocks of the same load; None where it was measured at another time."""
    is_in_blocks: bool = True
    """Whether it was asked in alternating blocks, where it was asked meanwhile; False: one after the other."""
    run_to_run: Mapping[str, float] = field(default_factory=dict)
    """Metric → the standard deviation of its logarithm from one run of the same server to another; one that is not there: 0."""
    advice: str = "measure both at once, in alternating blocks"
    """What makes the ratio more certain where measuring this side longer does not."""


def profile_result(
    load: dict[str, Any],
    measurement: Measurement,
    objectives: Mapping[str, Objective],
    *,
    usd_per_hour: float | None,
    lag_at_most_ms: float,
    production: ProfileResult | None,
    incomparable: str = "",
    comparison: Comparison | None = None,
    trials: list[Trial] | None = None,
    extra_metrics: Mapping[str, float | None] | None = None,
) -> ProfileResult:
    """Everything that is said of a profile.

    Args:
        load: The profile without its objectives.
        measurement: What was measured.
        objectives: Metric → bound.
        usd_per_hour: What the endpoint costs; None: not known. US dollars an hour.
        lag_at_most_ms: A client that was later than this (p99) is the bottleneck. Milliseconds.
        production: What production measured; None: there is nothing.
        incomparable: Why its numbers must not be compared with; empty where they may be.
        comparison: How they relate to this measurement's; None: measured at another time, and nothing is known of how runs differ.
        trials: What several runs measured, of a ladder or a search.
        extra_metrics: Metrics that no single run measures, such as the capacity found.
    """
    if production is not None and production.load != load:
        incomparable = "production was measured under another load"
    sides = _Sides(measurement, objectives, usd_per_hour, None if incomparable else production, comparison or Comparison())
    metrics = {**measurement.metrics(objectives, usd_per_hour), **(extra_metrics or {})}
    latencies = measurement.latencies()
    is_steady = load.get("kind") in _STEADY
    found: dict[str, ObjectiveResult] = {}
    for name, objective in objectives.items():
        note, failures = incomparable or _absent(name, sides.production), _failures(name, measurement)
        result = score(objective, metrics[name], sides.base(name), sides.interval(name), note=note, failures=failures)
        if is_steady:
            result = sides.decide(name, result, latencies.get(name.split("_", 1)[0]))
        result = sides.doubted(name, result, lag_at_most_ms)
        overclaimed = "" if load.get("exact_output") else _overclaimed(name, measurement)
        found[name] = _decided(result, _few(name, latencies), overclaimed)
    return ProfileResult(
        load=load,
        duration_s=measurement.duration_s,
        goes=measurement.time.count,
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
        objectives=found,
    )


class _Sides:
    """A measurement and what it is compared with."""

    def __init__(
        self,
        measurement: Measurement,
        objectives: Mapping[str, Objective],
        usd_per_hour: float | None,
        production: ProfileResult | None,
        comparison: Comparison,
    ) -> None:
        self.production, self._comparison = production, comparison
        self._measurement, self._objectives = measurement, objectives
        self._estimates = measurement.estimates(objectives, objectives, usd_per_hour)
        beside = comparison.beside
        self._beside = beside.estimates(objectives, objectives, usd_per_hour) if beside else None

    def interval(self, metric: str) -> Interval | None:
        """Return a metric's interval on this side."""
        return self._estimates.interval(metric)

    def base(self, metric: str) -> float | None:
        """Return the metric on the other side; None where there is none."""
        return self.production.metrics.get(metric) if self.production else None

    def decide(self, metric: str, result: ObjectiveResult, distribution: Quantiles | None) -> ObjectiveResult:
        """Decide an objective on its intervals, and say how far its ratio could be off."""
        measurement, objective = self._measurement, self._objectives[metric]
        ratio = self._ratio(metric, result) if objective.relative is not None and metric != ERRORS else None
        measured = Measured(
            measurement.duration_s,
            measurement.looks,
            measurement.longer_by,
            distribution,
            ratio,
            self._comparison.advice,
        )
        if ratio is not None:
            result = result.model_copy(update={"ratio_low": ratio.low, "ratio_high": ratio.high})
        return decide(metric, objective, result, measured)

    def doubted(self, metric: str, result: ObjectiveResult, lag_at_most_ms: float) -> ObjectiveResult:
        """Let what production measured meanwhile decide nothing where it says nothing; an absolute bound that is missed is missed."""
        objective = self._objectives[metric]
        if objective.relative is None or not objective.met_by(result.value):
            return result
        why = self._invalid(metric, lag_at_most_ms)
        doubt = {"undecided": f"{metric} cannot be compared with production: {why}", "further_s": None, "more_helps": False}
        return result.model_copy(update=doubt) if why else result

    def _ratio(self, metric: str, result: ObjectiveResult) -> Ratio | None:
        base = self.base(metric)
        if base is None or result.value is None or self.production is None:
            return None
        if self._beside is not None and self._comparison.is_in_blocks:
            return self._estimates.beside(self._beside, metric, result.value, base)
        before = self._beside.interval(metric) if self._beside is not None else self._stored(metric)
        if before is None or result.low is None:
            return None
        run_to_run = self._comparison.run_to_run.get(metric, 0.0)
        return ratio_interval(result.value, (result.low, result.high), base, before, run_to_run=run_to_run)

    def _stored(self, metric: str) -> Interval | None:
        """Return the metric's interval in production's stored evaluation."""
        before = self.production.objectives.get(metric) if self.production else None
        return None if before is None or before.low is None else (before.low, before.high)

    def _invalid(self, metric: str, lag_at_most_ms: float) -> str:
        """Say why what production measured meanwhile says nothing; empty where it does, and where it was measured at another time."""
        beside = self._comparison.beside
        if beside is None or self.production is None:
            return ""
        if reason := beside.client(lag_at_most_ms).bottleneck:
            return f"what was measured of it meanwhile says nothing: {reason}"
        value, asked = self.base(metric), len(beside.counted)
        failed, allowed = sum(not result.is_ok for result in beside.counted), self._objectives.get(ERRORS)
        if metric == ERRORS and asked:
            return ""
        is_number = value is not None and 0 < value < math.inf
        if is_number and (allowed is None or allowed.met_by(failed / asked if asked else 0)):
            return ""
        return f"its own is {'unmeasured' if value is None else f'{value:g}'}, with {failed} of {asked} requests failed"


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
    losing = LOSING if objective.is_upper else -LOSING
    compared, met = (losing, False) if value is None else (min(value, LOSING), objective.met_by(value))
    if value is not None and objective.relative is not None:
        relative = objective.relative
        if production is None:
            related, note = True, note or NOTHING_THERE
        else:
            related = objective.within(quotient(value, production), relative) if production else objective.within(value, 0)
        if objective.absolute is None:  # the gate's bound is a ratio then; where there is none, exactly that bound
            compared = quotient(value, production) if production else relative if related else losing
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
