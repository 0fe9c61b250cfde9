"""`status`: a model as registry, staging, production and pipelines know it now, and where these disagree with the ledger.

Everything is asked of AWS at the moment; nothing is remembered. What is asked where production is in another account is asked in its role.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from delivery.aws import accounts
from delivery.endpoint import lease
from delivery.history import changes, serving_history
from delivery.history.ledger import Event, newest
from delivery.names import EXPIRES_TAG, MODEL_TAG, PROMOTION_PIPELINE, Fact, evaluation_pipeline_name, pipeline_name
from delivery.registry import model_packages
from pipelines.released_model import RegisteredVersion, ReleasedModel
from pipelines.status.drift import find_drift
from pipelines.status.production import ProductionEndpoint, read_tags
from pipelines.status.statuses import (
    ExecutionStatus,
    LeaseStatus,
    ModelStatus,
    ProductionStatus,
    StagingStatus,
    VersionStatus,
)
from pipelines.status.unfinished import find_unfinished

if TYPE_CHECKING:  # the stubs are a dev dependency
    from types_boto3_sagemaker import SageMakerClient

_SHOWN_VERSIONS = 10
_NEWEST_EXECUTIONS = 20
_UNDER_WAY = {"Executing", "Stopping"}


def read_status(model: ReleasedModel) -> ModelStatus:
    """Ask AWS for all of it. LedgerBroken when the ledger's chain does not hold."""
    events = model.ledger.events()
    endpoint = _endpoint_name(model, events)
    production, drift, refused = _production_and_drift(model, events, endpoint) if endpoint else (None, [], "")
    stated = lease.read(model.s3, model.environment.bucket, endpoint) if endpoint else None
    is_held = stated is not None and stated[1]
    versions = [_version(model, listed) for listed in model.versions()[:_SHOWN_VERSIONS]]
    return ModelStatus(
        model=model.name,
        versions=versions,
        staging=list(_staging(model.sagemaker, model.name)),
        production=production,
        production_refused=refused,
        ledger_version=serving_history.version_now(events),
        drift=drift,
        executions=list(executions_under_way(model)),
        lease=LeaseStatus(stated[0].execution, stated[0].owner, stated[0].expires_at) if stated and is_held else None,
        unfinished=[] if is_held else list(find_unfinished(events, production, versions, model.name, model.env)),
        retired=_retired(events),
    )


def _production_and_drift(
    model: ReleasedModel, events: list[Event], endpoint: str
) -> tuple[ProductionStatus | None, list[str], str]:
    """Read production and its drift; in their place, where another account's role lets nobody look, why it does not and what to do."""
    there = accounts.production_session(model.environment, "status")
    try:
        production = ProductionEndpoint(there, model.environment, endpoint).status()
        return production, list(find_drift(events, production, there.client("sagemaker"))), ""
    except ClientError as error:
        role = model.environment.production
        if role is None or not (error.operation_name == "AssumeRole" or "AccessDenied" in error.response["Error"]["Code"]):
            raise
        refusal = (
            f"{role.role}, in whose account {endpoint} is, refuses: {error.response['Error']['Message']}; use credentials that its trust "
            "policy names, or give it what it lacks (docs/two_accounts.md)"
        )
        return None, [], refusal


def _endpoint_name(model: ReleasedModel, events: list[Event]) -> str | None:
    """Name the production endpoint: of the ledger's last change of production, or of the model file."""
    last = newest(events, "changing", *changes.ENDINGS)
    if last is not None:
        return str(last.details.get("endpoint") or serving_history.DeployedVersion.of(last).endpoint)
    return model.file.production.endpoint if model.file else None


def _retired(events: list[Event]) -> str:
    """Say when, by whom and why production was taken out of service; empty unless it is."""
    last = newest(events, *changes.ENDINGS)
    if last is None or last.kind != "retired":
        return ""
    comment = last.details.get("comment")
    return f"out of service since {last.at}, by {last.by}{f': {comment}' if comment else ''}"


def _version(model: ReleasedModel, listed: RegisteredVersion) -> VersionStatus:
    facts = model_packages.read(model.sagemaker, listed.arn).facts
    verdict = facts.get(Fact.EVALUATION_VERDICT, "")
    return VersionStatus(
        version=listed.number,
        approval_status=listed.approval_status,
        verdict=verdict,
        revision=f"{facts.get(Fact.REPOSITORY, '')}@{facts.get(Fact.REVISION, '')[:12]}",
        created=listed.created.astimezone(UTC).isoformat(timespec="seconds"),
        waits_for_approval=listed.approval_status == "PendingManualApproval" and verdict == "passed",
        waits_for_evaluation=listed.approval_status == "PendingManualApproval" and verdict == "invalid",
    )


def _staging(sagemaker: SageMakerClient, name: str) -> Iterator[StagingStatus]:
    for page in sagemaker.get_paginator("list_endpoints").paginate(NameContains="staging-"):
        for listed in page["Endpoints"]:
            tags = read_tags(sagemaker, listed["EndpointArn"])
            if tags.get(MODEL_TAG) == name:
                yield StagingStatus(listed["EndpointName"], listed["EndpointStatus"], tags.get(EXPIRES_TAG, ""))


def executions_under_way(model: ReleasedModel) -> Iterator[ExecutionStatus]:
    """Yield the executions under way: of the model's own pipelines, and those of the shared one that concern its versions."""
    sagemaker = model.sagemaker
    for pipeline in (pipeline_name(model.name), evaluation_pipeline_name(model.name), PROMOTION_PIPELINE):
        try:
            listed = sagemaker.list_pipeline_executions(
                PipelineName=pipeline, SortBy="CreationTime", SortOrder="Descending", MaxResults=_NEWEST_EXECUTIONS
            )["PipelineExecutionSummaries"]
        except sagemaker.exceptions.ResourceNotFound:
            continue
        for execution in listed:
            if execution["PipelineExecutionStatus"] not in _UNDER_WAY:
                continue
            arn = execution["PipelineExecutionArn"]
            if pipeline == PROMOTION_PIPELINE and not _concerns(sagemaker, arn, model):
                continue
            started = execution["StartTime"].astimezone(UTC).isoformat(timespec="seconds")
            yield ExecutionStatus(arn, pipeline, execution["PipelineExecutionStatus"], started)


def _concerns(sagemaker: SageMakerClient, execution: str, model: ReleasedModel) -> bool:
    parameters = sagemaker.list_pipeline_parameters_for_execution(PipelineExecutionArn=execution)["PipelineParameters"]
    return any(f":model-package/{model.package_group}/" in parameter["Value"] for parameter in parameters)
