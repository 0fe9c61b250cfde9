"""The transform job actions of the SageMaker API: moto has them too, but runs nothing and calls every job finished."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagemaker_local.actions import action, on_start
from sagemaker_local.jobs.paging import Keys, ordered, page, within
from sagemaker_local.jobs.tagging import keep_tags
from sagemaker_local.transform.job import TransformJobs

if TYPE_CHECKING:
    from sagemaker_local.actions import Call
    from sagemaker_local.context import Context


@on_start
def take_up(context: Context) -> None:
    """Record the end of the jobs that died with the last server on this state."""
    context.part(TransformJobs)


@action("CreateTransformJob")
def create_transform_job(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Start a job: the model's container runs on this machine as soon as its input is here."""
    arn = call.context.part(TransformJobs).create(call.region, call.account_id, request)
    keep_tags(call, arn, request.get("Tags"), "CreateTransformJob", request)
    return {"TransformJobArn": arn}


@action("DescribeTransformJob")
def describe_transform_job(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """A job as it is now."""
    return call.context.part(TransformJobs).describe(call.region, request["TransformJobName"])


@action("StopTransformJob")
def stop_transform_job(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """End the job's container; nothing is uploaded."""
    call.context.part(TransformJobs).stop(call.region, request["TransformJobName"])
    return {}


@action("ListTransformJobs")
def list_transform_jobs(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Summaries of the jobs that match the filters, newest first unless asked otherwise."""
    jobs = [
        job
        for job in call.context.part(TransformJobs).all_in(call.region)
        if request.get("NameContains", "") in job["TransformJobName"]
        and request.get("StatusEquals") in (None, job["TransformJobStatus"])
        and within(job["CreationTime"], request.get("CreationTimeAfter"), request.get("CreationTimeBefore"))
        and within(job["LastModifiedTime"], request.get("LastModifiedTimeAfter"), request.get("LastModifiedTimeBefore"))
    ]
    keys: Keys = {
        "CreationTime": lambda job: job["CreationTime"],
        "Name": lambda job: job["TransformJobName"],
        "Status": lambda job: job["TransformJobStatus"],
    }
    members = (
        "TransformJobName",
        "TransformJobArn",
        "CreationTime",
        "TransformEndTime",
        "LastModifiedTime",
        "TransformJobStatus",
    )
    summaries = [{name: job[name] for name in (*members, "FailureReason") if name in job} for job in ordered(jobs, request, keys)]
    return page("TransformJobSummaries", summaries, request)
