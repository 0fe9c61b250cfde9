"""What goes into the step and what comes out: its arguments, and evaluation.json, which the gate reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from config.base import Strict
from config.schema import Release
from delivery.endpoint.prompt_checks import PromptCheckResult
from loadtest.measurement.models import ObjectiveResult, ProfileResult
from steps.evaluate_staging.coordination.host import Host

IMAGE_DIGEST = "image_digest"
"""In an evaluation's `environment`: what the image's tag meant; not there for an image that has no digest."""
Verdict = Literal["passed", "failed", "invalid"]
"""`invalid`: the numbers cannot decide, because nothing was measured, or too little, or the client was the bottleneck. It is not passed."""


@dataclass(frozen=True)
class EvaluationArguments:
    """Arguments of one run of the step."""

    release: Release
    """The resolved model file."""
    model_package: str
    """The version's ARN."""
    execution: str
    """The pipeline execution."""
    output: Path
    """The folder that evaluation.json and the report are written to."""
    host: Host = field(default_factory=Host)
    """This host, which leads where several share the load."""


class BatchConsistency(Strict):
    """The same greedy prompt asked alone, then many times at once. Not part of the verdict: batching may change rounding."""

    prompt: str
    alone: str
    """The answer alone, cut to 300 characters."""
    asked: int
    """How many times at once."""
    same: int
    """How many answers were the same."""


class PromptCheckSummary(Strict):
    """The prompt checks."""

    failed: int
    """How many were answered wrongly."""
    results: list[PromptCheckResult]
    """Each."""
    batch: BatchConsistency | None = None
    """The first prompt check alone and in a batch; None without prompt checks."""


class Expectations(Strict):
    """The great_expectations suite over the table of requests."""

    success: bool
    """Whether every expectation held."""
    checked: int
    """How many there are."""
    failed: list[str]
    """Those that did not hold, one line each, with how many rows."""


class InProduction(Strict):
    """What was in production when this version was evaluated, for comparison."""

    version: int
    """Its version."""
    report: str
    """S3 address of its evaluation."""
    is_beside: bool = False
    """Whether it was measured beside this version, in alternating blocks."""


class Evaluation(Strict):
    """evaluation.json, the step's property file."""

    schema_version: Literal[2, 3] = 3
    """The format of this file. 2: percentiles left failed requests out, where 3 has them as infinite (the text "Infinity")."""
    model: str
    """The model's name."""
    version: int
    """The version's number."""
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
    next_action: str = ""
    """What to do now; empty where there is a verdict on the version."""
    command_again: str = ""
    """The command that measures the same version again; empty in files from before it was kept."""
    environment: dict[str, str]
    """What was measured: repository, revision, image, instance type and count, the container's flags."""
    production: InProduction | None = None
    """What it was compared with."""
    prompt_checks: PromptCheckSummary
    """The prompt checks."""
    profiles: dict[str, ProfileResult]
    """Each load profile."""
    beside: dict[str, ProfileResult] = {}
    """What production's version measured meanwhile, of the load profiles that were put on it, too; without objectives."""
    lm_eval: dict[str, ObjectiveResult] = {}
    """Each lm-eval task's score."""
    expectations: Expectations | None = None
    """The suite over every request; None where great_expectations is not installed."""
    not_done: list[str] = []
    """What could not be done beside measuring: a page not drawn, metrics not sent, the staging endpoint not deleted. One line each."""
