"""The verdict that the gate reads, passed, failed or invalid, and the line that says why; its conditions: pipelines/definitions."""

from __future__ import annotations

import math
from collections.abc import Mapping

from loadtest.measurement.models import ObjectiveResult, ProfileResult
from loadtest.measurement.scoring import NOTHING_THERE
from loadtest.report import number
from steps.evaluate_staging.models import PromptCheckSummary, Verdict

_DENIED = ("http_401", "http_403")
"""How SageMaker turns away who has no permission, or whose credentials have expired; what a container answers comes as 424."""


def judge(
    prompt_checks: PromptCheckSummary,
    profiles: Mapping[str, ProfileResult],
    lm_eval: Mapping[str, ObjectiveResult],
    unconfirmed: str = "",
) -> tuple[Verdict, str]:
    """Judge a version by everything that was scored.

    Numbers that say nothing of the model come before those that are bad, and one objective that is surely missed before others that are undecided.

    Args:
        prompt_checks: Their answers.
        profiles: Each load profile's result.
        lm_eval: Each lm-eval task's result.
        unconfirmed: Why it is not known what was measured; empty when it is.

    Returns:
        The verdict, and one line for people.

    Example:
        >>> judge(PromptCheckSummary(failed=0, results=[]), {}, {})
        ('passed', '')
    """
    invalid = [unconfirmed] if unconfirmed else []
    invalid += [
        f"prompt check {result.prompt!r} could not be asked: {result.answer}"
        for result in prompt_checks.results
        if result.refused
    ]
    invalid += [f"{name}: {reason}" for name, profile in profiles.items() if (reason := _undecidable(profile))]
    undecided = [
        f"{name}: {result.undecided}"
        for name, profile in profiles.items()
        for result in profile.objectives.values()
        if result.undecided
    ] + [f"lm-eval {task}: {result.undecided}" for task, result in lm_eval.items() if result.undecided]
    objectives = {
        f"{name} {metric}": result for name, profile in profiles.items() for metric, result in profile.objectives.items()
    } | {f"lm-eval {task}": result for task, result in lm_eval.items()}
    missed = [f"{name} {_missed(result)}" for name, result in objectives.items() if not (result.met or result.undecided)]
    wrong = [
        f"prompt check {result.prompt!r} was answered {result.answer!r}"
        for result in prompt_checks.results
        if not (result.passed or result.refused)
    ]
    headline = [
        f"{name} {number(result.value)}" + (f" ({result.note})" if result.note not in {"", NOTHING_THERE} else "")
        for name, result in objectives.items()
    ]
    verdict: Verdict = "invalid" if invalid else "failed" if missed or wrong else "invalid" if undecided else "passed"
    return verdict, ", ".join([*invalid, *missed, *wrong, *undecided] or headline)


def _undecidable(profile: ProfileResult) -> str:
    """Say why a load's numbers say nothing about the model; empty where they do."""
    for kind in _DENIED:
        if count := profile.errors.get(kind):
            return f"{count} of {profile.requests} requests were denied before the model was asked: {profile.error_examples.get(kind, kind)}"
    return profile.client.bottleneck or ("" if profile.requests else "nothing was measured")


def _missed(result: ObjectiveResult) -> str:
    side = result.bound_kind.replace("_", " ")
    bounds = []
    if result.relative_bound is None or result.bound != result.relative_bound:
        bounds.append(f"{side} {number(result.bound)}")
    if result.relative_bound is not None and result.production is not None:
        bounds.append(f"{side} {result.relative_bound:g} times production's {number(result.production)}")
    why = f": {result.note}" if result.value == math.inf else ""
    return f"{number(result.value)} (must be {' and '.join(bounds)}{why})"
