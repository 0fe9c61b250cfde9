"""What a load test says: a value that saves and loads itself (pydantic), and its verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from loadtest.base import Reading, Strict
from loadtest.measurement.models import ObjectiveResult, ProfileResult

Verdict = Literal["passed", "failed", "invalid"]
_EXACT_SHARE = 0.02
"""By which answers may be longer or shorter, all together, than was asked for: an engine may count an answer's end."""
Standing = Literal["met", "missed", "undecided", "unmeasured"]


class ProfileReport(ProfileResult):
    """What one load profile measured, with the confidence interval of every metric."""

    intervals: dict[str, tuple[Reading, float | None] | None]
    """Metric → where its 95 % confidence interval begins and ends; None where there was too little to say."""


class LoadTestReport(Strict):
    """report.json: what all profiles measured."""

    schema_version: Literal[1, 2] = 2
    """The format of this file. 1: percentiles left failed requests out, where 2 has them as infinite (the text "Infinity")."""
    target: str
    """What the load was put on: the server's URL, or the endpoint's name."""
    began_at: str
    """When, ISO 8601, UTC."""
    seed: str = ""
    """What its prompts were made of: the same seed asks the same again."""
    verdict: Verdict
    """`passed`: every objective is met. `failed`: one is missed. `invalid`: the numbers cannot decide."""
    reasons: list[str]
    """Why it did not pass: one line an objective or profile; empty if it passed."""
    profiles: dict[str, ProfileReport]
    """Name → what it measured."""


def number(value: float | None) -> str:
    """Return a number as people want it: four digits. Letters alone where it is none: registries take no symbols."""
    if value is None or value == math.inf:
        return "unmeasured" if value is None else "infinite"
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"


def answer_lengths(profile: ProfileResult) -> str:
    """Say how long answers were asked to be, and were, where the load is of exact lengths; empty where it is not, or nobody counted."""
    lengths = profile.answer_lengths
    if lengths is None or not lengths.asked or not profile.load.get("exact_output"):
        return ""
    other = "" if abs(lengths.share - 1) < _EXACT_SHARE else ": the engine does not keep to the length asked for (ignore_eos)"
    return f"answers of {lengths.asked} tokens asked for, {lengths.got} got ({lengths.share:.1%}){other}"


def shown_metrics(profile: ProfileResult) -> list[str]:
    """Return the metrics that say something: those that were measured, and those with an objective. Where a model does not think, the time to the
    first token of its answer is the time to its first token, and is not said twice."""
    thinks = profile.latencies_ms.get("ttfo") != profile.latencies_ms.get("ttft")
    return [
        metric
        for metric, value in profile.metrics.items()
        if metric in profile.objectives or (value is not None and (thinks or not metric.startswith("ttfo_")))
    ]


def standing(result: ObjectiveResult) -> Standing:
    """Return how an objective stands: a bound that is met in doubt is neither met nor missed."""
    if result.undecided:
        return "undecided"
    if result.value is None:
        return "unmeasured"
    return "met" if result.met else "missed"


def judge(profiles: Mapping[str, ProfileReport]) -> tuple[Verdict, list[str]]:
    """Judge what was measured. Numbers that say nothing come before those that are bad, and those before what is undecided.

    Returns:
        The verdict, and why it is not `passed`: one line each.
    """
    invalid, failed, undecided = list[str](), list[str](), list[str]()
    for name, profile in profiles.items():
        if reason := profile.client.bottleneck or ("" if profile.requests else "no request was due in the measured time"):
            invalid.append(f"{name}: {reason}")
        for metric, result in profile.objectives.items():
            match standing(result):
                case "undecided":
                    undecided.append(f"{name}: {result.undecided}")
                case "unmeasured":
                    failed.append(f"{name}: {metric} could not be measured")
                case "missed":
                    side = result.bound_kind.replace("_", " ")
                    why = f" ({result.note})" if result.value == math.inf else ""
                    failed.append(f"{name}: {metric} is {number(result.value)}, must be {side} {_bounds(result)}{why}")
    verdict: Verdict = "invalid" if invalid else "failed" if failed else "invalid" if undecided else "passed"
    return verdict, [*invalid, *failed, *undecided]


def _bounds(result: ObjectiveResult) -> str:
    absolute = "" if result.bound == result.relative_bound else f"{result.bound:g}"
    relative = f"{result.relative_bound:g} times the baseline's {result.production:.4g}" if result.production is not None else ""
    return " and ".join(filter(None, (absolute, relative)))
