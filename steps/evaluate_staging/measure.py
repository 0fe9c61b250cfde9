"""Second phase of an evaluation: a staging endpoint, and everything that is asked of it while it is there."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import boto3

from delivery.endpoint import prompt_checks
from delivery.errors import DeliveryError
from delivery.job.frame import progress
from loadtest.client.chat_client import ChatRequest
from loadtest.generator.load import Load
from loadtest.generator.worker_pool import WorkerPool
from loadtest.measurement.models import ProfileResult
from loadtest.measurement.scoring import Comparison, profile_result
from loadtest.profiles import LoadProfile
from loadtest.runner import ProfileRun, Runner
from loadtest.transports import Transport
from loadtest.transports.openai import OpenAITransport
from loadtest.transports.sagemaker import SageMakerTransport
from steps.evaluate_staging.baseline_endpoint import BaselineEndpoint
from steps.evaluate_staging.lm_eval import tasks as lm_eval_tasks
from steps.evaluate_staging.load_errors import translate_load_errors
from steps.evaluate_staging.models import BatchConsistency, PromptCheckSummary
from steps.evaluate_staging.prepare import Prepared
from steps.evaluate_staging.staging import StagingEndpoint, staging
from steps.evaluate_staging.watch import EndpointWatch

logger = logging.getLogger(__name__)

_SHOWN = 300
_BATCH_AT_MOST = 32
_MEASURE_BESIDE = "measure both at once (evaluation.baseline: interleaved)"


@dataclass(frozen=True)
class Measured:
    """What was measured of a staging endpoint, which is gone."""

    staged: StagingEndpoint
    """What it ran on."""
    prompt_checks: PromptCheckSummary
    """Their answers."""
    loads: dict[str, ProfileRun]
    """What running each load profile gave."""
    profiles: dict[str, ProfileResult]
    """The objectives of each, scored alone and beside production's numbers."""
    beside: dict[str, ProfileResult]
    """What production's version measured meanwhile, where it was asked, too."""
    lm_eval: dict[str, dict[str, float]] | str
    """Task → every number that lm-eval gives; or how lm-eval failed."""
    unconfirmed: str = ""
    """Why it is not known whether the endpoint was the same to the end; empty when it was."""
    not_done: list[str] = field(default_factory=list)
    """What could not be done beside measuring."""


def measure(prepared: Prepared) -> Measured:
    """Start the staging endpoint, ask it everything, delete it.

    Args:
        prepared: What `prepare` found.

    Returns:
        What was measured. Loads and tasks that could not be put on are among it, with the reason.

    Raises:
        InputError: The version was deleted meanwhile.
        DeliveryError: The endpoint did not come up, went away, or became another one. It is deleted whatever happened.
    """
    arguments = prepared.arguments
    with (
        staging(prepared.hosting, arguments.release, prepared.package, arguments.execution) as staged,
        BaselineEndpoint(prepared, staged) as production,
        EndpointWatch(prepared, staged, production.endpoint) as watch,
    ):
        with translate_load_errors(), arguments.host.fleet(arguments.release.model.evaluation.client_processes) as fleet:
            endpoint = _EndpointUnderTest(prepared, staged, production.endpoint, watch, fleet)
            checks = endpoint.ask_prompt_checks()
            batch, loads = endpoint.put_loads_on()
            lm_eval = endpoint.ask_lm_eval()
            profiles = endpoint.measure_on(checks, loads, lm_eval)
        unconfirmed = watch.confirm()
    checks = checks.model_copy(update={"batch": batch})
    not_done = [line for line in (production.why_none, watch.beside_lost, staged.left_behind, production.left_behind) if line]
    return Measured(staged, checks, loads, profiles, endpoint.beside, lm_eval, unconfirmed, not_done)


class _EndpointUnderTest:
    """Everything that is asked of one endpoint."""

    def __init__(
        self,
        prepared: Prepared,
        staged: StagingEndpoint,
        production: StagingEndpoint | None,
        watch: EndpointWatch,
        fleet: WorkerPool,
    ) -> None:
        self._prepared, self._staged, self._watch, self._fleet = prepared, staged, watch, fleet
        self.beside: dict[str, ProfileResult] = {}
        """What production's version measured meanwhile, as of the last look."""
        self._region = prepared.arguments.release.environment.region
        self._evaluation = prepared.arguments.release.model.evaluation
        self._runtime = boto3.client("sagemaker-runtime", region_name=self._region)
        self._runner = self._runner_of(staged)
        self._production = production
        self._runner.baseline = self._runner_of(production) if production else None

    def _runner_of(self, staged: StagingEndpoint) -> Runner:
        """Return what puts loads on an endpoint."""
        return Runner(
            self._fleet,
            lambda profile: self._transport(staged.endpoint, profile),
            self._prepared.inputs,
            staged.until_s,
            expiring="staging endpoint",
            remedy="raise evaluation.max_runtime_s",
            lag_at_most_ms=self._evaluation.client_lag_at_most_ms,
        )

    def ask_prompt_checks(self) -> PromptCheckSummary:
        """Ask every prompt check alone."""
        results = prompt_checks.ask_all(self._runtime, self._staged.endpoint, self._evaluation.prompt_checks)
        if self._production is not None:  # so that it is as warm; its answers are nobody's
            prompt_checks.ask_all(self._runtime, self._production.endpoint, self._evaluation.prompt_checks)
        for result in results:
            logger.info(f"prompt check {'passed' if result.passed else 'FAILED'}: {result.prompt!r} → {result.answer!r}")
        return PromptCheckSummary(failed=sum(not result.passed for result in results), results=results)

    def put_loads_on(self) -> tuple[BatchConsistency | None, dict[str, ProfileRun]]:
        """Ask the first prompt check in a batch, then run every load profile, one after the other."""
        loads: dict[str, ProfileRun] = {}
        batch, profiles = self._ask_in_a_batch(), self._evaluation.load_profiles
        least_s = self._evaluation.least_s if self._production else lambda profile: profile.least_s
        later_s = sum(least_s(profile) + profile.timeout_s for profile in profiles.values())
        for seed, (name, profile) in enumerate(profiles.items()):
            later_s -= least_s(profile) + profile.timeout_s
            if self._watch.beside_lost:
                self._runner.baseline = None
            loads[name] = self._runner.run(profile, seed, self._progress_of(name), reserved_s=later_s)
            self._watch.check()
            logger.info(f"load profile {name}: {len(loads[name].measurement.counted)} requests measured")
        return batch, loads

    def measure_on(
        self, checks: PromptCheckSummary, loads: dict[str, ProfileRun], lm_eval: dict[str, dict[str, float]] | str
    ) -> dict[str, ProfileResult]:
        """Put loads on again that decide nothing yet, where everything else was measured and lets the version pass; returns what all give."""
        baseline = self._prepared.baseline
        tasks = lm_eval_tasks.results(self._evaluation.lm_eval, lm_eval, baseline.lm_eval, baseline.why_none)
        if checks.failed or any(one.undecided or not one.met for one in tasks.values()):
            return {name: self._score(name, run) for name, run in loads.items()}

        def score(name: str) -> ProfileResult:
            self._watch.check()
            return self._score(name, loads[name])

        return self._runner.measure_undecided(self._evaluation.load_profiles, loads, score, self._progress_of)

    def _score(self, name: str, run: ProfileRun) -> ProfileResult:
        evaluation, baseline, instance_type = self._evaluation, self._prepared.baseline, self._staged.instance_type
        profile = evaluation.load_profiles[name]
        price = self._prepared.arguments.release.environment.instance_usd_per_hour.get(instance_type)
        usd_per_hour = price * evaluation.instance_count if price else None

        def result(one: ProfileRun, production: ProfileResult | None, incomparable: str, comparison: Comparison) -> ProfileResult:
            return profile_result(
                profile.load,
                one.measurement,
                profile.objectives,
                usd_per_hour=usd_per_hour,
                lag_at_most_ms=evaluation.client_lag_at_most_ms,
                production=production,
                incomparable=incomparable,
                comparison=comparison,
                trials=one.trials,
                extra_metrics=one.extra_metrics,
            )

        if run.baseline is not None and not self._watch.beside_lost:
            beside = result(run.baseline, None, "", Comparison())
            self.beside[name] = beside.model_copy(update={"objectives": {}})
            return result(run, beside, "", Comparison(run.baseline.measurement, profile.is_in_blocks))
        self.beside.pop(name, None)
        incomparable = baseline.why_incomparable(name, f"{evaluation.instance_count} {instance_type}")
        stored = Comparison(run_to_run=self._prepared.run_to_run.get(name, {}), advice=_MEASURE_BESIDE)
        return result(run, baseline.profile(name), incomparable, stored)

    def ask_lm_eval(self) -> dict[str, dict[str, float]] | str:
        """Run the lm-eval tasks. Where lm-eval fails, return how: what the load measured is kept."""
        accuracy = self._prepared.accuracy
        if accuracy is None:
            return {}
        try:
            left_s = max(0.0, self._staged.until_s - time.monotonic())
            return accuracy.ask(self._openai(self._staged.endpoint), accuracy.wanted.timeout_s, left_s, self._watch.check)
        except (
            DeliveryError,
            OSError,
            ValueError,
        ) as error:  # the last two: its files cannot be written or read, as on a full disk
            logger.warning(str(error))
            return str(error)

    def _progress_of(self, name: str) -> Callable[[str], None]:
        """Show how far a load is, and end it where there is nothing to measure any more."""

        def show(detail: str) -> None:
            self._watch.check()
            progress(f"{name}: {detail}")

        return show

    def _transport(self, endpoint: str, profile: LoadProfile) -> Transport:
        if profile.client == "sagemaker":
            return SageMakerTransport(endpoint, self._region, self._runtime.meta.endpoint_url)
        return self._openai(endpoint)

    def _openai(self, endpoint: str) -> OpenAITransport:
        return OpenAITransport.of_endpoint(self._runtime.meta.endpoint_url, endpoint, self._region)

    def _ask_in_a_batch(self) -> BatchConsistency | None:
        """Ask the first prompt check alone, then as many times at once as the first profile has clients."""
        if not self._evaluation.prompt_checks:
            return None
        check, profile = self._evaluation.prompt_checks[0], next(iter(self._evaluation.load_profiles.values()))
        load = Load(self._transport(self._staged.endpoint, profile), profile.timeout_s, 0, 0, 0, 0)
        ask = ChatRequest(({"role": "user", "content": check.prompt},), check.max_tokens, greedy=True)
        [alone] = self._fleet.send_together(load, ask, 1)
        together = self._fleet.send_together(load, ask, min(getattr(profile, "concurrency", _BATCH_AT_MOST), _BATCH_AT_MOST))
        same = sum(result.written == alone.written and result.is_ok for result in together)
        logger.info(
            f"prompt check {check.prompt!r} in a batch: {same} of {len(together)} answers are the one that it gives alone"
        )
        return BatchConsistency(prompt=check.prompt, alone=alone.written[:_SHOWN], asked=len(together), same=same)
