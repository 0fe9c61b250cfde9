"""EvaluateStaging: a staging endpoint, the canary prompts, the load profiles, the objectives scored, the report stored and registered."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import boto3

from config.schema import Release
from steps import canaries, registry
from steps.evaluate_staging import closed_loop, prompts
from steps.evaluate_staging.client import SageMakerClient, connector
from steps.evaluate_staging.models import CanarySummary, Evaluation, ProfileResult, Verdict
from steps.evaluate_staging.staging import staging
from steps.hosting import Hosting
from steps.job import progress, say
from steps.names import EVALUATION_FILE, Fact

_FACT_PREFIX = "evaluation"


@dataclass(frozen=True)
class Request:
    """What one start of the step is told."""

    release: Release
    model_package: str
    execution: str
    output: Path


def run(request: Request) -> Evaluation:
    """Evaluate the version, write OUTPUT/evaluation.json, note its digest on the version.

    A version that misses its objectives is a result, not an error. StepError when there is no result: the endpoint did not come up.
    """
    region = request.release.environment.region
    sagemaker = boto3.client("sagemaker", region_name=region)
    runtime = boto3.client("sagemaker-runtime", region_name=region)
    hosting = Hosting(sagemaker, boto3.client("logs", region_name=region))
    package = registry.read(sagemaker, request.model_package)
    with staging(hosting, request.release, package, request.execution) as endpoint:
        asked = _ask_canaries(request.release, runtime, endpoint)
        profiles = asyncio.run(_load(request.release, runtime, endpoint))
    evaluation = _evaluation(request, asked, profiles)
    body = (evaluation.model_dump_json(indent=2) + "\n").encode()
    request.output.mkdir(parents=True, exist_ok=True)
    (request.output / EVALUATION_FILE).write_bytes(body)
    registry.annotate(sagemaker, request.model_package, _facts(request, evaluation, body))
    say(f"{evaluation.verdict}: {evaluation.summary}")
    progress(f"{evaluation.verdict}: {evaluation.summary}")
    return evaluation


def _ask_canaries(release: Release, runtime: Any, endpoint: str) -> CanarySummary:
    results = canaries.ask_all(runtime, endpoint, release.model.evaluation.canaries)
    for result in results:
        say(f"canary {'passed' if result.passed else 'FAILED'}: {result.prompt!r} → {result.answer!r}")
    return CanarySummary(failed=sum(not result.passed for result in results), results=results)


async def _load(release: Release, runtime: Any, endpoint: str) -> dict[str, ProfileResult]:
    """Run every load profile, one after the other, so that they do not measure each other."""
    results: dict[str, ProfileResult] = {}
    for seed, (name, profile) in enumerate(release.model.evaluation.load_profiles.items()):
        async with aiohttp.ClientSession(connector=connector(profile.concurrency)) as session:
            client = SageMakerClient(session, runtime, endpoint, profile.timeout_s)
            measurement = await closed_loop.run(profile, client, prompts.synthetic(profile.prompt_tokens, seed), _prefixed(name))
        results[name] = measurement.result(profile.objectives)
        say(f"load profile {name}: {results[name].model_dump_json()}")
    return results


def _prefixed(name: str) -> Callable[[str], None]:
    return lambda detail: progress(f"{name}: {detail}")


def _evaluation(request: Request, asked: CanarySummary, profiles: dict[str, ProfileResult]) -> Evaluation:
    missed = [
        f"{name} {metric} {_number(result.value)} (must be {result.bound_kind.replace('_', ' ')} {_number(result.bound)})"
        for name, profile in profiles.items()
        for metric, result in profile.objectives.items()
        if not result.met
    ]
    wrong = [f"canary {result.prompt!r} was answered {result.answer!r}" for result in asked.results if not result.passed]
    unmeasured = [name for name, profile in profiles.items() if not profile.requests]
    verdict: Verdict = "invalid" if unmeasured else "failed" if missed or wrong else "passed"
    headline = [
        f"{name} {metric} {_number(result.value)}"
        for name, profile in profiles.items()
        for metric, result in profile.objectives.items()
    ]
    return Evaluation(
        model_package=request.model_package,
        execution=request.execution,
        evaluated_at=datetime.now(UTC).isoformat(timespec="seconds"),
        verdict=verdict,
        summary=", ".join([*missed, *wrong] or headline),
        canaries=asked,
        profiles=profiles,
    )


def _facts(request: Request, evaluation: Evaluation, body: bytes) -> dict[str, str]:
    """What the registry keeps: the verdict, where the report is, its digest, the headline numbers."""
    facts = {
        Fact.EVALUATION_VERDICT: evaluation.verdict,
        Fact.EVALUATION_REPORT: f"{request.release.evaluations_prefix}/{request.execution}/{EVALUATION_FILE}",
        Fact.EVALUATION_SHA256: hashlib.sha256(body).hexdigest(),
        Fact.EVALUATED_AT: evaluation.evaluated_at,
    }
    numbers = {
        f"{_FACT_PREFIX}:{name}:{metric}": _number(result.value)
        for name, profile in evaluation.profiles.items()
        for metric, result in profile.objectives.items()
    }
    return {str(key): value for key, value in facts.items()} | numbers


def _number(value: float | None) -> str:
    return "unmeasured" if value is None else f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"
