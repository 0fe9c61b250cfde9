"""What a release costs: instances times hours times the environment's prices. Nothing here asks AWS.

Each cost is a span, from what surely runs to what runs when everything takes as long as it may; what has no price is listed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from config.schema import Release

HOURS_A_MONTH = 730  # as AWS's pricing pages count
_FETCH_BYTES_PER_S = 300e6  # a host's share of a fetch, where nothing was measured: a quarter of an ml.m5.4xlarge's 10 Gbit/s


@dataclass(frozen=True)
class Span:
    """At least and at most so long. Seconds."""

    least_s: float
    most_s: float


@dataclass(frozen=True)
class Cost:
    """Instances of one type, for a time."""

    what: str
    instance_type: str
    instances: int
    span: Span
    usd_per_hour: float | None
    """One instance's price; None: the environment file has none."""

    @property
    def usd(self) -> tuple[float, float] | None:
        """At least and at most so much. US dollars; None without a price."""
        if self.usd_per_hour is None:
            return None
        rate = self.instances * self.usd_per_hour / 3600
        return self.span.least_s * rate, self.span.most_s * rate


def fetch_span(release: Release, total_bytes: int | None, max_runtime_s: float) -> Span:
    """Estimate how long FetchWeights takes for so many bytes; 0 bytes: they are there already. None: nobody knows."""
    if total_bytes is None:
        return Span(0, max_runtime_s)
    hosts = release.model.weights.hosts
    return Span(total_bytes / hosts / _FETCH_BYTES_PER_S, max_runtime_s if total_bytes else 0)


def least_load_s(release: Release) -> float:
    """Sum up how long staging is under load at least: all load profiles, one after the other. Seconds."""
    evaluation = release.model.evaluation
    return sum(evaluation.least_s(profile) for profile in evaluation.load_profiles.values())


def staging_span(release: Release) -> Span:
    """Estimate how long the staging endpoint is up: at least while the load runs, at most until it expires."""
    limit = release.model.evaluation.max_runtime_s
    return Span(min(least_load_s(release), limit), limit)


def update_span(release: Release) -> Span:
    """Estimate how long more instances than usual run while production is updated: the waits at least."""
    production = release.model.production
    return Span(production.update.longest_s(production.instance_count, 0), release.update_timeout_s)


def costs(release: Release, *, total_bytes: int | None, fetch_max_runtime_s: float, is_update: bool) -> list[Cost]:
    """List what one release costs until its version is in production; production itself is not in it.

    `is_update`: production exists already, and has more instances while it is updated.
    """
    environment, model = release.environment, release.model
    types, prices = environment.job_instance_types, environment.instance_usd_per_hour

    def cost(what: str, instance_type: str, instances: int, span: Span) -> Cost:
        return Cost(what, instance_type, instances, span, prices.get(instance_type))

    staging = staging_span(release)
    staged_on = (model.evaluation.staging.instance_types or [model.serving.instance_type])[0]
    fetch = fetch_span(release, total_bytes, fetch_max_runtime_s)
    found = [
        cost("FetchWeights", types.fetch, model.weights.hosts, fetch),
        cost("the staging endpoint", staged_on, model.evaluation.instance_count, staging),
        cost("EvaluateStaging", types.evaluate, model.evaluation.hosts, staging),
    ]
    if is_update and model.evaluation.has_second_endpoint:
        found.append(cost("production's version beside it", staged_on, model.evaluation.instance_count, staging))
    extra = model.production.update.peak_instances(model.production.instance_count) - model.production.instance_count
    if is_update and extra:
        found.append(cost("the update of production", model.serving.instance_type, extra, update_span(release)))
    return found


def total(found: list[Cost]) -> tuple[float, float] | None:
    """Sum up, at least and at most. US dollars; None when a price is missing."""
    spans = [cost.usd for cost in found]
    if any(span is None for span in spans):
        return None
    known = [span for span in spans if span is not None]
    return sum(least for least, _ in known), sum(most for _, most in known)


def production_usd_per_hour(release: Release) -> tuple[float, float] | None:
    """Price production, at least and at most (autoscaling). US dollars an hour; None without a price."""
    price = release.environment.instance_usd_per_hour.get(release.model.serving.instance_type)
    if price is None:
        return None
    production = release.model.production
    bounds = production.autoscaling
    least, most = (bounds.min_instances, bounds.max_instances) if bounds else (production.instance_count,) * 2
    return least * price, most * price


def unpriced(release: Release, found: list[Cost]) -> list[str]:
    """List the instance types that the environment file has no price for."""
    prices: Mapping[str, float] = release.environment.instance_usd_per_hour
    return sorted({cost.instance_type for cost in found} - set(prices))
