"""Get, Std:Join and Std:JsonGet; conditions; parameters; retry policies; durations."""

from __future__ import annotations

from typing import Any

import pytest

from sagemaker_local.errors import UnresolvedError, ValidationError
from sagemaker_local.pipelines.definitions.conditions import all_hold
from sagemaker_local.pipelines.definitions.functions import ExpressionScope, resolve
from sagemaker_local.pipelines.definitions.model import ParameterSpec
from sagemaker_local.pipelines.definitions.parameters import resolve_parameters
from sagemaker_local.pipelines.executions.caching import duration_s
from sagemaker_local.pipelines.executions.retries import Retries

JOB = {
    "ProcessingJobName": "job-1",
    "ProcessingOutputConfig": {"Outputs": [{"OutputName": "report", "S3Output": {"S3Uri": "s3://b/report"}}]},
}
REPORT = {"metrics": {"auc": 0.91, "by class": [{"f1": 0.5}, {"f1": 0.75}]}, "passed": True}


def _undefined(name: str) -> Any:
    raise UnresolvedError(f"{name} is undefined.")


SCOPE = ExpressionScope(
    parameters={"Name": "x", "Count": 3, "Flag": False},
    execution_variable=lambda name: {"PipelineExecutionId": "abc123"}.get(name) or _undefined(name),
    step_properties=lambda name: {"Train": JOB}.get(name) or _undefined(name),
    property_file=lambda step, file: REPORT,
    read_json=lambda uri: {"at": uri},
)
PROPERTY_FILE = {"Get": "Steps.Train.PropertyFiles.Report"}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ({"Get": "Parameters.Count"}, 3),
        ({"Get": "Execution.PipelineExecutionId"}, "abc123"),
        ({"Get": "Steps.Train.ProcessingJobName"}, "job-1"),
        ({"Get": "Steps.Train.ProcessingOutputConfig.Outputs['report'].S3Output.S3Uri"}, "s3://b/report"),
        ({"Get": "Steps.Train.ProcessingOutputConfig.Outputs[0].OutputName"}, "report"),
        (
            {"Std:Join": {"On": "/", "Values": ["s3:/", {"Get": "Parameters.Name"}, 1, True, {"Get": "Parameters.Flag"}]}},
            "s3://x/1/true/false",
        ),
        ({"Std:JsonGet": {"PropertyFile": PROPERTY_FILE, "Path": "metrics.auc"}}, 0.91),
        ({"Std:JsonGet": {"PropertyFile": PROPERTY_FILE, "Path": "$.metrics['by class'][1].f1"}}, 0.75),
        ({"Std:JsonGet": {"PropertyFile": PROPERTY_FILE, "Path": "passed"}}, True),
        (
            {"Std:JsonGet": {"S3Uri": {"Std:Join": {"On": "", "Values": ["s3://b/", {"Get": "Parameters.Name"}]}}, "Path": "at"}},
            "s3://b/x",
        ),
        (
            {"Environment": {"A": {"Get": "Parameters.Name"}}, "List": [{"Get": "Parameters.Count"}]},
            {"Environment": {"A": "x"}, "List": [3]},
        ),
        ({"Get": 7}, {"Get": 7}),
    ],
)
def test_functions_resolve_anywhere_in_a_value(expression: Any, value: Any) -> None:
    assert resolve(expression, SCOPE) == value


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ({"Get": "Parameters.Nope"}, "Parameters.Nope is undefined"),
        ({"Get": "Steps.Train.Nope"}, "no 'Nope' in an object with ProcessingJobName"),
        ({"Get": "Steps.Train.ProcessingOutputConfig.Outputs['nope']"}, "no 'nope' in a list of 1"),
        ({"Std:JsonGet": {"PropertyFile": PROPERTY_FILE, "Path": "metrics.by[x"}}, "Invalid path"),
        ({"Std:JsonGet": {"PropertyFile": PROPERTY_FILE, "Path": "metrics.auc.deeper"}}, "no 'deeper' in float 0.91"),
    ],
)
def test_what_has_no_value_says_what_was_there_instead(expression: Any, says: str) -> None:
    with pytest.raises(UnresolvedError) as caught:
        resolve(expression, SCOPE)
    assert says in str(caught.value)


def compare(kind: str, left: Any, right: Any) -> dict[str, Any]:
    return {"Type": kind, "LeftValue": left, "RightValue": right}


@pytest.mark.parametrize(
    ("condition", "outcome"),
    [
        (compare("Equals", {"Get": "Parameters.Name"}, "x"), True),
        (compare("Equals", 3, 3.0), True),
        (compare("GreaterThan", {"Get": "Parameters.Count"}, 3), False),
        (compare("GreaterThanOrEqualTo", {"Get": "Parameters.Count"}, 3), True),
        (compare("LessThan", 0.5, 1), True),
        (compare("LessThanOrEqualTo", "b", "a"), False),
        ({"Type": "In", "QueryValue": {"Get": "Parameters.Name"}, "Values": ["y", {"Get": "Parameters.Name"}]}, True),
        ({"Type": "Not", "Expression": compare("Equals", 1, 1)}, False),
        ({"Type": "Not", "Condition": compare("Equals", 1, 2)}, True),
        ({"Type": "Or", "Conditions": [compare("Equals", 1, 2), compare("Equals", 1, 1)]}, True),
        ({"Type": "And", "Conditions": [compare("Equals", 1, 2), compare("Equals", 1, 1)]}, False),
    ],
)
def test_conditions(condition: dict[str, Any], outcome: bool) -> None:
    assert all_hold([condition], SCOPE) is outcome
    assert all_hold([condition, compare("Equals", 1, 1)], SCOPE) is outcome
    assert all_hold([condition, compare("Equals", 1, 2)], SCOPE) is False


def test_values_of_different_types_are_not_compared() -> None:
    with pytest.raises(UnresolvedError, match=r"LeftValue \[0.9\] of type \[str\]"):
        all_hold([compare("GreaterThan", "0.9", 0.5)], SCOPE)


DECLARED = {
    spec.name: spec
    for spec in (
        ParameterSpec("S", "String", "s", ("s", "t")),
        ParameterSpec("I", "Integer", 1),
        ParameterSpec("F", "Float", 0.5),
        ParameterSpec("B", "Boolean"),
    )
}


def given(**values: str) -> list[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in values.items()]


def test_parameters_take_their_declared_type() -> None:
    assert resolve_parameters(DECLARED, given(B="True", I="7")) == {"S": "s", "I": 7, "F": 0.5, "B": True}
    assert resolve_parameters(DECLARED, given(B="false", F="3", S="t")) == {"S": "t", "I": 1, "F": 3.0, "B": False}


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({}, "Parameter 'B' is undefined"),
        ({"B": "true", "X": "1"}, "Unknown parameter 'X': the pipeline definition declares B, F, I, S"),
        ({"B": "maybe"}, "Expected Boolean but found value 'maybe'"),
        ({"B": "true", "I": "1.5"}, "Expected Integer but found value '1.5'"),
        ({"B": "true", "F": "much"}, "Expected Float but found value 'much'"),
        ({"B": "true", "S": "u"}, "not in its enum: [s, t]"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(values: dict[str, str], says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        resolve_parameters(DECLARED, given(**values))
    assert says in caught.value.message


def test_retry_delays_grow_until_the_attempts_are_used_up() -> None:
    policy = {"ExceptionType": ["SageMaker.CAPACITY_ERROR"], "IntervalSeconds": 2, "BackoffRate": 3.0, "MaxAttempts": 2}
    plan = Retries((policy,), started=0.0)
    assert [plan.delay_s("SageMaker.CAPACITY_ERROR", 0.0) for _ in range(3)] == [2.0, 6.0, None]
    assert plan.delay_s("SageMaker.RESOURCE_LIMIT", 0.0) is None
    assert plan.delay_s(None, 0.0) is None
    assert plan.delay_s("Step.THROTTLING", 0.0) == 1.0  # the service retries it unasked


def test_retries_end_when_they_expire() -> None:
    policy = {"ExceptionType": ["Step.SERVICE_FAULT"], "IntervalSeconds": 10, "BackoffRate": 1.0, "ExpireAfterMin": 1}
    plan = Retries((policy,), started=100.0)
    assert plan.delay_s("Step.SERVICE_FAULT", 110.0) == 10.0
    assert plan.delay_s("Step.SERVICE_FAULT", 155.0) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("PT1H", 3600), ("P30DT5H", 30 * 86400 + 5 * 3600), ("30d", 30 * 86400), ("T16m", 960), ("P1M", 30 * 86400), ("soon", 0)],
)
def test_cache_durations(text: str, seconds: float) -> None:
    assert duration_s(text) == seconds
