"""EvaluateStaging: a staging endpoint, prompt checks, load, the objectives scored; the report is stored and registered."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3

from config.schema import Release
from delivery.aws import s3
from delivery.endpoint import prompt_checks
from delivery.endpoint.hosting import Hosting
from delivery.errors import StepError
from delivery.history.ledger import Ledger
from delivery.job.frame import progress, say
from delivery.names import EVALUATION_FILE
from delivery.registry import images, model_packages
from loadtest.client.chat_client import Ask
from loadtest.generator.load import Load
from loadtest.generator.worker_pool import Fleet
from loadtest.inputs import LoadInputs
from loadtest.measurement.models import ProfileResult
from loadtest.measurement.scoring import profile_result
from loadtest.profiles import LoadProfile
from loadtest.runner import Outcome, Runner
from loadtest.transports import Transport
from loadtest.transports.openai import OpenAITransport
from loadtest.transports.sagemaker import SageMakerTransport
from steps.evaluate_staging import baseline, publish, verdicts
from steps.evaluate_staging.accuracy import Accuracy, results
from steps.evaluate_staging.coordination.host import Host
from steps.evaluate_staging.load_errors import translate_load_errors
from steps.evaluate_staging.models import BatchConsistency, Evaluation, PromptCheckSummary
from steps.evaluate_staging.staging import Staged, staging

_SHOWN = 300
_BATCH_AT_MOST = 32


@dataclass(frozen=True)
class Request:
    """What one start of the step is told."""

    release: Release
    model_package: str
    execution: str
    output: Path
    member: Host = field(default_factory=Host)
    """This host, which leads where there are several."""


def run(request: Request) -> Evaluation:
    """Evaluate the version, write OUTPUT/evaluation.json and the report beside it, note its digest on the version.

    A version that misses its objectives is a result, not an error. StepError when there is no result: the endpoint did not come up.
    """
    region = request.release.environment.region
    sagemaker = boto3.client("sagemaker", region_name=region)
    hosting = Hosting(sagemaker, boto3.client("logs", region_name=region))
    client = s3.client(region)
    package = model_packages.read(sagemaker, request.model_package)
    ledger = Ledger(client, request.release.environment.bucket, request.release.name)
    publish.registered(ledger, package, request.execution)
    image = images.fact(package, request.release.environment.kind)
    production, why_none = baseline.read(request.release, hosting, sagemaker, client)
    with tempfile.TemporaryDirectory(prefix="evaluation-") as folder:
        inputs = LoadInputs(
            lambda uri: s3.read(client, s3.S3Uri.parse(uri)), Path(folder), f"{request.release.weights_prefix}tokenizer.json"
        )
        with translate_load_errors():
            inputs.check(request.release.model.evaluation.load_profiles.values())
        accuracy = Accuracy.prepare(request.release.model.evaluation.lm_eval, client, Path(folder) / "lm_eval")
        with staging(hosting, request.release, package, request.execution) as staged:
            measured = _Measuring(request, boto3.client("sagemaker-runtime", region_name=region), staged, inputs)
            with translate_load_errors():
                asked, outcomes = measured.run()
            scores = measured.ask_lm_eval(accuracy)
    evaluation = _evaluation(request, package, staged, asked, outcomes, scores, production, why_none)
    request.output.mkdir(parents=True, exist_ok=True)
    evaluation = publish.attachments(evaluation, request.release, outcomes, production, request.output)
    body = (evaluation.model_dump_json(indent=2) + "\n").encode()
    (request.output / EVALUATION_FILE).write_bytes(body)
    facts = publish.facts(request.release, evaluation, hashlib.sha256(body).hexdigest()) | image
    model_packages.annotate(sagemaker, request.model_package, facts)
    publish.evaluated(ledger, evaluation, facts)
    publish.cloudwatch(evaluation, region)
    say(f"{evaluation.verdict}: {evaluation.summary}")
    progress(f"{evaluation.verdict}: {evaluation.summary}")
    return evaluation


class _Measuring:
    """Everything that is asked of one endpoint."""

    def __init__(self, request: Request, runtime: Any, staged: Staged, inputs: LoadInputs) -> None:
        """`runtime` is a boto3 sagemaker-runtime client: its address and credentials are used."""
        self._release, self._member = request.release, request.member
        self._runtime, self._staged, self._inputs = runtime, staged, inputs

    def run(self) -> tuple[PromptCheckSummary, dict[str, Outcome]]:
        """The prompt checks, then every load profile."""
        evaluation = self._release.model.evaluation
        results = prompt_checks.ask_all(self._runtime, self._staged.endpoint, evaluation.prompt_checks)
        for result in results:
            say(f"prompt check {'passed' if result.passed else 'FAILED'}: {result.prompt!r} → {result.answer!r}")
        outcomes: dict[str, Outcome] = {}
        with self._member.fleet(evaluation.client_processes) as fleet:
            batch = self._batch(fleet)
            runner = Runner(fleet, self._transport, self._inputs, self._staged.until_s, evaluation.client_lag_at_most_ms)
            for seed, (name, profile) in enumerate(evaluation.load_profiles.items()):
                outcomes[name] = runner.run(profile, seed, _prefixed(name))
                say(f"load profile {name}: {len(outcomes[name].measurement.counted)} requests measured")
        return PromptCheckSummary(failed=sum(not result.passed for result in results), results=results, batch=batch), outcomes

    def ask_lm_eval(self, accuracy: Accuracy | None) -> dict[str, dict[str, float]] | str:
        """Every lm-eval task's numbers; how lm-eval failed, where it does: what the load measured is kept."""
        if accuracy is None:
            return {}
        try:
            return accuracy.ask(self._openai(), accuracy.wanted.timeout_s, max(0.0, self._staged.until_s - time.monotonic()))
        except StepError as error:
            say(str(error))
            return str(error)

    def _transport(self, profile: LoadProfile) -> Transport:
        url, region = self._runtime.meta.endpoint_url, self._release.environment.region
        if profile.client == "sagemaker":
            return SageMakerTransport(self._staged.endpoint, region, url)
        return self._openai()

    def _openai(self) -> OpenAITransport:
        url, region = self._runtime.meta.endpoint_url, self._release.environment.region
        return OpenAITransport.of_endpoint(url, self._staged.endpoint, region)

    def _batch(self, fleet: Fleet) -> BatchConsistency | None:
        """The first prompt check alone, then as many times at once as the first profile has clients."""
        evaluation = self._release.model.evaluation
        if not evaluation.prompt_checks:
            return None
        check, profile = evaluation.prompt_checks[0], next(iter(evaluation.load_profiles.values()))
        load = Load(self._transport(profile), profile.timeout_s, 0, 0, 0, 0)
        ask = Ask(({"role": "user", "content": check.prompt},), check.max_tokens, greedy=True)
        [alone] = fleet.ask(load, ask, 1)
        together = fleet.ask(load, ask, min(getattr(profile, "concurrency", _BATCH_AT_MOST), _BATCH_AT_MOST))
        same = sum(result.text == alone.text and result.is_ok for result in together)
        say(f"prompt check {check.prompt!r} in a batch: {same} of {len(together)} answers are the one that it gives alone")
        return BatchConsistency(prompt=check.prompt, alone=alone.text[:_SHOWN], asked=len(together), same=same)


def _prefixed(name: str) -> Callable[[str], None]:
    return lambda detail: progress(f"{name}: {detail}")


def _incomparable(production: baseline.Baseline | None, profile: str, instances: str) -> str:
    """Why production's numbers say nothing of this version's; empty where they do, or where there are none."""
    if production is None:
        return ""
    before = production.evaluation.environment.get("instances")
    if before not in {None, instances}:
        return f"production was measured on {before}"
    return "" if profile in production.evaluation.profiles else "production was measured without this load profile"


def _evaluation(
    request: Request,
    package: model_packages.ModelPackage,
    staged: Staged,
    asked: PromptCheckSummary,
    outcomes: dict[str, Outcome],
    scores: dict[str, dict[str, float]] | str,
    production: baseline.Baseline | None,
    why_none: str,
) -> Evaluation:
    release = request.release
    model, prices = release.model, release.environment.instance_usd_per_hour
    price = prices.get(staged.instance_type)
    instances = f"{model.evaluation.instance_count} {staged.instance_type}"
    profiles: dict[str, ProfileResult] = {}
    for name, outcome in outcomes.items():
        profile = model.evaluation.load_profiles[name]
        profiles[name] = profile_result(
            profile.model_dump(mode="json", exclude={"objectives"}),
            outcome.measurement,
            profile.objectives,
            usd_per_hour=price * model.evaluation.instance_count if price else None,
            lag_at_most_ms=model.evaluation.client_lag_at_most_ms,
            production=production.evaluation.profiles.get(name) if production else None,
            incomparable=_incomparable(production, name, instances) or why_none,
            trials=outcome.trials,
            more=outcome.more,
        )
    lm_eval = results(model.evaluation.lm_eval, scores, production.evaluation.lm_eval if production else {}, why_none)
    verdict, summary = verdicts.judge(asked, profiles, lm_eval)
    return Evaluation(
        model=release.name,
        version=package.version,
        model_package=request.model_package,
        execution=request.execution,
        evaluated_at=datetime.now(UTC).isoformat(timespec="seconds"),
        verdict=verdict,
        summary=summary,
        environment={
            "repository": model.weights.repository,
            "revision": model.weights.revision,
            "image": release.serving_image,
            "instances": instances,
            **model.container_environment(),
        },
        production=production.reference if production else None,
        prompt_checks=asked,
        profiles=profiles,
        lm_eval=lm_eval,
    )
