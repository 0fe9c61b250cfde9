"""The Processing step: CreateProcessingJob with the step's arguments, awaited to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sagemaker_local.pipelines.steps.base import (
    CAPACITY_ERROR,
    JOB_INTERNAL_ERROR,
    StepFailed,
    StepResult,
    StepStopped,
)
from sagemaker_local.processing.job import ProcessingJobs

if TYPE_CHECKING:
    from sagemaker_local.pipelines.steps.base import StepRun


def run(run: StepRun) -> StepResult:
    """Run the job; the step's properties are DescribeProcessingJob's answer."""
    jobs = run.context.part(ProcessingJobs)
    name = run.resource_name(run.arguments.get("ProcessingJobName"))
    request = {**run.arguments, "ProcessingJobName": name}
    tags = run.tags(request.get("Tags"))
    if tags:
        request["Tags"] = tags
    arn = run.call("CreateProcessingJob", request)["ProcessingJobArn"]
    run.report({"ProcessingJob": {"Arn": arn}})
    run.on_stop.append(lambda: jobs.stop(run.region, name))
    if run.stopping.is_set():
        jobs.stop(run.region, name)
    record = jobs.wait(run.region, name)
    status, reason = record["ProcessingJobStatus"], record.get("FailureReason", "")
    if status == "Completed":
        return StepResult(record)
    if status == "Stopped" and not reason:
        raise StepStopped
    raise StepFailed(reason or f"ClientError: The processing job ended as {status}.", failure_kind(reason))


def failure_kind(reason: str) -> str | None:
    """What a job's FailureReason counts as for retry policies, or None."""
    if reason.startswith("CapacityError"):
        return CAPACITY_ERROR
    if reason.startswith("InternalServerError"):
        return JOB_INTERNAL_ERROR
    return None
