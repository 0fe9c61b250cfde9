"""The actions that every kind of job has: Create, Describe, Stop, Delete and List.

moto has jobs too, but runs nothing and calls every job finished.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagemaker_local.api.actions import ActionCall, action, on_start
from sagemaker_local.state.paging import Keys, ordered, page, within
from sagemaker_local.state.tags import Tags

if TYPE_CHECKING:
    from sagemaker_local.context import Context
    from sagemaker_local.jobs.table import JobTable

JsonObject = dict[str, Any]


def register(table: type[JobTable], more_summary_members: tuple[str, ...] = (), *, deletable: bool) -> None:
    """Register the actions of a kind of job.

    Args:
        table: the kind.
        more_summary_members: what the List action shows besides the members that all kinds have.
        deletable: whether there is a Delete action.
    """
    prefix = table.kind.prefix
    name, arn, status = f"{prefix}Name", f"{prefix}Arn", f"{prefix}Status"
    summary = (name, arn, "CreationTime", table.kind.ended_member, "LastModifiedTime", status, *more_summary_members)

    @on_start
    def take_up(context: Context) -> None:
        """Record the end of the jobs that died with the last server on this state."""
        context.part(table)

    @action(f"Create{prefix}")
    def create(call: ActionCall, request: JsonObject) -> JsonObject:
        """Start a job: it runs on this machine as soon as its inputs are here."""
        created = call.context.part(table).create(call.region, call.account_id, request)
        Tags(call.context.store).add(created, request.get("Tags") or [])
        return {arn: created}

    @action(f"Describe{prefix}")
    def describe(call: ActionCall, request: JsonObject) -> JsonObject:
        """Describe a job as it is now."""
        return call.context.part(table).describe(call.region, request[name])

    @action(f"Stop{prefix}")
    def stop(call: ActionCall, request: JsonObject) -> None:
        """SIGTERM to the job's processes, SIGKILL 120 s later to those that are left."""
        call.context.part(table).stop(call.region, request[name])

    @action(f"List{prefix}s")
    def list_jobs(call: ActionCall, request: JsonObject) -> JsonObject:
        """List summaries of the jobs that match the filters, newest first unless asked otherwise."""
        jobs = [
            job
            for job in call.context.part(table).all_in(call.region)
            if request.get("NameContains", "") in job[name]
            and request.get("StatusEquals") in (None, job[status])
            and within(job["CreationTime"], request.get("CreationTimeAfter"), request.get("CreationTimeBefore"))
            and within(job["LastModifiedTime"], request.get("LastModifiedTimeAfter"), request.get("LastModifiedTimeBefore"))
        ]
        keys: Keys = {
            "CreationTime": lambda job: job["CreationTime"],
            "Name": lambda job: job[name],
            "Status": lambda job: job[status],
        }
        shown = [{member: job[member] for member in summary if member in job} for job in ordered(jobs, request, keys)]
        return page(f"{prefix}Summaries", shown, request)

    if deletable:

        @action(f"Delete{prefix}")
        def delete(call: ActionCall, request: JsonObject) -> None:
            """Forget a job that has ended."""
            jobs = call.context.part(table)
            gone = jobs.describe(call.region, request[name])[arn]
            jobs.delete(call.region, request[name])
            Tags(call.context.store).forget(gone)
