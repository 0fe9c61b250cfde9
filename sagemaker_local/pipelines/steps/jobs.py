"""The steps that run a job: its Create action with the step's arguments, awaited to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import StepFailed, StepStopped
from sagemaker_local.jobs.processing.job import ProcessingJobs
from sagemaker_local.jobs.training.job import TrainingJobs
from sagemaker_local.jobs.transform.job import TransformJobs
from sagemaker_local.pipelines.definitions.model import JOB_NAME
from sagemaker_local.pipelines.steps.base import CAPACITY_ERROR, JOB_INTERNAL_ERROR, StepResult

if TYPE_CHECKING:
    from sagemaker_local.jobs.table import JobTable
    from sagemaker_local.pipelines.steps.base import StepRun


def run_processing(run: StepRun) -> StepResult:
    """Return a processing job; the step's properties are DescribeProcessingJob's answer."""
    return _run(run, run.context.part(ProcessingJobs))


def run_training(run: StepRun) -> StepResult:
    """Return a training job; the step's properties are DescribeTrainingJob's answer."""
    return _run(run, run.context.part(TrainingJobs))


def run_transform(run: StepRun) -> StepResult:
    """Return a transform job; the step's properties are DescribeTransformJob's answer."""
    return _run(run, run.context.part(TransformJobs))


def _run(run: StepRun, jobs: JobTable) -> StepResult:
    prefix = jobs.kind.prefix
    name = run.resource_name(run.arguments.get(f"{prefix}Name"))
    request = {**_named(run.arguments, name), f"{prefix}Name": name}
    tags = run.tags(request.get("Tags"))
    if tags:
        request["Tags"] = tags
    arn = run.call(f"Create{prefix}", request)[f"{prefix}Arn"]
    run.report({prefix: {"Arn": arn}})
    run.when_stopping(lambda: jobs.stop(run.region, name))
    record = jobs.wait(run.region, name)
    status, reason = record[f"{prefix}Status"], record.get("FailureReason", "")
    if status == "Completed":
        return StepResult(record)
    if status == "Stopped" and not reason and record.get("SecondaryStatus") != "MaxRuntimeExceeded":
        raise StepStopped
    raise StepFailed(reason or f"ClientError: {prefix} {name} ran longer than MaxRuntimeInSeconds.", _kind(reason))


def _named(value: Any, name: str) -> Any:
    """Return a request with the job's name where an execution variable stands for it."""
    if isinstance(value, str):
        return value.replace(JOB_NAME, name)
    if isinstance(value, list):
        return [_named(item, name) for item in value]
    return {key: _named(item, name) for key, item in value.items()} if isinstance(value, dict) else value


def _kind(reason: str) -> str | None:
    """Return what a job's FailureReason counts as for retry policies, or None."""
    if reason.startswith("CapacityError"):
        return CAPACITY_ERROR
    if reason.startswith("InternalServerError"):
        return JOB_INTERNAL_ERROR
    return None
