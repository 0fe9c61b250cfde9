"""Selective execution: which steps of a definition run, and which results of an earlier execution stand in for the others.

Developer guide, "Selective execution of pipeline steps": only the selected steps run; what they need of steps that are not
selected comes from the source execution, where those steps must have succeeded. API reference of SelectiveExecutionConfig: the source
is an execution of the same pipeline, and "all step(s) in all path(s) between two selected steps should be included".
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sagemaker_local.errors import ResourceNotFound, ValidationError

if TYPE_CHECKING:
    from sagemaker_local.pipelines.definitions.graph import Graph
    from sagemaker_local.pipelines.definitions.model import Definition
    from sagemaker_local.pipelines.records import ExecutionRecord, ExecutionRecords, StepRecord


def select(
    records: ExecutionRecords, execution: ExecutionRecord, definition: Definition, graph: Graph
) -> tuple[dict[str, StepRecord], frozenset[str]]:
    """(results taken from the source execution by step, steps that take no part).

    Raises:
        ValidationError: a selected step does not exist, or one that is needed has no result in the source execution.
            A step between two selected ones is not selected, or the source is another pipeline's.
        ResourceNotFound: there is no such source execution.
    """
    config = execution.selective or {}
    selected = {entry["StepName"] for entry in config["SelectedSteps"]}
    unknown = sorted(selected - definition.steps.keys())
    if unknown:
        raise ValidationError(f"SelectedSteps names steps that the pipeline does not have: {', '.join(unknown)}.")
    left_out_between = sorted(_after(graph, selected) & _before(graph, selected) - selected)
    if left_out_between:
        raise ValidationError(f"SelectedSteps must have the steps between them, too: {', '.join(left_out_between)}.")
    needed = {need.step for name in selected for need in graph.upstream[name] if need.step not in selected}
    taken: dict[str, StepRecord] = {}
    source_arn = config.get("SourcePipelineExecutionArn")
    if needed:
        if not source_arn:
            raise ValidationError(
                "SourcePipelineExecutionArn is required: the selected steps depend on steps that are not selected "
                f"({', '.join(sorted(needed))})."
            )
        if not str(source_arn).startswith(f"{execution.pipeline_arn}/execution/"):
            raise ValidationError(f"SourcePipelineExecutionArn {source_arn} is not an execution of {execution.pipeline_arn}.")
        taken = _results(records, str(source_arn), needed)
    return taken, frozenset(definition.steps.keys() - selected - taken.keys())


def _before(graph: Graph, names: set[str]) -> set[str]:
    """Return these steps, and all that they wait for."""
    found: set[str] = set()
    waiting = set(names)
    while waiting:
        found |= waiting
        waiting = {need.step for name in waiting for need in graph.upstream[name]} - found
    return found


def _after(graph: Graph, names: set[str]) -> set[str]:
    """Return these steps, and all that wait for them."""
    found = set(names)
    while more := {name for name, needs in graph.upstream.items() if found & {need.step for need in needs}} - found:
        found |= more
    return found


def _results(records: ExecutionRecords, source_arn: str, needed: set[str]) -> dict[str, StepRecord]:
    if records.get(source_arn) is None:
        raise ResourceNotFound(f"Pipeline execution with ARN {source_arn} does not exist.")
    succeeded = {step.name: step for step in records.steps(source_arn) if step.status == "Succeeded"}
    missing = sorted(needed - succeeded.keys())
    if missing:
        raise ValidationError(f"These steps did not succeed in {source_arn}: {', '.join(missing)}. Select them too.")
    return {name: replace(succeeded[name], order=order, selected_from=source_arn) for order, name in enumerate(sorted(needed))}
