"""The Cleanup step: deletes what earlier steps have left in S3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import StepFailed, UnresolvedError
from sagemaker_local.jobs.fetch import split_uri
from sagemaker_local.pipelines.steps.base import StepResult

if TYPE_CHECKING:
    from sagemaker_local.pipelines.steps.base import StepRun

_MESSAGE_CHARACTERS = 2048


def run(run: StepRun) -> StepResult:
    """Delete the outputs of each source: the objects that it names, or all that a training job has uploaded.

    A source that did not run has nothing to delete and is skipped; the step fails when a source cannot be cleaned.
    """
    cleaned: list[str] = []
    skipped: list[str] = []
    failed: list[dict[str, str]] = []
    for source in run.arguments["Resources"]["S3"]:
        name = source["StepName"]
        try:
            properties = run.scope.step_properties(name)
        except UnresolvedError:
            skipped.append(name)
            continue
        try:
            _delete(run, source.get("S3Uris") or [_output_prefix(name, properties)])
            cleaned.append(name)
        except StepFailed as failure:
            failed.append({"StepName": name, "ErrorCode": "ClientError", "ErrorMessage": failure.reason[:_MESSAGE_CHARACTERS]})
    run.report({"Cleanup": {"CleanedSteps": cleaned, "FailedSteps": failed, "SkippedSteps": skipped}})
    if failed:
        names = ", ".join(entry["StepName"] for entry in failed)
        raise StepFailed(f"ClientError: The outputs of these steps could not be deleted: {names}.")
    return StepResult()


def _output_prefix(name: str, properties: dict[str, Any]) -> str:
    """Return where a training job's outputs are, with a slash at its end."""
    if "TrainingJobName" not in properties:
        raise StepFailed(f"ClientError: Step {name} is not a Training step: S3Uris must name what to delete.")
    base = properties["OutputDataConfig"]["S3OutputPath"].rstrip("/")
    return f"{base}/{properties['TrainingJobName']}/"


def _delete(run: StepRun, uris: list[str]) -> None:
    s3 = run.context.client("s3", run.region, run.execution.role_arn)
    try:
        for uri in uris:
            bucket, key = split_uri(uri)
            keys = _below(s3, bucket, key) if key.endswith("/") else [key]
            for found in keys:
                s3.delete_object(Bucket=bucket, Key=found)
    except s3.exceptions.ClientError as error:
        raise StepFailed(f"ClientError: Failed to invoke s3:DeleteObject. Error Details: {error}") from error


def _below(s3: Any, bucket: str, prefix: str) -> list[str]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [entry["Key"] for page in pages for entry in page.get("Contents", ())]
