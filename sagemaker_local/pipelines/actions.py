"""The pipeline actions of the SageMaker API: moto has pipelines too, but runs no step and has no list of steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sagemaker_local.jobs.training.actions
import sagemaker_local.jobs.transform.actions  # noqa: F401 (these register what the Training and Transform steps call)
from sagemaker_local.api.actions import ActionCall, action, on_start
from sagemaker_local.pipelines.executions.table import Executions
from sagemaker_local.pipelines.steps.callback import Callbacks
from sagemaker_local.state.paging import Keys, ordered, page, within
from sagemaker_local.state.tags import Tags

if TYPE_CHECKING:
    from sagemaker_local.context import Context

_INTERNAL = ("ClientRequestToken", "LatestVersionId")


@on_start
def take_up(context: Context) -> None:
    """Record the end of the executions that died with the last server on this state."""
    context.part(Executions)


@action("CreatePipeline")
def create_pipeline(call: ActionCall, request: dict[str, Any]) -> dict[str, Any]:
    """Keep a definition, checked."""
    return {"PipelineArn": call.context.part(Executions).pipelines.create(call.region, call.account_id, request)}


@action("UpdatePipeline")
def update_pipeline(call: ActionCall, request: dict[str, Any]) -> dict[str, Any]:
    """Change what the request names; a definition makes a new version."""
    arn, version = call.context.part(Executions).pipelines.update(call.region, request)
    return {"PipelineArn": arn, "PipelineVersionId": version}


@action("DeletePipeline")
def delete_pipeline(call: ActionCall, request: dict[str, Any]) -> dict[str, Any]:
    """Forget a pipeline and all its executions; refused while one runs."""
    return {"PipelineArn": call.context.part(Executions).delete_pipeline(call.region, request["PipelineName"])}


@action("DescribePipeline")
def describe_pipeline(call: ActionCall, request: dict[str, Any]) -> dict[str, Any]:
    """Describe a pipeline with its newest definition, or the version asked for."""
    pipelines = call.context.part(Executions).pipelines
    record = pipelines.get(call.region, request["PipelineName"])
    version = pipelines.version(call.region, record, request.get("PipelineVersionId"))
    shown = {name: value for name, value in record.items() if name not in _INTERNAL}
    names = ("PipelineVersionDisplayName", "PipelineVersionDescription")
    return {**shown, "PipelineDefinition": version["Definition"], **{name: version[name] for name in names if name in version}}


@action("ListPipelines")
def list_pipelines(call: ActionCall, request: dict[str, Any]) -> dict[str, Any]:
    """List summaries, newest first unless asked otherwise."""
    members = ("PipelineArn", "PipelineName", "PipelineDisplayName", "PipelineDescription", "RoleArn", "CreationTime")
    summaries = []
    for record in call.context.part(Executions).pipelines.all_in(call.region):
        if record["PipelineName"].startswith(request.get("PipelineNamePrefix", "")) and within(
            record["CreationTime"], request.get("CreatedAfter"), request.get("CreatedBefore")
        ):
            summary = {name: record[name] for name in (*members, "LastModifiedTime") if name in record}
            if "LastRunTime" in record:
                summary["LastExecutionTime"] = record["LastRunTime"]
            summaries.append(summary)
    keys: Keys = {"CreationTime": lambda entry: entry["CreationTime"], "Name": lambda entry: entry["PipelineName"]}
    return page("PipelineSummaries", ordered(summaries, request, keys), request)


@action("ListPipelineVersions")
def list_pipeline_versions(call: ActionCall, request: dict[str, Any]) -> dict[str, Any]:
    """List the versions of a pipeline, newest first unless asked otherwise."""
    pipelines = call.context.part(Executions).pipelines
    arn = pipelines.get(call.region, request["PipelineName"])["PipelineArn"]
    summaries = [
        {"PipelineArn": arn, **{name: value for name, value in version.items() if name != "Definition"}}
        for version in pipelines.versions(call.region, request["PipelineName"])
        if within(version["CreationTime"], request.get("CreatedAfter"), request.get("CreatedBefore"))
    ]
    keys: Keys = {"CreationTime": lambda entry: entry["PipelineVersionId"]}
    return page("PipelineVersionSummaries", ordered(summaries, request, keys), request)


@action("UpdatePipelineVersion")
def update_pipeline_version(call: ActionCall, request: dict[str, Any]) -> dict[str, Any]:
    """Change a version's display name or description."""
    pipelines = call.context.part(Executions).pipelines
    record = pipelines.get(call.region, request["PipelineArn"])
    names = ("PipelineVersionDisplayName", "PipelineVersionDescription")
    changes = {name: request[name] for name in names if name in request}
    pipelines.update_version(call.region, record, request["PipelineVersionId"], changes)
    return {"PipelineArn": record["PipelineArn"], "PipelineVersionId": request["PipelineVersionId"]}


@action("StartPipelineExecution")
def start_pipeline_execution(call: ActionCall, request: dict[str, Any]) -> dict[str, Any]:
    """Start an execution of a pipeline, which runs on after this answer."""
    executions = call.context.part(Executions)
    arn = executions.pipelines.get(call.region, request["PipelineName"])["PipelineArn"]
    return {"PipelineExecutionArn": executions.start(call.region, call.account_id, request, Tags(call.context.store).get(arn))}


@action("StopPipelineExecution")
def stop_pipeline_execution(call: ActionCall, request: dict[str, Any]) -> dict[str, Any]:
    """Stop an execution and the jobs of its running steps."""
    return {"PipelineExecutionArn": call.context.part(Executions).stop(call.region, request)}


@action("RetryPipelineExecution")
def retry_pipeline_execution(call: ActionCall, request: dict[str, Any]) -> dict[str, Any]:
    """Run an execution again from the steps that did not succeed."""
    return {"PipelineExecutionArn": call.context.part(Executions).retry(call.region, request)}


@action("UpdatePipelineExecution")
def update_pipeline_execution(call: ActionCall, request: dict[str, Any]) -> dict[str, Any]:
    """Change an execution's display name, description or parallelism."""
    return {"PipelineExecutionArn": call.context.part(Executions).update(request)}


@action("DescribePipelineExecution")
def describe_pipeline_execution(call: ActionCall, request: dict[str, Any]) -> dict[str, Any]:
    """Describe an execution as it is now."""
    return call.context.part(Executions).get(request["PipelineExecutionArn"]).described()


@action("ListPipelineExecutions")
def list_pipeline_executions(call: ActionCall, request: dict[str, Any]) -> dict[str, Any]:
    """List summaries of a pipeline's executions, newest first unless asked otherwise."""
    executions = call.context.part(Executions)
    name = executions.pipelines.get(call.region, request["PipelineName"])["PipelineName"]
    summaries = [
        execution.summary()
        for execution in executions.records.of_pipeline(call.region, name)
        if within(execution.created, request.get("CreatedAfter"), request.get("CreatedBefore"))
    ]
    keys: Keys = {
        "CreationTime": lambda entry: entry["StartTime"],
        "PipelineExecutionArn": lambda entry: entry["PipelineExecutionArn"],
    }
    return page("PipelineExecutionSummaries", ordered(summaries, request, keys), request)


@action("ListPipelineExecutionSteps")
def list_pipeline_execution_steps(call: ActionCall, request: dict[str, Any]) -> dict[str, Any]:
    """List the steps that have started, the latest first unless asked otherwise."""
    executions = call.context.part(Executions)
    execution = executions.get(request.get("PipelineExecutionArn", ""))
    steps = executions.records.steps(execution.arn)
    if request.get("SortOrder", "Descending") == "Descending":
        steps.reverse()
    return page("PipelineExecutionSteps", [step.shown() for step in steps], request)


@action("ListPipelineParametersForExecution")
def list_pipeline_parameters_for_execution(call: ActionCall, request: dict[str, Any]) -> dict[str, Any]:
    """List the parameters of the execution, given or by default."""
    return page("PipelineParameters", call.context.part(Executions).parameters(request["PipelineExecutionArn"]), request)


@action("DescribePipelineDefinitionForExecution")
def describe_pipeline_definition_for_execution(call: ActionCall, request: dict[str, Any]) -> dict[str, Any]:
    """Describe the definition that the execution runs, whatever the pipeline has become since."""
    executions = call.context.part(Executions)
    execution = executions.get(request["PipelineExecutionArn"])
    return {"PipelineDefinition": executions.records.definition(execution.arn), "CreationTime": execution.created}


@action("SendPipelineExecutionStepSuccess")
def send_pipeline_execution_step_success(call: ActionCall, request: dict[str, Any]) -> dict[str, Any]:
    """End a waiting callback step well."""
    outputs = {output["Name"]: output["Value"] for output in request.get("OutputParameters") or []}
    return {"PipelineExecutionArn": call.context.part(Callbacks).succeed(request["CallbackToken"], outputs)}


@action("SendPipelineExecutionStepFailure")
def send_pipeline_execution_step_failure(call: ActionCall, request: dict[str, Any]) -> dict[str, Any]:
    """Fail a waiting callback step."""
    arn = call.context.part(Callbacks).fail(request["CallbackToken"], request.get("FailureReason", ""))
    return {"PipelineExecutionArn": arn}
