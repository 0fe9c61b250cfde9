"""The plan of a release (a dry run) as a value: what it would do, cost, need and change, by its files and by what could be looked up."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from config.instances import gpu_memory_bytes
from config.rules import model_rules
from config.schema import Release
from config.updates import LONGEST_UPDATE_S
from delivery.names import RELEASE_STEPS
from pipelines.definitions.requests import FETCH_MAX_RUNTIME_S
from pipelines.planning import prices
from pipelines.planning.differences import Difference, differences
from pipelines.planning.observed_state import ObservedState
from pipelines.planning.prices import Cost, Span
from pipelines.planning.quotas import InstanceNeed, needs, shortage
from pipelines.planning.sensitivity import Sensitivity, sensitivities

_GPU_SHARE = 0.9  # of the GPUs' memory that weights may take: the rest is for the KV cache and CUDA graphs


@dataclass(frozen=True)
class PlannedStep:
    """One step of the pipeline, as it would go."""

    name: str
    what: str
    span: Span | None = None
    """At least and at most so long; None: a moment, or as long as a person takes."""


@dataclass(frozen=True)
class QuotaNeed:
    """A quota that this release needs."""

    need: InstanceNeed
    available: float | None
    """What the account has; None: not looked up."""
    to_do: str | None
    """What to do where it is not enough."""


@dataclass(frozen=True)
class Plan:
    """What a release would do, cost, need and change."""

    model: str
    environment: str
    repository: str
    revision: str
    steps: list[PlannedStep]
    costs: list[Cost]
    usd: tuple[float, float] | None
    """What the release costs, at least and at most; None: a price is missing."""
    production_usd_per_hour: tuple[float, float] | None
    unpriced: list[str]
    """Instance types without a price."""
    quotas: list[QuotaNeed]
    production_version: int | None
    """What production serves; None: nothing, or not known."""
    differences: list[Difference] | None
    """Against the version in production; None: there is none, or it is not known."""
    weights_bytes: int | None
    """What a fetch would move; None: not looked up."""
    left_out_bytes: int | None
    """What of the repository is not fetched, since no server reads it."""
    memory: dict[str, str]
    """Instance type → what each of its GPUs would hold, as a sentence."""
    refusals: list[str]
    """What can never work, of what the Hub says of the model."""
    sensitivities: list[Sensitivity]
    """Which differences from production the evaluation can see, as far as production's own evaluation tells."""
    warnings: list[str]
    unknown: list[str]
    """What could not be looked up, and why."""

    @property
    def is_possible(self) -> bool:
        """Whether nothing that is known stands against it."""
        return not self.refusals and all(quota.to_do is None for quota in self.quotas)

    def to_dict(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        costs = [{**asdict(cost), "usd": cost.usd} for cost in self.costs]
        return {**asdict(self), "costs": costs, "is_possible": self.is_possible}


def build(release: Release, observed: ObservedState) -> Plan:
    """Make the plan: a pure function of the release and of what was looked up. No I/O.

    >>> from pipelines.resolution import resolve
    >>> build(resolve("qwen3-32b", "local"), ObservedState()).is_possible
    True
    """
    total_bytes = 0 if observed.weights_stored else observed.weights_bytes
    environment, weights, inspected = release.environment, release.model.weights, observed.weights
    costs = (
        []
        if environment.kind == "local"
        else prices.costs(
            release,
            total_bytes=total_bytes,
            fetch_max_runtime_s=FETCH_MAX_RUNTIME_S,
            is_update=observed.production_exists is not False,
        )
    )
    if observed.production_exists is False:
        release = _alone(release)
    seen = sensitivities(release, observed.production_evaluation)
    return Plan(
        model=release.name,
        environment=f"{environment.kind}, account {environment.account_id}, {environment.region}",
        repository=weights.repository,
        revision=weights.revision,
        steps=_steps(release, observed, total_bytes),
        costs=costs,
        usd=prices.total(costs),
        production_usd_per_hour=prices.production_usd_per_hour(release),
        unpriced=prices.unpriced(release, costs),
        quotas=_quotas(release, observed),
        production_version=observed.production_version,
        differences=None if observed.production_release is None else differences(observed.production_release, release),
        weights_bytes=observed.weights_bytes,
        left_out_bytes=inspected.selection.left_out_bytes if inspected else None,
        memory={name: str(use) for name, use in inspected.fit.memory.items()} if inspected else {},
        refusals=[str(finding) for finding in observed.refusals],
        sensitivities=seen,
        warnings=[
            *warnings(release, observed),
            *(one.sentence for one in seen if not one.is_enough),
            *(inspected.warnings if inspected else []),
        ],
        unknown=observed.unknown,
    )


def _alone(release: Release) -> Release:
    """Return the release as it is while nothing is in production: nothing is measured beside the version."""
    evaluation = release.model.evaluation.model_copy(update={"baseline": "stored"})
    return release.model_copy(update={"model": release.model.model_copy(update={"evaluation": evaluation})})


def _steps(release: Release, observed: ObservedState, total_bytes: int | None) -> list[PlannedStep]:
    model, evaluation = release.model, release.model.evaluation
    bounds = [len(profile.objectives) for profile in evaluation.load_profiles.values()]
    conditions = 2 + sum(bounds) + (len(evaluation.lm_eval.tasks) if evaluation.lm_eval else 0)
    manual = "waits until a person approves it"
    known = {
        "FetchWeights": PlannedStep(
            "FetchWeights", _fetch(release, observed), prices.fetch_span(release, total_bytes, FETCH_MAX_RUNTIME_S)
        ),
        "RegisterModel": PlannedStep("RegisterModel", f"a new version in {release.package_group}, pending approval"),
        "EvaluateStaging": PlannedStep("EvaluateStaging", _evaluate(release), prices.staging_span(release)),
        "Gate": PlannedStep("Gate", f"{conditions} conditions, all must hold"),
        "Approved": PlannedStep("Approved?", "the gate's verdict is enough" if model.approval == "automatic" else manual),
        "Promote": PlannedStep(
            "Promote", _promote(release, observed), Span(prices.update_span(release).least_s, release.update_timeout_s)
        ),
    }
    return [known.get(name, PlannedStep(name, "a job of its own")) for name in RELEASE_STEPS]


def _fetch(release: Release, observed: ObservedState) -> str:
    weights = release.model.weights
    if observed.weights_stored:
        return f"nothing to move: {release.weights_prefix} is complete"
    size = f"{observed.weights_bytes / 1e9:,.1f} GB" if observed.weights_bytes is not None else "an unknown number of bytes"
    if observed.weights_bytes is None and weights.max_bytes is not None:
        size = f"at most {weights.max_bytes / 1e9:,.1f} GB"
    return f"{size} from the Hub to {release.weights_prefix} by {_instances(weights.hosts, release.environment.job_instance_types.fetch)}"


def _evaluate(release: Release) -> str:
    evaluation = release.model.evaluation
    types = " or ".join(evaluation.staging.instance_types or [release.model.serving.instance_type])
    parts = [", ".join(f"{name} ({profile.kind})" for name, profile in evaluation.load_profiles.items())]
    parts.append(f"{len(evaluation.prompt_checks)} prompt checks")
    if evaluation.lm_eval:
        parts.append(f"lm-eval's {', '.join(evaluation.lm_eval.tasks)}")
    if evaluation.has_second_endpoint:
        parts.append("production's version beside it on as many more, asked the same in turn")
    return (
        f"staging on {_instances(evaluation.instance_count, types)}, load from "
        f"{_instances(evaluation.hosts, release.environment.job_instance_types.evaluate)}: {'; '.join(parts)}; deleted at the end"
    )


def _promote(release: Release, observed: ObservedState) -> str:
    production, serving = release.model.production, release.model.serving
    where = f"{production.endpoint} on {_instances(production.instance_count, serving.instance_type)}"
    if serving.fallback_instance_types:
        where += f" (or {', '.join(serving.fallback_instance_types)})"
    if release.environment.production is not None:
        where += f" in account {release.environment.production.account_id}"
    peak = production.update.peak_instances(production.instance_count)
    update = f"{production.update.strategy}, {peak} instances at most while it runs"
    match observed.production_exists, observed.production_version:
        case False, _:
            return f"creates {where}"
        case True, int(version):
            return f"updates {where} from version {version}: {update}"
        case True, None:
            return f"updates {where}: {update}"
        case _:
            return f"creates or updates {where}; an update is {update}"


def _quotas(release: Release, observed: ObservedState) -> list[QuotaNeed]:
    if release.environment.kind == "local":
        return []  # this machine plays the instances
    found = []
    for need in needs([release]):
        known = observed.quotas.get(need.account_id)
        quota = known.get(need.quota) if known else None
        found.append(QuotaNeed(need, quota.value if quota else None, shortage(need, known) if known else None))
    return found


def warnings(release: Release, observed: ObservedState) -> list[str]:
    """List what works and is still worth a thought: what the rules of `config` say, one instance, one zone, timeouts and memory that
    may not do. On this machine the rules alone."""
    production, serving, evaluation = release.model.production, release.model.serving, release.model.evaluation
    found = [str(finding) for finding in model_rules.findings(release.model) if not finding.is_error]
    if release.environment.kind == "local":
        return found  # nothing here has zones, GPUs or reservations
    if production.least_instances == 1:
        found.append(
            f"{production.endpoint} has one instance: when it or its zone fails, nothing answers; with production.instance_count of 2 or "
            "more SageMaker spreads them over availability zones"
        )
    elif observed.production_zones == 1:
        found.append(
            "production's subnets are in one availability zone: name subnets in two or more, so that its instances are spread"
        )
    needed_s = release.start_s + prices.least_load_s(release)
    if needed_s > evaluation.max_runtime_s:
        found.append(
            f"staging expires after evaluation.max_runtime_s, {evaluation.max_runtime_s} s; coming up and load may take {needed_s:.0f} s"
        )
    longest_s = production.update.longest_s(production.instance_count, release.start_s)
    if longest_s > LONGEST_UPDATE_S:
        found.append(
            f"an update may take {longest_s:.0f} s when each batch takes as long as it may; SageMaker ends it after {LONGEST_UPDATE_S} s"
        )
    is_compared = observed.weights is not None and bool(observed.weights.fit.memory)  # then its findings say more
    memory = gpu_memory_bytes(serving.instance_type) * serving.tensor_parallel_size
    if observed.weights_bytes is not None and not is_compared and observed.weights_bytes > memory * _GPU_SHARE:
        found.append(
            f"the weights are {observed.weights_bytes / 1e9:,.0f} GB, and {serving.tensor_parallel_size} GPUs of {serving.instance_type} "
            f"have {memory / 1e9:,.0f} GB: little or no room for the KV cache"
        )
    reservation = release.environment.for_production.reservation(serving.instance_type, "production")
    if reservation is not None:
        found.append(
            f"production runs on {reservation.arn} alone: it stops answering when the reservation ends, and an update needs "
            f"{production.update.peak_instances(production.instance_count)} instances of it"
        )
        if serving.fallback_instance_types:
            found.append("serving.fallback_instance_types does nothing: production's instance type is reserved")
    return found


def _instances(count: int, instance_type: str) -> str:
    return f"{count} x {instance_type}"
