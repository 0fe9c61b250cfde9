"""What the step gives out: evaluation.json, which the gate reads."""

from __future__ import annotations

from typing import Literal

from config.base import Strict
from steps.canaries import CanaryResult

Verdict = Literal["passed", "failed", "invalid"]
"""`invalid`: the numbers cannot decide, because nothing was measured. It is not passed."""


class ObjectiveResult(Strict):
    """One objective, measured."""

    value: float | None
    """The metric, in the unit of its name; None when it could not be measured."""
    compared_value: float
    """What the gate compares: the value, or one far on the losing side where there is none (a condition cannot compare null)."""
    bound: float
    """The bound."""
    bound_kind: Literal["at_most", "at_least"]
    """Which side of the bound is good."""
    met: bool
    """Whether it holds."""


class Quantiles(Strict):
    """A latency's distribution, in milliseconds. From one histogram of every sample, never from averaged percentiles."""

    samples: int
    p50: float
    p90: float
    p95: float
    p99: float
    p999: float
    max: float


class ProfileResult(Strict):
    """What one load profile measured."""

    duration_s: float
    """The measured time, without the warm-up. Seconds."""
    requests: int
    """Requests begun in it."""
    errors: dict[str, int]
    """How many of these failed, by kind."""
    output_tokens: int
    """Tokens that arrived in it."""
    latencies_ms: dict[str, Quantiles | None]
    """`ttft`, `itl`, `tpot`, `e2e`; None where there was no sample."""
    metrics: dict[str, float | None]
    """Every metric that an objective may name."""
    objectives: dict[str, ObjectiveResult]
    """The model file's objectives."""


class CanarySummary(Strict):
    """The canary prompts."""

    failed: int
    """How many were answered wrongly."""
    results: list[CanaryResult]
    """Each."""


class Evaluation(Strict):
    """evaluation.json, the step's property file."""

    schema_version: Literal[1] = 1
    """The format of this file."""
    model_package: str
    """The version's ARN."""
    execution: str
    """The pipeline execution."""
    evaluated_at: str
    """When it ended, ISO 8601 UTC."""
    verdict: Verdict
    """What the gate is told."""
    summary: str
    """One line for people: the objectives missed with their numbers, or the headline numbers."""
    canaries: CanarySummary
    """The canary prompts."""
    profiles: dict[str, ProfileResult]
    """Each load profile."""
