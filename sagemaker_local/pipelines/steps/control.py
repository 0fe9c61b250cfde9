"""The steps that run nothing: Condition and Fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sagemaker_local.errors import StepFailed
from sagemaker_local.pipelines.definitions.conditions import all_hold
from sagemaker_local.pipelines.definitions.functions import as_text
from sagemaker_local.pipelines.steps.base import StepResult

if TYPE_CHECKING:
    from sagemaker_local.pipelines.steps.base import StepRun


def run_condition(run: StepRun) -> StepResult:
    """Evaluate the conditions; the outcome decides which of the nested steps may run."""
    outcome = all_hold(run.spec.arguments.get("Conditions") or [], run.scope)
    run.report({"Condition": {"Outcome": str(outcome)}})
    return StepResult({"Outcome": outcome}, outcome)


def run_fail(run: StepRun) -> StepResult:
    """Fail with the step's ErrorMessage. Without one the step has no FailureReason, as the service has it."""
    message = as_text((run.arguments or {}).get("ErrorMessage") or "")
    run.report({"Fail": {"ErrorMessage": message}})
    raise StepFailed(message)
