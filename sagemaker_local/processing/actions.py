"""The processing job actions of the SageMaker API: moto has them too, but runs nothing and calls every job finished."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagemaker_local.actions import action, on_start
from sagemaker_local.jobs.paging import Keys, ordered, page, within
from sagemaker_local.jobs.tagging import forget_tags, keep_tags
from sagemaker_local.processing.job import ProcessingJobs

if TYPE_CHECKING:
    from sagemaker_local.actions import Call
    from sagemaker_local.context import Context


@on_start
def take_up(context: Context) -> None:
    """Record the end of the jobs that died with the last server on this state."""
    context.part(ProcessingJobs)


@action("CreateProcessingJob")
def create_processing_job(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Start a job: its processes run on this machine as soon as its inputs are here."""
    arn = call.context.part(ProcessingJobs).create(call.region, call.account_id, request)
    keep_tags(call, arn, request.get("Tags"), "CreateProcessingJob", request)
    return {"ProcessingJobArn": arn}


@action("DescribeProcessingJob")
def describe_processing_job(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """A job as it is now."""
    return call.context.part(ProcessingJobs).describe(call.region, request["ProcessingJobName"])


@action("StopProcessingJob")
def stop_processing_job(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """SIGTERM to the job's processes; SIGKILL 120 s later to those that are left."""
    call.context.part(ProcessingJobs).stop(call.region, request["ProcessingJobName"])
    return {}


@action("DeleteProcessingJob")
def delete_processing_job(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Forget a job that has ended."""
    jobs, name = call.context.part(ProcessingJobs), request["ProcessingJobName"]
    arn = jobs.describe(call.region, name)["ProcessingJobArn"]
    jobs.delete(call.region, name)
    forget_tags(call, arn, "DeleteProcessingJob", request)
    return {}


@action("ListProcessingJobs")
def list_processing_jobs(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Summaries of the jobs that match the filters, newest first unless asked otherwise."""
    jobs = [
        job
        for job in call.context.part(ProcessingJobs).all_in(call.region)
        if request.get("NameContains", "") in job["ProcessingJobName"]
        and request.get("StatusEquals") in (None, job["ProcessingJobStatus"])
        and within(job["CreationTime"], request.get("CreationTimeAfter"), request.get("CreationTimeBefore"))
        and within(job["LastModifiedTime"], request.get("LastModifiedTimeAfter"), request.get("LastModifiedTimeBefore"))
    ]
    keys: Keys = {
        "CreationTime": lambda job: job["CreationTime"],
        "Name": lambda job: job["ProcessingJobName"],
        "Status": lambda job: job["ProcessingJobStatus"],
    }
    members = (
        "ProcessingJobName",
        "ProcessingJobArn",
        "CreationTime",
        "ProcessingEndTime",
        "LastModifiedTime",
        "ProcessingJobStatus",
        "FailureReason",
        "ExitMessage",
    )
    summaries = [{name: job[name] for name in members if name in job} for job in ordered(jobs, request, keys)]
    return page("ProcessingJobSummaries", summaries, request)
