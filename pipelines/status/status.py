"""`status`: a model as registry, staging, production and pipelines know it now, and where these disagree with the ledger.

Everything is asked of AWS at the moment; nothing is remembered. What is asked where production is in another account is asked in its role.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC
from typing import Any

from config.environment import Environment
from delivery.aws import accounts, client_errors
from delivery.endpoint import lease
from delivery.history import serving_history
from delivery.history.ledger import Event
from delivery.names import EXPIRES_TAG, MODEL_TAG, PROMOTION_PIPELINE, VERSION_TAG, Fact, pipeline_name
from delivery.registry import model_packages
from pipelines.released_model import ReleasedModel, Version

_SHOWN_VERSIONS = 10
_LOOKED_AT_EXECUTIONS = 20
_UNDER_WAY = {"Executing", "Stopping"}


@dataclass(frozen=True)
class VersionStatus:
    """A version in the registry."""

    version: int
    approval_status: str
    verdict: str
    """The gate's; empty when it was not evaluated yet."""
    revision: str
    created: str
    waits_for_approval: bool
    """Whether it passed the gate and waits for a person."""


@dataclass(frozen=True)
class StagingStatus:
    """An endpoint of an evaluation."""

    endpoint: str
    status: str
    expires_at: str


@dataclass(frozen=True)
class VariantStatus:
    """How many instances a production variant has, and wants."""

    name: str
    instances: int
    desired_instances: int
    weight: float


@dataclass(frozen=True)
class ProductionStatus:
    """The production endpoint."""

    endpoint: str
    account_id: str
    status: str
    """SageMaker's, or `absent`."""
    version: int | None = None
    """By the tags of what it serves; None when this project did not make it."""
    config: str = ""
    variants: list[VariantStatus] = field(default_factory=list)
    alarms: dict[str, str] = field(default_factory=dict)
    """Each alarm that guards it, and its state."""


@dataclass(frozen=True)
class ExecutionStatus:
    """A pipeline execution that is under way."""

    arn: str
    pipeline: str
    status: str
    started: str


@dataclass(frozen=True)
class LeaseStatus:
    """Who may change production now."""

    execution: str
    owner: str
    expires_at: str


@dataclass(frozen=True)
class ModelStatus:
    """All of it."""

    model: str
    versions: list[VersionStatus]
    staging: list[StagingStatus]
    production: ProductionStatus | None
    """None when the model was never in production and no file says where it would go, and when production was not to be looked at."""
    production_refused: str
    """Why production, in another account, was not to be looked at, and what to do; empty when it was."""
    ledger_version: int | None
    """What production serves by the ledger."""
    drift: list[str]
    """What production is and the ledger does not know of; empty when they agree."""
    executions: list[ExecutionStatus]
    lease: LeaseStatus | None

    @property
    def pending(self) -> list[int]:
        """The versions that wait for a person."""
        return [version.version for version in self.versions if version.waits_for_approval]

    def facts(self) -> dict[str, Any]:
        """For `--json`."""
        return {**asdict(self), "pending_approvals": self.pending}


def status(about: ReleasedModel) -> ModelStatus:
    """Ask for all of it. LedgerBroken when the ledger's chain does not hold."""
    events = about.ledger.events()
    endpoint = _endpoint_name(about, events)
    production, differences, refused = _looked_at(about, events, endpoint) if endpoint else (None, [], "")
    stated = lease.read(about.s3, about.environment.bucket, endpoint) if endpoint else None
    return ModelStatus(
        model=about.name,
        versions=[_version(about, listed) for listed in about.versions()[:_SHOWN_VERSIONS]],
        staging=list(_staging(about.sagemaker, about.name)),
        production=production,
        production_refused=refused,
        ledger_version=serving_history.version_now(events),
        drift=differences,
        executions=list(executions(about)),
        lease=LeaseStatus(stated[0].execution, stated[0].owner, stated[0].expires_at) if stated and stated[1] else None,
    )


def _looked_at(about: ReleasedModel, events: list[Event], endpoint: str) -> tuple[ProductionStatus | None, list[str], str]:
    """Production and its drift; in their place, where another account's role lets nobody look, why it does not and what to do."""
    from botocore.exceptions import ClientError

    there = accounts.production_session(about.environment, "status")
    try:
        production = _Production(there, about.environment, endpoint).status()
        return production, list(drift(events, production, there.client("sagemaker"))), ""
    except ClientError as error:
        role = about.environment.production
        if role is None or not (error.operation_name == "AssumeRole" or "AccessDenied" in error.response["Error"]["Code"]):
            raise
        refusal = (
            f"{role.role}, in whose account {endpoint} is, refuses: {error.response['Error']['Message']}; use credentials that its trust "
            "policy names, or give it what it lacks (docs/two_accounts.md)"
        )
        return None, [], refusal


def drift(events: Iterable[Event], production: ProductionStatus, sagemaker: Any) -> Iterable[str]:
    """How the endpoint differs from what the ledger's last promotion or rollback left: somebody changed it by hand."""
    now = serving_history.serving_lineage(events)
    if not now:
        if production.status != "absent" and production.version is None:
            yield f"the endpoint {production.endpoint} exists, but this project did not make it"
        elif production.status != "absent":
            yield f"the endpoint {production.endpoint} serves version {production.version}, but the ledger knows of no promotion"
        return
    left = serving_history.Deployed.of(now[-1])
    if production.status == "absent":
        yield f"the endpoint {production.endpoint} is gone; the ledger says that it serves version {now[-1].version}"
        return
    if production.config != left.config:
        yield (
            f"the endpoint serves the config {production.config} (version {production.version or 'unknown'}), the ledger says {left.config} "
            f"(version {now[-1].version})"
        )
    for variant in production.variants:
        bounds = left.instance_bounds or (left.instance_count, left.instance_count)
        if not bounds[0] <= variant.desired_instances <= bounds[1]:
            wanted = str(bounds[0]) if bounds[0] == bounds[1] else f"{bounds[0]} to {bounds[1]}"
            yield f"the variant {variant.name} wants {variant.desired_instances} instances, the ledger says {wanted}"
    if len(production.variants) > 1:
        names = ", ".join(f"{variant.name} ({variant.weight:g})" for variant in production.variants)
        yield f"the endpoint has {len(production.variants)} variants: {names}; this project makes one"
    yield from _container_drift(left, now[-1].model_package, production, sagemaker)


def _container_drift(
    left: serving_history.Deployed, model_package: str | None, production: ProductionStatus, sagemaker: Any
) -> Iterable[str]:
    """A config and a model cannot be changed, but deleted and made again under the same name."""
    from botocore.exceptions import ClientError

    if production.config != left.config:
        return
    try:
        variants = sagemaker.describe_endpoint_config(EndpointConfigName=left.config)["ProductionVariants"]
        model = sagemaker.describe_model(ModelName=variants[0]["ModelName"])
    except ClientError as error:
        if not client_errors.is_absent(error):
            raise
        yield f"the endpoint config {left.config}, or its model, was deleted; the endpoint goes on, but cannot be scaled or updated back"
        return
    container = model.get("PrimaryContainer") or {}
    package = container.get("ModelPackageName")
    if package is not None and package != model_package:
        yield f"the model {model['ModelName']} is made from {package}, the ledger says {model_package}"


class _Production:
    """The production endpoint, asked with the credentials of its account."""

    def __init__(self, session: Any, environment: Environment, endpoint: str) -> None:
        self._sagemaker = session.client("sagemaker")
        self._cloudwatch = session.client("cloudwatch")
        self._environment, self._endpoint = environment, endpoint

    def status(self) -> ProductionStatus:
        from botocore.exceptions import ClientError

        account = self._environment.for_production.account_id
        try:
            found = self._sagemaker.describe_endpoint(EndpointName=self._endpoint)
        except ClientError as error:
            if not client_errors.is_absent(error):
                raise
            return ProductionStatus(self._endpoint, account, "absent")
        config = found.get("EndpointConfigName", "")
        return ProductionStatus(
            endpoint=self._endpoint,
            account_id=account,
            status=found["EndpointStatus"],
            version=self._version_of(config),
            config=config,
            variants=[
                VariantStatus(
                    variant["VariantName"],
                    int(variant.get("CurrentInstanceCount", 0)),
                    int(variant.get("DesiredInstanceCount", 0)),
                    float(variant.get("CurrentWeight", 1)),
                )
                for variant in found.get("ProductionVariants", [])
            ],
            alarms=self._alarms(config, found),
        )

    def _version_of(self, config: str) -> int | None:
        from botocore.exceptions import ClientError

        try:
            arn = self._sagemaker.describe_endpoint_config(EndpointConfigName=config)["EndpointConfigArn"]
        except ClientError as error:
            if not client_errors.is_absent(error):
                raise
            return None
        version = _tags(self._sagemaker, arn).get(VERSION_TAG)
        return int(version) if version else None

    def _alarms(self, config: str, endpoint: dict[str, Any]) -> dict[str, str]:
        """The alarms that the project makes for what is served, and those that guarded the last update."""
        last = endpoint.get("LastDeploymentConfig") or {}
        guarded = [alarm["AlarmName"] for alarm in (last.get("AutoRollbackConfiguration") or {}).get("Alarms", [])]
        named = [*guarded, f"{self._endpoint}-no-instance"]
        found = self._cloudwatch.describe_alarms(AlarmNames=named)["MetricAlarms"]
        found += self._cloudwatch.describe_alarms(AlarmNamePrefix=f"{config}-")["MetricAlarms"] if config else []
        return dict.fromkeys(guarded, "absent") | {alarm["AlarmName"]: alarm["StateValue"] for alarm in found}


def _endpoint_name(about: ReleasedModel, events: list[Event]) -> str | None:
    """The production endpoint: of the ledger's last promotion, or of the model file."""
    now = serving_history.serving_lineage(events)
    if now:
        return serving_history.Deployed.of(now[-1]).endpoint
    return about.file.production.endpoint if about.file else None


def _version(about: ReleasedModel, listed: Version) -> VersionStatus:
    facts = model_packages.read(about.sagemaker, listed.arn).facts
    verdict = facts.get(Fact.EVALUATION_VERDICT, "")
    return VersionStatus(
        version=listed.number,
        approval_status=listed.approval_status,
        verdict=verdict,
        revision=f"{facts.get(Fact.REPOSITORY, '')}@{facts.get(Fact.REVISION, '')[:12]}",
        created=listed.created.astimezone(UTC).isoformat(timespec="seconds"),
        waits_for_approval=listed.approval_status == "PendingManualApproval" and verdict == "passed",
    )


def _staging(sagemaker: Any, model: str) -> Iterable[StagingStatus]:
    for page in sagemaker.get_paginator("list_endpoints").paginate(NameContains="staging-"):
        for listed in page["Endpoints"]:
            tags = _tags(sagemaker, listed["EndpointArn"])
            if tags.get(MODEL_TAG) == model:
                yield StagingStatus(listed["EndpointName"], listed["EndpointStatus"], tags.get(EXPIRES_TAG, ""))


def executions(about: ReleasedModel) -> Iterable[ExecutionStatus]:
    """Executions under way: of the model's own pipeline, and those of the shared one that are about its versions."""
    sagemaker = about.sagemaker
    for pipeline in (pipeline_name(about.name), PROMOTION_PIPELINE):
        try:
            listed = sagemaker.list_pipeline_executions(
                PipelineName=pipeline, SortBy="CreationTime", SortOrder="Descending", MaxResults=_LOOKED_AT_EXECUTIONS
            )["PipelineExecutionSummaries"]
        except sagemaker.exceptions.ResourceNotFound:
            continue
        for execution in listed:
            if execution["PipelineExecutionStatus"] not in _UNDER_WAY:
                continue
            arn = execution["PipelineExecutionArn"]
            if pipeline == PROMOTION_PIPELINE and not _is_about(sagemaker, arn, about):
                continue
            started = execution["StartTime"].astimezone(UTC).isoformat(timespec="seconds")
            yield ExecutionStatus(arn, pipeline, execution["PipelineExecutionStatus"], started)


def _is_about(sagemaker: Any, execution: str, about: ReleasedModel) -> bool:
    parameters = sagemaker.list_pipeline_parameters_for_execution(PipelineExecutionArn=execution)["PipelineParameters"]
    return any(f":model-package/{about.package_group}/" in parameter["Value"] for parameter in parameters)


def _tags(sagemaker: Any, arn: str) -> dict[str, str]:
    """A resource's tags; none where it went away meanwhile."""
    from botocore.exceptions import ClientError

    try:
        return {
            tag["Key"]: tag["Value"]
            for page in sagemaker.get_paginator("list_tags").paginate(ResourceArn=arn)
            for tag in page["Tags"]
        }
    except ClientError as error:
        if client_errors.is_absent(error):
            return {}
        raise
