"""EventBridge events of executions and steps, in the shape that the developer guide documents.

"Events that Amazon SageMaker AI sends to Amazon EventBridge": pipeline execution state change, pipeline step state change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagemaker_local.timestamps import iso

if TYPE_CHECKING:
    from sagemaker_local.context import Context
    from sagemaker_local.pipelines.records import ExecutionRecord, StepRecord

_EXECUTION_CHANGE = "SageMaker Model Building Pipeline Execution Status Change"
_STEP_CHANGE = "SageMaker Model Building Pipeline Execution Step Status Change"


def execution_changed(context: Context, execution: ExecutionRecord, previous: str | None) -> None:
    """Say that an execution has its present status, and which it had before (None: it is new)."""
    detail = {
        "pipelineExecutionDisplayName": execution.display_name,
        "currentPipelineExecutionStatus": execution.status,
        "previousPipelineExecutionStatus": previous,
        "executionStartTime": iso(execution.created),
        "executionEndTime": iso(execution.ended) if execution.ended else None,
        "pipelineExecutionDescription": execution.description or None,
        "pipelineArn": execution.pipeline_arn,
        "pipelineExecutionArn": execution.arn,
    }
    _put(context, execution, _EXECUTION_CHANGE, detail)


def step_changed(context: Context, execution: ExecutionRecord, step: StepRecord, previous: str | None) -> None:
    """Say that a step has its present status, and which it had before (None: it has just started)."""
    detail = {
        "metadata": _camel(step.metadata),
        "stepStartTime": iso(step.start_time),
        "stepEndTime": iso(step.end_time) if step.end_time else None,
        "stepName": step.name,
        "stepType": step.type,
        "previousStepStatus": previous,
        "currentStepStatus": step.status,
        "failureReason": step.failure_reason or None,
        "cacheHitResult": {"sourcePipelineExecutionArn": step.cache_hit} if step.cache_hit else None,
        "pipelineArn": execution.pipeline_arn,
        "pipelineExecutionArn": execution.arn,
    }
    _put(context, execution, _STEP_CHANGE, detail)


def _put(context: Context, execution: ExecutionRecord, detail_type: str, detail: dict[str, Any]) -> None:
    given = {name: value for name, value in detail.items() if value is not None}
    context.events.put(execution.region, detail_type, [execution.pipeline_arn, execution.arn], given)


def _camel(value: Any) -> Any:
    """Return metadata with the lower-case first letters that events use."""
    if isinstance(value, dict):
        return {name[:1].lower() + name[1:]: _camel(item) for name, item in value.items()}
    return [_camel(item) for item in value] if isinstance(value, list) else value
