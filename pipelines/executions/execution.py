"""Pipelines and their executions: sent, started, viewed, followed. The same calls on AWS and on this machine."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import ClientError

from config.environment import Environment
from config.schema import Release
from delivery.aws.accounts import group_policy
from delivery.aws.client_errors import is_taken
from delivery.names import MODEL_TAG
from pipelines.executions.logs import JobLogs

if TYPE_CHECKING:  # the stubs are a dev dependency
    from types_boto3_sagemaker.type_defs import (
        PipelineExecutionStepMetadataTypeDef,
        PipelineExecutionStepTypeDef,
        PipelineExecutionSummaryTypeDef,
        StartPipelineExecutionRequestTypeDef,
    )

FINAL = {"Succeeded", "Failed", "Stopped"}


@dataclass
class StepView:
    """One step of an execution, as it is now."""

    name: str
    status: str
    started: datetime | None = None
    ended: datetime | None = None
    detail: str = ""
    failure: str = ""
    job: str = ""
    """The processing job's name, for steps that are one."""

    @property
    def elapsed_s(self) -> float:
        """How long it has run, or ran. Seconds."""
        if self.started is None:
            return 0.0
        return ((self.ended or datetime.now(UTC)) - self.started).total_seconds()


@dataclass
class ExecutionView:
    """One execution, as it is now; `steps` in the order in which they started."""

    arn: str
    status: str
    failure: str = ""
    steps: list[StepView] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in FINAL

    def step(self, name: str) -> StepView | None:
        """Return the step of that name, None if it has not started."""
        return next((step for step in self.steps if step.name == name), None)

    @property
    def failed(self) -> StepView | None:
        """The first step that failed, None if none has."""
        return next((step for step in self.steps if step.status == "Failed"), None)


class Executions:
    """Pipelines of one environment."""

    def __init__(self, environment: Environment) -> None:
        """boto3 finds credentials and, locally, the endpoint (AWS_ENDPOINT_URL) by itself."""
        self._environment = environment
        self._sagemaker = boto3.client("sagemaker", region_name=environment.region)
        self._s3 = boto3.client("s3", region_name=environment.region)
        self._logs = JobLogs(boto3.client("logs", region_name=environment.region))

    def upsert(self, name: str, definition: str, description: str) -> None:
        """Create the pipeline, or update it when its definition is another. Idempotent.

        Another command may create it at the same moment: two first releases both want the pipeline of promotions.
        """
        role = self._environment.roles.pipeline
        try:
            current = self._sagemaker.describe_pipeline(PipelineName=name)["PipelineDefinition"]
        except self._sagemaker.exceptions.ResourceNotFound:
            try:
                self._sagemaker.create_pipeline(
                    PipelineName=name,
                    PipelineDefinition=definition,
                    PipelineDescription=description,
                    RoleArn=role,
                    ClientRequestToken=_token(f"{name}-create"),
                )
                return
            except ClientError as error:
                if not is_taken(error):
                    raise
            current = self._sagemaker.describe_pipeline(PipelineName=name)["PipelineDefinition"]
        if json.loads(current) != json.loads(definition):
            self._sagemaker.update_pipeline(
                PipelineName=name, PipelineDefinition=definition, PipelineDescription=description, RoleArn=role
            )

    def publish(self, release: Release, release_file_uri: str) -> None:
        """Put the resolved model file where the execution reads it, and make the package group if there is none. Idempotent.

        Another command may make the group at the same moment, or this one did and the answer got lost.
        Where production is in another account, the group's policy lets production's role there deploy its versions.
        """
        bucket, key = release_file_uri.removeprefix("s3://").split("/", 1)
        self._s3.put_object(Bucket=bucket, Key=key, Body=release.to_json().encode(), ContentType="application/json")
        try:
            self._sagemaker.describe_model_package_group(ModelPackageGroupName=release.package_group)
        except self._sagemaker.exceptions.ClientError as error:
            if error.response["Error"]["Code"] not in {"ValidationException", "ResourceNotFound"}:
                raise
            tags = release.environment.tags | {MODEL_TAG: release.name}
            try:
                self._sagemaker.create_model_package_group(
                    ModelPackageGroupName=release.package_group,
                    ModelPackageGroupDescription=f"Versions of {release.name}",
                    Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
                )
            except ClientError as taken:
                if not is_taken(taken):
                    raise
        policy = group_policy(release.environment, release.package_group)
        if policy is not None:
            self._sagemaker.put_model_package_group_policy(
                ModelPackageGroupName=release.package_group, ResourcePolicy=json.dumps(policy)
            )

    def start(self, pipeline: str, parameters: dict[str, str], description: str, *, only_once: str | None = None) -> str:
        """Start the pipeline.

        Args:
            pipeline: Its name.
            parameters: Values of its parameters.
            description: For the console.
            only_once: An idempotency key: what the execution is for, as a display name (letters, digits, dashes). Asked for again, it is the
                same execution (ClientRequestToken, API reference of StartPipelineExecution), and `find_by_display_name` finds it later.

        Returns:
            The execution's ARN.
        """
        request: StartPipelineExecutionRequestTypeDef = {
            "PipelineName": pipeline,
            "PipelineExecutionDescription": description,
            "PipelineParameters": [{"Name": name, "Value": value} for name, value in parameters.items()],
            "ClientRequestToken": _token(pipeline),
        }
        if only_once is not None:
            request["PipelineExecutionDisplayName"] = only_once
            request["ClientRequestToken"] = f"{pipeline}-{only_once}".rjust(32, "-")[-128:]
        return self._sagemaker.start_pipeline_execution(**request)["PipelineExecutionArn"]

    def takes(self, pipeline: str, parameter: str, value: str) -> bool:
        """Tell whether the pipeline is there and has such a parameter, of which that is a value."""
        try:
            definition = json.loads(self._sagemaker.describe_pipeline(PipelineName=pipeline)["PipelineDefinition"])
        except self._sagemaker.exceptions.ResourceNotFound:
            return False
        known = next((one for one in definition.get("Parameters", []) if one["Name"] == parameter), None)
        return known is not None and value in known.get("EnumValues", [value])

    def parameter(self, arn: str, name: str) -> str | None:
        """Return the value of an execution's parameter, None when it has none of that name."""
        given = self._sagemaker.list_pipeline_parameters_for_execution(PipelineExecutionArn=arn)["PipelineParameters"]
        return next((one["Value"] for one in given if one["Name"] == name), None)

    def find_by_display_name(self, pipeline: str, display_name: str) -> str | None:
        """Find the execution with that display name: its ARN, None when there is none."""
        found = (one for one in self._listed(pipeline) if one.get("PipelineExecutionDisplayName") == display_name)
        return next((one["PipelineExecutionArn"] for one in found), None)

    def count(self, pipeline: str) -> int:
        """Count the executions of a pipeline, whatever became of them."""
        return sum(1 for _ in self._listed(pipeline))

    def unfinished(self, pipeline: str) -> list[str]:
        """List the executions that are not over: their ARNs."""
        return [one["PipelineExecutionArn"] for one in self._listed(pipeline) if one["PipelineExecutionStatus"] not in FINAL]

    def _listed(self, pipeline: str) -> Iterator[PipelineExecutionSummaryTypeDef]:
        """List the executions of a pipeline, newest first; none where there is no such pipeline."""
        pages = self._sagemaker.get_paginator("list_pipeline_executions").paginate(
            PipelineName=pipeline, SortBy="CreationTime", SortOrder="Descending"
        )
        try:
            for page in pages:
                yield from page["PipelineExecutionSummaries"]
        except self._sagemaker.exceptions.ResourceNotFound:
            return

    def newest(self, pipeline: str) -> str | None:
        """Find the execution that started last: its ARN, None when there is none."""
        return next((one["PipelineExecutionArn"] for one in self._listed(pipeline)), None)

    def view(self, arn: str) -> ExecutionView:
        """Read the execution as it is now."""
        execution = self._sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
        listed: list[PipelineExecutionStepTypeDef] = []
        for page in self._sagemaker.get_paginator("list_pipeline_execution_steps").paginate(
            PipelineExecutionArn=arn, SortOrder="Ascending"
        ):
            listed += page["PipelineExecutionSteps"]
        return ExecutionView(
            arn,
            execution["PipelineExecutionStatus"],
            execution.get("FailureReason", ""),
            [self._step(step) for step in listed],
        )

    def follow(self, arn: str, interval_s: float) -> Iterator[ExecutionView]:
        """Yield the execution again and again, `interval_s` seconds apart; the last view is of its end."""
        while True:
            view = self.view(arn)
            yield view
            if view.is_over:
                return
            time.sleep(interval_s)

    def read_json(self, uri: str) -> dict[str, Any] | None:
        """Read the JSON object at an S3 URI, None when there is none."""
        bucket, key = uri.removeprefix("s3://").split("/", 1)
        try:
            body = self._s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        except self._s3.exceptions.NoSuchKey:
            return None
        answer: dict[str, Any] = json.loads(body)
        return answer

    def log_tail(self, job: str, lines: int) -> list[str]:
        """Return the last lines that a processing job wrote."""
        return self._logs.tail(job, lines)

    def _step(self, listed: PipelineExecutionStepTypeDef) -> StepView:
        metadata = listed.get("Metadata", {})
        job = metadata.get("ProcessingJob", {}).get("Arn", "").rsplit("/", 1)[-1]
        view = StepView(
            name=listed["StepName"],
            status=listed["StepStatus"],
            started=listed.get("StartTime"),
            ended=listed.get("EndTime"),
            failure=listed.get("FailureReason", ""),
            job=job,
        )
        view.detail = self._detail(view, listed, metadata)
        return view

    def _detail(
        self, view: StepView, listed: PipelineExecutionStepTypeDef, metadata: PipelineExecutionStepMetadataTypeDef
    ) -> str:
        if "CacheHitResult" in listed:
            return "unchanged since an earlier execution"
        if view.job:
            return self._logs.progress(view.job, view.ended)
        if "RegisterModel" in metadata:
            return f"version {metadata['RegisterModel']['Arn'].rsplit('/', 1)[-1]}"
        if "Condition" in metadata:
            return "yes" if metadata["Condition"].get("Outcome") == "True" else "no"
        return ""


def _token(name: str) -> str:
    """Make a client request token: 32 to 128 characters, new each time (API reference of StartPipelineExecution)."""
    return f"{name}-{time.time_ns():040d}"[-128:]
