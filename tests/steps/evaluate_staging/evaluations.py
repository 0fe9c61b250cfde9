"""Evaluations made of requests that nobody sent: what a release of a real model might measure, the same every time."""

from __future__ import annotations

import random
from typing import Any

from pydantic import TypeAdapter

from delivery.endpoint.prompt_checks import PromptCheckResult
from loadtest.measurement.measurement import Measurement
from loadtest.measurement.models import ProfileResult, Trial
from loadtest.measurement.request_record import RequestRecord
from loadtest.measurement.scoring import profile_result, score
from loadtest.measurement.worker_result import WorkerResult
from loadtest.profiles import CAPACITY, COST, LoadProfile, Objective
from steps.evaluate_staging import verdicts
from steps.evaluate_staging.models import BatchConsistency, Evaluation, Expectations, InProduction, PromptCheckSummary

SECOND = 1_000_000_000
REVISION = "9216db5781bf21249d130ec9da846c4624c16137"
PROFILES: dict[str, dict[str, Any]] = {
    "chat": {
        "kind": "closed_loop",
        "concurrency": 16,
        "prompt_tokens": 1024,
        "output_tokens": 40,
        "shared_prefix": 0.3,
        "duration_s": 600,
        "objectives": {
            "ttft_p99_ms": {"at_most": 900, "at_most_production": 1.1},
            "itl_p99_ms": {"at_most": 60},
            "output_tokens_per_s": {"at_least": 150},
            "error_rate": {"at_most": 0.001},
        },
    },
    "bursts": {
        "kind": "open_loop",
        "arrivals": "gamma",
        "burstiness": 0.5,
        "rate_per_s": 8,
        "prompt_tokens": 512,
        "output_tokens": 24,
        "duration_s": 400,
        "objectives": {"ttft_p95_ms": {"at_most": 1000}, "e2e_p99_ms": {"at_most_production": 1.2}, COST: {"at_most": 25}},
    },
    "limit": {
        "kind": "capacity",
        "start_rate_per_s": 4,
        "duration_s": 30,
        "objectives": {"ttft_p99_ms": {"at_most": 2000}, CAPACITY: {"at_least": 9}},
    },
}


def requests(
    seed: int, seconds: int, *, rate: float, tokens: int, slow: float = 1.0, failing: float = 0.0
) -> list[RequestRecord]:
    """Independent requests with log-normal latencies, one of a hundred of which stalls."""
    source = random.Random(seed)
    made: list[RequestRecord] = []
    for number in range(int(seconds * rate)):
        due = int((number / rate + source.random() / rate) * SECOND)
        now = due + int(source.lognormvariate(5.2, 0.5) * slow * 1e6)
        moments = [now]
        for place in range(1, tokens):
            now += int(source.lognormvariate(2.9, 0.25) * slow * 1e6) + (300_000_000 if source.random() < 0.0004 and place else 0)
            moments.append(now)
        result = RequestRecord(due, due + 50_000, moments, moments[-1], tokens, 1024, finish_reason="length")
        if source.random() < failing:
            result.error, result.message, result.finish_reason = "http_424", "ModelError: the container did not answer", ""
        made.append(result)
    return made


def profile(name: str, seed: int, production: ProfileResult | None = None, **changes: Any) -> ProfileResult:
    """One load profile's result."""
    wanted: Any = TypeAdapter(LoadProfile).validate_python({**PROFILES[name]})
    rate = {"chat": 7.0, "bursts": 8.0, "limit": 9.4}[name]
    found = requests(seed, int(wanted.duration_s), rate=rate, tokens=min(wanted.output_tokens, 40), **changes)
    measurement = Measurement(0, int(wanted.duration_s * SECOND))
    measurement.merge(WorkerResult(found, [400_000] * 100, 0.31))
    trials, more = [], {}
    if name == "limit":
        tried = [
            (4, 310, True),
            (8, 640, True),
            (16, 21000, False),
            (9.3, 1100, True),
            (9.9, 3900, False),
            (9.9, 2700, False),
            (9.3, 1250, True),
        ]
        trials = [
            Trial(load=load, met=met, metrics={"ttft_p99_ms": ttft, "output_tokens_per_s": min(load, 9.6) * 40})
            for load, ttft, met in tried
        ]
        more = {CAPACITY: 9.3}
    objectives: dict[str, Objective] = wanted.objectives
    return profile_result(
        wanted.load,
        measurement,
        objectives,
        usd_per_hour=31.46,
        lag_at_most_ms=50,
        production=production,
        trials=trials,
        extra_metrics=more,
    )


def evaluation(version: int, production: Evaluation | None = None, **changes: Any) -> Evaluation:
    """A whole one. `changes` go to `requests`: slow=1.4 is a version that is slower by two fifths."""
    profiles = {
        name: profile(name, seed + 10 * version, production.profiles[name] if production else None, **changes)
        for seed, name in enumerate(PROFILES)
    }
    prompt_checks = PromptCheckSummary(
        failed=0,
        results=[
            PromptCheckResult(
                prompt="What is the capital of France?", expect="Paris", answer="The capital of France is Paris.", passed=True
            )
        ],
        batch=BatchConsistency(
            prompt="What is the capital of France?", alone="The capital of France is Paris.", asked=16, same=15
        ),
    )
    lm_eval = {"gsm8k": score(Objective(at_least=0.85), 0.871, None, (0.853, 0.889))}
    verdict, summary = verdicts.judge(prompt_checks, profiles, lm_eval)
    failed = ["chat: ttft_ms at most 900 (objective ttft_p99_ms): 9 of 420 rows do not, as those due at 3.1 s, 17.2 s, 20.4 s"]
    return Evaluation(
        model="qwen3-32b",
        version=version,
        model_package=f"arn:aws:sagemaker:us-west-2:111122223333:model-package/release-qwen3-32b/{version}",
        execution="p5xq0c8n2m1k",
        evaluated_at="2026-11-25T13:37:00+00:00",
        verdict=verdict,
        summary=summary,
        environment={
            "repository": "Qwen/Qwen3-32B",
            "revision": REVISION,
            "image": "111122223333.dkr.ecr.us-west-2.amazonaws.com/release-serving:latest",
            "instances": "1 ml.p5.48xlarge",
            "SM_SGLANG_TP_SIZE": "8",
            "SM_SGLANG_MEM_FRACTION_STATIC": "0.88",
        },
        production=InProduction(version=1, report="s3://release/evaluations/qwen3-32b/aaaa/evaluation.json")
        if production
        else None,
        prompt_checks=prompt_checks,
        profiles=profiles,
        lm_eval=lm_eval,
        expectations=Expectations(success=verdict == "passed", checked=8, failed=[] if verdict == "passed" else failed),
    )
