"""The ForEach step: its body once for every item, so many children at a time, and what came of them."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import StepFailed, StepStopped
from sagemaker_local.pipelines.definitions.functions import follow
from sagemaker_local.pipelines.definitions.graph import StepEnding
from sagemaker_local.pipelines.definitions.iterations import expand, items_of
from sagemaker_local.pipelines.steps.base import StepResult

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sagemaker_local.pipelines.steps.base import StepRun


def run(run: StepRun) -> StepResult:
    """Run every iteration to its end, then succeed if all children did."""
    iterations = expand(run.spec, items_of(run.arguments["IterableItems"], run.spec.name))
    run.report({"ForEach": {"InputItemCount": iterations.count}})
    endings, properties = run.nested(iterations.graph, int(run.arguments["MaxConcurrency"]), iterations.contexts)
    counts = Counter(endings.values())
    status = _status(counts)
    summary: dict[str, Any] = {
        "Status": status,
        "InputItemCount": iterations.count,
        "TotalStepCount": len(endings),
        "SucceededStepCount": counts[StepEnding.SUCCEEDED],
        "FailedStepCount": counts[StepEnding.FAILED],
        "StoppedStepCount": counts[StepEnding.STOPPED],
    }
    if status != "Succeeded":
        run.report({"ForEach": summary})
        if status == "Stopped":
            raise StepStopped
        raise StepFailed(f"ClientError: {counts[StepEnding.FAILED]} of {len(endings)} iteration steps failed.")
    outputs = [{name: properties[iterations.child(name, index)] for name in iterations.body} for index in range(iterations.count)]
    result: dict[str, Any] = {**summary, "IterationOutputs": outputs}
    selector = run.spec.arguments.get("Selector")
    if selector and outputs:
        name, index = _selected(selector, outputs)
        result["Selected"] = outputs[index][name]
        summary["Selector"] = {"StepName": iterations.child(name, index), "Index": index}
    run.report({"ForEach": summary})
    return StepResult(result)


def _status(counts: Mapping[StepEnding, int]) -> str:
    if counts[StepEnding.FAILED]:
        return "Failed"
    return "Stopped" if counts[StepEnding.STOPPED] else "Succeeded"


def _selected(selector: dict[str, Any], outputs: list[dict[str, Any]]) -> tuple[str, int]:
    """Return the body step that a selector compares, and the iteration that it picks: the first of equals."""
    reference = selector["Field"]["Get"]
    match = re.match(r"IterationOutput\.([A-Za-z0-9\-_]+)(.+)\Z", reference, re.DOTALL)
    if match is None:
        raise StepFailed(f"ClientError: Selector.Field is {reference}, not IterationOutput.STEP.MEMBER.")
    name, path = match.groups()
    values = [follow(output[name], path, reference) for output in outputs]
    pick = max if selector["Pick"] == "MaxBy" else min
    try:
        return name, pick(range(len(values)), key=values.__getitem__)
    except TypeError as error:
        raise StepFailed(f"ClientError: The values of {reference} cannot be compared: {values}") from error
