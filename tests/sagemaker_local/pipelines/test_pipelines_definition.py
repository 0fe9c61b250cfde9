"""What CreatePipeline accepts, and what it says of what it does not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sagemaker_local.errors import ValidationError
from sagemaker_local.pipelines.definitions import graph
from sagemaker_local.pipelines.definitions.graph import Readiness, StepEnding
from sagemaker_local.pipelines.definitions.model import Dependency
from sagemaker_local.pipelines.definitions.parser import parse
from sagemaker_local.pipelines.table import check


def document(*steps: dict[str, Any], parameters: list[dict[str, Any]] | None = None) -> str:
    return json.dumps({"Version": "2020-12-01", "Parameters": parameters or [], "Steps": list(steps)})


def fail(name: str, **more: Any) -> dict[str, Any]:
    return {"Name": name, "Type": "Fail", "Arguments": {"ErrorMessage": "no"}, **more}


def processing(name: str, *references: str, **more: Any) -> dict[str, Any]:
    arguments = {"AppSpecification": {"ContainerArguments": [{"Get": reference} for reference in references]}}
    return {"Name": name, "Type": "Processing", "Arguments": arguments, **more}


def with_arguments(kind: str, **arguments: Any) -> str:
    return document({"Name": "A", "Type": kind, "Arguments": arguments})


def condition(name: str, if_steps: list[Any], else_steps: list[Any], left: Any = 1) -> dict[str, Any]:
    conditions = [{"Type": "Equals", "LeftValue": left, "RightValue": 1}]
    return {
        "Name": name,
        "Type": "Condition",
        "Arguments": {"Conditions": conditions, "IfSteps": if_steps, "ElseSteps": else_steps},
    }


LAMBDA = {"Name": "L", "Type": "Lambda", "FunctionArn": "f", "OutputParameters": [{"OutputName": "x", "OutputType": "String"}]}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "It is not JSON"),
        ("[]", "must be an object"),
        (json.dumps({"Version": "2019-01-01", "Steps": []}), "Version '2019-01-01' is not supported"),
        (document(), "at least one step"),
        (document({"Name": "A", "Type": "Teleport"}), "unknown type 'Teleport'"),
        (document({"Name": "A b", "Type": "Fail"}), "needs a Name"),
        (document(fail("A"), condition("B", [fail("A")], [])), "'A' is used twice"),
        (document(processing("A", DependsOn=["Z"])), "depends on step 'Z', which does not exist"),
        (document(processing("A", "Steps.Z.ProcessingJobName")), "refers to step 'Z', which does not exist"),
        (document(processing("A", "Parameters.Size")), "parameter 'Size', which is not declared"),
        (document(processing("A", "Secrets.Key")), "expected Parameters, Execution or Steps"),
        (document(processing("A"), fail("F"), processing("B", DependsOn=["F"])), "B can not depends on F"),
        (document(processing("A"), processing("B", "Steps.A.PropertyFiles.Report")), "property file 'Report'"),
        (document(processing("A"), processing("B", "Steps.A.ProcessingJobNmae")), "there is no 'ProcessingJobNmae'"),
        (document(processing("A"), processing("B", "Steps.A.ProcessingOutputConfig.Outputs['x'].S3Output.Uri")), "no 'Uri' in"),
        (document(condition("C", [], []), processing("B", "Steps.C.Result")), "has the property Outcome and no other"),
        (document(LAMBDA, processing("B", "Steps.L.OutputParameters['y']")), "step L has the OutputParameters x"),
        (document(processing("A", DependsOn=["B"]), processing("B", "Steps.A.ProcessingJobName")), "wait for one another: A, B"),
        (document(processing("A"), parameters=[{"Name": "P", "Type": "Blob"}]), "has type 'Blob'"),
        (document(processing("A"), parameters=[{"Name": "P", "Type": "String"}] * 2), "'P' is declared twice"),
        (document(processing("A", "Execution.Name")), "uses Execution.Name, which it does not have"),
        (document(processing("A", "Execution.TrainingJobName")), "ProcessingJobName."),
        (document({"Name": "A", "Type": "Processing"}), "needs Arguments"),
        (with_arguments("Processing", AppSpecificaton={}), "Unknown Argument member 'AppSpecificaton'."),
        (with_arguments("Processing", NetworkConfig={"VpcConfig": {"Subnets": "s"}}), "Expecting start of Json Array."),
        (with_arguments("Training", Environment=[]), "Expecting start of Json Object."),
        (with_arguments("Training", Environment={"A": {"Std:Split": {}}}), "no function Std:Split"),
        (with_arguments("RegisterModel", ModelPackageName="m"), "Unknown Argument member 'ModelPackageName'."),
    ],
)
def test_an_invalid_definition_is_refused_with_its_reason(text: str, says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        check(text)
    assert "Unable to parse pipeline definition." in caught.value.message
    assert says in caught.value.message


def test_nested_steps_know_their_branch_and_wait_for_their_condition() -> None:
    definition = parse(
        document(processing("A"), condition("C", [processing("B")], [fail("F")], {"Get": "Steps.A.ProcessingJobStatus"}))
    )
    built = graph.build(definition)
    assert list(definition.steps) == ["A", "C", "B", "F"]
    assert built.upstream["C"] == (Dependency("A"),)  # and not B's references
    assert built.verdict("B", {"A": StepEnding.SUCCEEDED}, {}) is Readiness.WAIT
    done = {"A": StepEnding.SUCCEEDED, "C": StepEnding.SUCCEEDED}
    assert built.verdict("B", done, {"C": True}) is Readiness.RUN
    assert built.verdict("F", done, {"C": True}) is Readiness.SKIP


def test_what_depends_on_a_skipped_or_failed_step_is_skipped() -> None:
    definition = parse(document(processing("A"), processing("B", "Steps.A.ProcessingJobName"), processing("C", DependsOn=["B"])))
    built = graph.build(definition)
    assert built.verdict("B", {"A": StepEnding.FAILED}, {}) is Readiness.SKIP
    assert built.verdict("C", {"A": StepEnding.FAILED, "B": StepEnding.SKIPPED}, {}) is Readiness.SKIP


def test_a_trigger_runs_a_step_on_failure() -> None:
    definition = parse(document(processing("A"), processing("Tell", DependsOn=[{"Step": "A", "Trigger": "Failed"}])))
    built = graph.build(definition)
    assert built.verdict("Tell", {"A": StepEnding.FAILED}, {}) is Readiness.RUN
    assert built.verdict("Tell", {"A": StepEnding.SUCCEEDED}, {}) is Readiness.SKIP
    assert built.failure_is_handled("A", {"A": StepEnding.FAILED, "Tell": StepEnding.SUCCEEDED})
