"""The Lambda step: a function invoked with the step's arguments as its event."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import AwsError, FunctionError, StepFailed
from sagemaker_local.identity.identities import Caller
from sagemaker_local.lambdas.functions import run_function
from sagemaker_local.pipelines.definitions.functions import as_text, resolve
from sagemaker_local.pipelines.steps.base import StepResult

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sagemaker_local.pipelines.steps.base import StepRun


def run(run: StepRun) -> StepResult:
    """Invoke the function; ``OutputParameters`` of the step are taken from the object that it returns.

    A running function is not stopped with the execution: as on AWS, the execution stops when the function has ended.
    """
    arn = str(resolve(run.spec.raw["FunctionArn"], run.scope))
    run.report({"Lambda": {"Arn": arn}})
    caller = Caller(run.context.account_id, run.execution.role_arn)
    run.context.calls.made(caller, "lambda", "Invoke", {"FunctionName": arn})
    try:
        answer = run_function(run.context, run.region, arn, run.arguments or {})
    except AwsError as error:
        raise StepFailed(f"ClientError: Failed to invoke lambda:Invoke. Error Details: {error.message}") from error
    except FunctionError as error:
        raise StepFailed(f"ClientError: Lambda function {arn} failed. {error}") from error
    values = output_parameters(run.spec.raw.get("OutputParameters") or [], answer if isinstance(answer, dict) else {})
    run.report({"Lambda": {"Arn": arn, "OutputParameters": shown(values)}})
    return StepResult({"OutputParameters": values})


def output_parameters(declared: list[dict[str, Any]], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the declared outputs by name, each in its declared type.

    Raises:
        StepFailed: one is missing or of another type.
    """
    values: dict[str, Any] = {}
    for output in declared:
        name = output["OutputName"]
        if name not in given:
            known = ", ".join(sorted(given)) or "nothing"
            raise StepFailed(f"ClientError: Output parameter {name} is missing: there is {known}.")
        values[name] = _typed(name, output.get("OutputType", "String"), given[name])
    return values


def shown(values: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return output parameters as a step's metadata shows them: their values are strings."""
    return [{"Name": name, "Value": as_text(value)} for name, value in values.items()]


def _typed(name: str, kind: str, value: Any) -> Any:
    if isinstance(value, dict | list):  # documented: a nested output is one string
        value = json.dumps(value)
    try:
        if kind == "Integer":
            return int(value)
        if kind == "Float":
            return float(value)
    except (TypeError, ValueError) as error:
        raise StepFailed(f"ClientError: Output parameter {name} is {value!r}, not of type {kind}.") from error
    if kind == "Boolean":
        if as_text(value).lower() not in ("true", "false"):
            raise StepFailed(f"ClientError: Output parameter {name} is {value!r}, not of type {kind}.")
        return as_text(value).lower() == "true"
    return as_text(value)
