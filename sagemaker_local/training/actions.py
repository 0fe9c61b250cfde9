"""The training job actions of the SageMaker API: moto has them too, but runs nothing and calls every job finished."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagemaker_local.actions import action, on_start
from sagemaker_local.jobs.paging import Keys, ordered, page, within
from sagemaker_local.jobs.tagging import forget_tags, keep_tags
from sagemaker_local.training.job import TrainingJobs

if TYPE_CHECKING:
    from sagemaker_local.actions import Call
    from sagemaker_local.context import Context


@on_start
def take_up(context: Context) -> None:
    """Record the end of the jobs that died with the last server on this state."""
    context.part(TrainingJobs)


@action("CreateTrainingJob")
def create_training_job(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Start a job: its processes run on this machine as soon as its channels are here."""
    arn = call.context.part(TrainingJobs).create(call.region, call.account_id, request)
    keep_tags(call, arn, request.get("Tags"), "CreateTrainingJob", request)
    return {"TrainingJobArn": arn}


@action("DescribeTrainingJob")
def describe_training_job(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """A job as it is now."""
    return call.context.part(TrainingJobs).describe(call.region, request["TrainingJobName"])


@action("StopTrainingJob")
def stop_training_job(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """SIGTERM to the job's processes; SIGKILL 120 s later to those that are left. The model so far is uploaded."""
    call.context.part(TrainingJobs).stop(call.region, request["TrainingJobName"])
    return {}


@action("DeleteTrainingJob")
def delete_training_job(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Forget a job that has ended."""
    jobs, name = call.context.part(TrainingJobs), request["TrainingJobName"]
    arn = jobs.describe(call.region, name)["TrainingJobArn"]
    jobs.delete(call.region, name)
    forget_tags(call, arn, "DeleteTrainingJob", request)
    return {}


@action("ListTrainingJobs")
def list_training_jobs(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Summaries of the jobs that match the filters, newest first unless asked otherwise."""
    jobs = [
        job
        for job in call.context.part(TrainingJobs).all_in(call.region)
        if request.get("NameContains", "") in job["TrainingJobName"]
        and request.get("StatusEquals") in (None, job["TrainingJobStatus"])
        and within(job["CreationTime"], request.get("CreationTimeAfter"), request.get("CreationTimeBefore"))
        and within(job["LastModifiedTime"], request.get("LastModifiedTimeAfter"), request.get("LastModifiedTimeBefore"))
    ]
    keys: Keys = {
        "CreationTime": lambda job: job["CreationTime"],
        "Name": lambda job: job["TrainingJobName"],
        "Status": lambda job: job["TrainingJobStatus"],
    }
    members = ("TrainingJobName", "TrainingJobArn", "CreationTime", "TrainingEndTime", "LastModifiedTime", "TrainingJobStatus")
    summaries = [
        {name: job[name] for name in (*members, "SecondaryStatus") if name in job} for job in ordered(jobs, request, keys)
    ]
    return page("TrainingJobSummaries", summaries, request)
