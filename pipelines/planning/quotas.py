"""How many instances releases need at a time, and how many the account may have: SageMaker's quotas in Service Quotas.

SageMaker counts endpoints' instances by type, as in "ml.p5.48xlarge for endpoint usage", and jobs' apart from them, as in "ml.m5.4xlarge
for processing job usage" (the message of ResourceLimitExceeded names the quota so). New accounts have 0 of most GPU types.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from config.schema import Release

if TYPE_CHECKING:  # the stubs are a dev dependency
    from types_boto3_service_quotas import ServiceQuotasClient

SERVICE_CODE = "sagemaker"


@dataclass(frozen=True)
class InstanceNeed:
    """So many instances of a type at a time, in one account, for one use."""

    account_id: str
    quota: str
    """The quota's name in Service Quotas."""
    instances: int
    reason: str
    """What needs them."""


@dataclass(frozen=True)
class Quota:
    """One quota as the account has it."""

    name: str
    code: str
    """What `aws service-quotas request-service-quota-increase --quota-code` takes."""
    value: float


def endpoint_quota(instance_type: str) -> str:
    """Name the quota of endpoints' instances."""
    return f"{instance_type} for endpoint usage"


def job_quota(instance_type: str) -> str:
    """Name the quota of processing jobs' instances."""
    return f"{instance_type} for processing job usage"


def needs(releases: Iterable[Release]) -> list[InstanceNeed]:
    """Sum up what all of these need at a time: every production at once, and beside them the largest staging or update, one release at a time."""
    standing: dict[tuple[str, str], list[str]] = defaultdict(list)
    counts: dict[tuple[str, str], int] = defaultdict(int)
    passing: dict[tuple[str, str], tuple[int, str]] = {}
    jobs: dict[tuple[str, str], tuple[int, str]] = {}
    for release in releases:
        for key, instances in _standing_instances(release).items():
            counts[key] += instances
            standing[key].append(f"{instances} for production of {release.name}")
        for largest, found in ((passing, _temporary_instances(release)), (jobs, _job_instances(release))):
            for key, one in found:
                largest[key] = max(largest.get(key, (0, "")), one, key=lambda counted: counted[0])
    endpoints = []
    for key in sorted({*counts, *passing}):
        extra, why = passing.get(key, (0, ""))
        reason = ", ".join([*standing[key], *([why] if extra else [])])
        endpoints.append(InstanceNeed(*key, counts[key] + extra, reason))
    return endpoints + [InstanceNeed(*key, count, why) for key, (count, why) in sorted(jobs.items())]


def read_quotas(service_quotas: ServiceQuotasClient) -> dict[str, Quota]:
    """Read the account's quotas of SageMaker, by name. botocore's errors pass.

    A quota that was never changed may be known by its default alone (API reference of ListServiceQuotas).
    """
    defaults = service_quotas.get_paginator("list_aws_default_service_quotas").paginate(ServiceCode=SERVICE_CODE)
    own = service_quotas.get_paginator("list_service_quotas").paginate(ServiceCode=SERVICE_CODE)
    listed = [*(quota for page in defaults for quota in page["Quotas"]), *(quota for page in own for quota in page["Quotas"])]
    return {quota["QuotaName"]: Quota(quota["QuotaName"], quota["QuotaCode"], quota["Value"]) for quota in listed}


def shortage(need: InstanceNeed, known: Mapping[str, Quota]) -> str | None:
    """Return what to do about a need that the quotas do not cover; None where they do."""
    quota = known.get(need.quota)
    if quota is None:
        return f"Service Quotas knows no {need.quota!r} here: SageMaker may not have this instance type in the region; choose another"
    if quota.value >= need.instances:
        return None
    return (
        f"{need.quota!r} is {quota.value:g}, and {need.instances} are needed ({need.reason}); ask for more: aws service-quotas "
        f"request-service-quota-increase --service-code {SERVICE_CODE} --quota-code {quota.code} --desired-value {need.instances}"
    )


def _standing_instances(release: Release) -> dict[tuple[str, str], int]:
    """Count the instances that stay: of the instance type, and, in its stead, of every fallback."""
    production, serving = release.model.production, release.model.serving
    count = production.autoscaling.max_instances if production.autoscaling else production.instance_count
    account = release.environment.for_production.account_id
    return {(account, endpoint_quota(name)): count for name in [serving.instance_type, *serving.fallback_instance_types]}


def _temporary_instances(release: Release) -> Iterable[tuple[tuple[str, str], tuple[int, str]]]:
    """Yield the instances beside those that stay: of staging, and later of an update."""
    serving, production = release.model.serving, release.model.production
    evaluation = release.model.evaluation
    staging = evaluation.instance_count * (2 if evaluation.has_second_endpoint else 1)
    beside = ", production's version beside it" if evaluation.has_second_endpoint else ""
    for name in evaluation.staging.instance_types or [serving.instance_type]:
        yield (
            (release.environment.account_id, endpoint_quota(name)),
            (staging, f"{staging} for staging of {release.name}{beside}"),
        )
    for key, count in _standing_instances(release).items():
        extra = production.update.peak_instances(count) - count
        yield key, (extra, f"{extra} more while production of {release.name} is updated ({production.update.strategy})")


def _job_instances(release: Release) -> Iterable[tuple[tuple[str, str], tuple[int, str]]]:
    """Yield each job's instances; the jobs of a release run one after the other."""
    types, account = release.environment.job_instance_types, release.environment.account_id
    yield (account, job_quota(types.fetch)), (release.model.weights.hosts, f"FetchWeights of {release.name}")
    yield (account, job_quota(types.evaluate)), (release.model.evaluation.hosts, f"EvaluateStaging of {release.name}")
    yield (account, job_quota(types.control)), (1, f"Promote of {release.name}")
