"""The three pipeline definitions as values: deterministic, offline, and every request one that botocore would send."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from config.loader import load_environment, load_model
from config.schema import Release
from delivery.names import EVALUATION_STEPS, PROMOTION_STEPS, RELEASE_STEPS
from loadtest.profiles import Objective
from pipelines.definitions import evaluation, promotion, reaping
from pipelines.definitions import release as release_pipeline
from pipelines.planning import plan
from pipelines.planning.observed_state import ObservedState
from pipelines.run import main
from tests.support import in_process

ROOT = Path(__file__).parents[2]
SAGEMAKER = botocore.session.get_session().get_service_model("sagemaker")
REQUESTS = {"Processing": "CreateProcessingJobRequest", "RegisterModel": "CreateModelPackageInput"}
Definition = dict[str, Any]


def resolved(model: str = "qwen3-32b", env: str = "aws", **changes: Any) -> Release:
    name, content = load_model(model)
    environment = load_environment(env).model_copy(update=changes)
    return Release(
        name=name, model=content, environment=environment, serving_image="111122223333.dkr.ecr.us-west-2.amazonaws.com/s:1"
    )


def built(release: Release) -> Definition:
    definition: Definition = json.loads(release_pipeline.build(release).definition())
    return definition


def every_step(steps: list[Definition]) -> Iterator[Definition]:
    for step in steps:
        yield step
        if step["Type"] == "Condition":
            yield from every_step(step["Arguments"]["IfSteps"])
            yield from every_step(step["Arguments"]["ElseSteps"])


def step_of(definition: Definition, name: str) -> Definition:
    return next(step for step in every_step(definition["Steps"]) if step["Name"] == name)


def plain(value: Any) -> Any:
    """The request as it is once every pipeline variable has become text."""
    if isinstance(value, dict):
        is_variable = set(value) in ({"Get"}, {"Std:Join"}, {"Std:JsonGet"})
        return "resolved" if is_variable else {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def reaper() -> Definition:
    """In a VPC, encrypted."""
    pipeline = reaping.build(load_environment(str(Path(__file__).parent / "environments" / "everything.yaml")))
    assert pipeline is not None
    definition: Definition = json.loads(pipeline.definition())
    return definition


RELEASE_FILE = "s3://release-111122223333/releases/qwen3-32b/abc/release.json"


def evaluation_again() -> Definition:
    definition: Definition = json.loads(evaluation.build(resolved(), RELEASE_FILE).definition())
    return definition


def all_definitions() -> list[Any]:
    isolated: dict[str, Any] = {
        "subnets": ["subnet-1", "subnet-2"],
        "security_groups": ["sg-1"],
        "kms_key": "arn:aws:kms:us-west-2:111122223333:key/k",
    }
    return [
        pytest.param(lambda: built(resolved()), id="qwen3-32b on AWS"),
        pytest.param(lambda: built(resolved(**isolated)), id="in a VPC, encrypted"),
        pytest.param(lambda: built(resolved("smollm2-135m", "local")), id="smollm2-135m here"),
        pytest.param(evaluation_again, id="evaluate"),
        pytest.param(lambda: json.loads(promotion.build(load_environment("aws")).definition()), id="promotion"),
        pytest.param(reaper, id="reap"),
    ]


@pytest.mark.parametrize("make", all_definitions())
def test_every_request_is_one_that_botocore_accepts(make: Any) -> None:
    checked = 0
    for step in every_step(make()["Steps"]):
        if step["Type"] in REQUESTS:
            request = plain(step["Arguments"])
            if step["Type"] == "Processing":
                request["ProcessingJobName"] = "given-by-sagemaker"
            report = ParamValidator().validate(request, SAGEMAKER.shape_for(REQUESTS[step["Type"]]))
            assert not report.has_errors(), f"{step['Name']}: {report.generate_report()}"
            assert len(request.get("Tags", [])) <= 50
            checked += 1
    assert checked


@pytest.mark.parametrize("make", all_definitions())
def test_no_argument_is_longer_than_sagemaker_takes(make: Any) -> None:
    for step in every_step(make()["Steps"]):
        if step["Type"] == "Processing":
            arguments = plain(step["Arguments"]["AppSpecification"]["ContainerArguments"])
            assert len(arguments) <= 100
            assert all(len(argument) <= 256 for argument in arguments)


def test_the_chain_is_the_one_that_the_design_draws() -> None:
    definition = built(resolved())
    assert [step["Name"] for step in definition["Steps"]] == ["FetchWeights", "RegisterModel", "EvaluateStaging", "Gate"]
    gate = step_of(definition, "Gate")["Arguments"]
    assert [step["Name"] for step in gate["IfSteps"]] == ["Approved"]
    assert [step["Name"] for step in gate["ElseSteps"]] == ["Undecided"]
    undecided = step_of(definition, "Undecided")["Arguments"]
    assert [(one["LeftValue"]["Std:JsonGet"]["Path"], one["RightValue"]) for one in undecided["Conditions"]] == [
        ("verdict", "invalid")
    ]
    assert [step["Name"] for step in undecided["IfSteps"]] == ["NotDecided"]
    assert [step["Name"] for step in undecided["ElseSteps"]] == ["Reject", "Failed"]
    assert [step["Name"] for step in step_of(definition, "Approved")["Arguments"]["IfSteps"]] == ["Promote"]


def path(steps: list[Definition]) -> Iterator[str]:
    """The steps that run when every condition holds."""
    for step in steps:
        yield step["Name"]
        if step["Type"] == "Condition":
            yield from path(step["Arguments"]["IfSteps"])


def test_the_steps_that_people_are_shown_are_those_of_the_definitions() -> None:
    release = resolved()
    planned = [step.name.removesuffix("?") for step in plan.build(release, ObservedState()).steps]
    assert list(path(built(release)["Steps"])) == RELEASE_STEPS == planned
    assert list(path(json.loads(promotion.build(release.environment).definition())["Steps"])) == PROMOTION_STEPS


def test_a_version_is_evaluated_again_by_the_steps_of_a_release() -> None:
    definition, release = evaluation_again(), built(resolved())
    assert list(path(definition["Steps"])) == EVALUATION_STEPS
    for step in every_step(definition["Steps"]):
        same = json.dumps(step_of(release, step["Name"])).replace("/executions/release-", "/executions/evaluate-")
        same = same.replace('{"Get": "Steps.RegisterModel.ModelPackageArn"}', '{"Get": "Parameters.ModelPackageArn"}')
        assert json.dumps(step) == same, step["Name"]
    [file] = [one for one in definition["Parameters"] if one["Name"] == "ReleaseFile"]
    assert file["EnumValues"] == [RELEASE_FILE], "the gate's conditions are those of this file"


def test_every_objective_of_the_model_file_is_a_condition_of_its_own() -> None:
    release = resolved()
    conditions = step_of(built(release), "Gate")["Arguments"]["Conditions"]
    found = {condition["LeftValue"]["Std:JsonGet"]["Path"]: condition for condition in conditions}
    objectives = release.model.evaluation.load_profiles["chat"].objectives
    assert len(conditions) == len(objectives) + 2  # the verdict and the prompt checks
    for metric, objective in objectives.items():
        condition = found[f"profiles.chat.objectives.{metric}.compared_value"]
        assert condition["RightValue"] == objective.bound
        assert condition["Type"] == ("LessThanOrEqualTo" if objective.at_most is not None else "GreaterThanOrEqualTo")


def test_changing_a_bound_changes_the_gate() -> None:
    release = resolved()
    profile = release.model.evaluation.load_profiles["chat"]
    tighter = profile.model_copy(update={"objectives": {"ttft_p99_ms": Objective(at_most=1.0)}})
    evaluation = release.model.evaluation.model_copy(update={"load_profiles": {"chat": tighter}})
    model = release.model.model_copy(update={"evaluation": evaluation})
    conditions = step_of(built(release.model_copy(update={"model": model})), "Gate")["Arguments"]["Conditions"]
    assert [condition["RightValue"] for condition in conditions] == ["passed", 0, 1.0]


def test_the_package_is_pending_and_serves_eight_gpus_from_uncompressed_weights() -> None:
    request = step_of(built(resolved()), "RegisterModel")["Arguments"]
    assert request["ModelApprovalStatus"] == "PendingManualApproval"
    [container] = request["InferenceSpecification"]["Containers"]
    assert container["Environment"]["SM_SGLANG_TP_SIZE"] == "8"
    source = container["ModelDataSource"]["S3DataSource"]
    assert source["CompressionType"] == "None"
    assert source["S3Uri"].endswith("/weights/Qwen/Qwen3-32B/9216db5781bf21249d130ec9da846c4624c16137/")
    assert request["InferenceSpecification"]["SupportedRealtimeInferenceInstanceTypes"] == ["ml.p5.48xlarge"]


def test_only_the_fetch_is_cached_and_its_request_is_the_same_in_every_execution() -> None:
    definition = built(resolved())
    cached = [step["Name"] for step in every_step(definition["Steps"]) if step.get("CacheConfig", {}).get("Enabled")]
    assert cached == ["FetchWeights"]
    assert "Execution." not in json.dumps(step_of(definition, "FetchWeights"))


def test_every_job_waits_for_capacity_and_repeats_service_errors() -> None:
    for step in every_step(built(resolved())["Steps"]):
        if step["Type"] == "Processing":
            types = {kind for policy in step["RetryPolicies"] for kind in policy["ExceptionType"]}
            assert {"SageMaker.CAPACITY_ERROR", "SageMaker.RESOURCE_LIMIT", "Step.SERVICE_FAULT", "Step.THROTTLING"} <= types


def test_the_command_prints_the_same_bytes_twice_without_an_account() -> None:
    """Once as a process of its own, whose hashes of strings are other ones than this process's."""
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    command = [sys.executable, "-m", "pipelines.run", "definition", "qwen3-32b"]
    first = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True, text=True).stdout
    second = in_process.called(main, ["definition", "qwen3-32b"], environment)
    assert first == second.stdout
    assert json.loads(first)["Version"] == "2020-12-01"
    assert "ml.p5.48xlarge" in first
    assert '"SM_SGLANG_TP_SIZE": "8"' in first
