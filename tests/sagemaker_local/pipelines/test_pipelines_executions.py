"""Executions of plain JSON definitions, through boto3: what runs, in which order, and what is said of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.sagemaker_local.pipelines.definitions import (
    ROLE,
    compare,
    condition,
    definition,
    fail,
    parameter,
    processing,
    token,
)

if TYPE_CHECKING:
    from tests.sagemaker_local.pipelines.conftest import Server
    from tests.sagemaker_local.pipelines.definitions import Runs

AUC = {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.Evaluate.PropertyFiles.Report"}, "Path": "metrics.auc"}}


def evaluate(bucket: str, auc: str) -> dict[str, Any]:
    files = [{"PropertyFileName": "Report", "OutputName": "report", "FilePath": "report.json"}]
    return processing(
        "Evaluate",
        "write_report",
        "/opt/ml/processing/report",
        auc,
        outputs={"report": f"s3://{bucket}/evaluation"},
        step={"PropertyFiles": files},
    )


def gate(then: list[Any], otherwise: list[Any]) -> dict[str, Any]:
    return condition("Gate", [compare("GreaterThanOrEqualTo", AUC, {"Get": "Parameters.Threshold"})], then, otherwise)


THRESHOLD = [parameter("Threshold", "Float", 0.8)]


def test_a_gate_reads_a_property_file_and_only_its_branch_runs(runs: Runs, bucket: str) -> None:
    then = processing(
        "Tell",
        "import sys; assert sys.argv[1:] == sys.argv[2:3] * 2, sys.argv",
        {
            "Std:Join": {
                "On": "/",
                "Values": [{"Get": "Steps.Evaluate.ProcessingOutputConfig.Outputs['report'].S3Output.S3Uri"}, "x"],
            }
        },
        f"s3://{bucket}/evaluation/x",
    )
    after = processing("After", "pass", step={"DependsOn": ["Tell"]})
    refused = {"Std:Join": {"On": " ", "Values": ["auc", AUC, "is below", {"Get": "Parameters.Threshold"}]}}
    arn = runs.run(evaluate(bucket, "0.9"), gate([then], [fail("Refuse", refused)]), after, parameters=THRESHOLD)
    described = runs.until(arn)
    steps = runs.steps(arn)
    assert described["PipelineExecutionStatus"] == "Succeeded", steps
    assert list(steps) == ["Evaluate", "Gate", "Tell", "After"]
    assert steps["Gate"]["Metadata"] == {"Condition": {"Outcome": "True"}}
    job = steps["Evaluate"]["Metadata"]["ProcessingJob"]["Arn"].rpartition("/")[2]
    assert job.startswith(f"pipelines-{arn.rpartition('/')[2]}-Evaluate-")
    assert all(step["StepStatus"] == "Succeeded" and step["AttemptCount"] == 1 for step in steps.values())
    assert steps["Evaluate"]["EndTime"] <= steps["Gate"]["StartTime"]


def test_a_fail_step_carries_its_message_and_what_needs_the_other_branch_does_not_run(runs: Runs, bucket: str) -> None:
    message = {"Std:Join": {"On": " ", "Values": ["auc", AUC, "is below", {"Get": "Parameters.Threshold"}]}}
    after = processing("After", "pass", step={"DependsOn": ["Tell"]})
    arn = runs.run(
        evaluate(bucket, "0.7"),
        gate([processing("Tell", "pass")], [fail("Refuse", message)]),
        after,
        parameters=THRESHOLD,
        given={"Threshold": "0.75"},
    )
    described = runs.until(arn)
    steps = runs.steps(arn)
    assert list(steps) == ["Evaluate", "Gate", "Refuse"]
    assert described["PipelineExecutionStatus"] == "Failed"
    # In the service's own words; the SDK's integration tests for FailStep say so of a live account.
    assert described["FailureReason"] == "Step failure: One or multiple steps failed."
    assert steps["Refuse"]["FailureReason"] == "auc 0.7 is below 0.75"
    assert steps["Refuse"]["Metadata"] == {"Fail": {"ErrorMessage": "auc 0.7 is below 0.75"}}
    assert steps["Gate"]["Metadata"]["Condition"]["Outcome"] == "False"


def test_a_failed_job_fails_its_step_and_what_depends_on_it_but_not_the_other_branch(runs: Runs) -> None:
    arn = runs.run(
        processing("Bad", "raise SystemExit(2)"),
        processing("Good", "import time; time.sleep(0.3)"),
        processing("AfterBad", "pass", step={"DependsOn": ["Bad"]}),
        processing("AfterGood", "pass", step={"DependsOn": ["Good"]}),
    )
    described = runs.until(arn)
    steps = runs.steps(arn)
    assert described["PipelineExecutionStatus"] == "Failed"
    assert set(steps) == {"Bad", "Good", "AfterGood"}
    assert steps["Bad"]["FailureReason"] == "AlgorithmError: , exit code: 2"
    assert steps["AfterGood"]["StepStatus"] == "Succeeded"


def test_a_request_that_the_service_refuses_fails_the_step_in_its_words(runs: Runs) -> None:
    broken = processing("Broken", "pass")
    broken["Arguments"]["ProcessingResources"]["ClusterConfig"]["InstanceCount"] = "many"
    arn = runs.run(broken)
    step = runs.steps(arn)["Broken"]
    assert step["FailureReason"].startswith("ClientError: Failed to invoke sagemaker:CreateProcessingJob. Error Details: ")
    assert step["Metadata"] == {}


def test_a_step_type_that_is_not_emulated_fails_with_its_name(runs: Runs) -> None:
    arn = runs.run({"Name": "Tune", "Type": "Tuning", "Arguments": {}})
    assert "Step type Tuning is not emulated" in runs.steps(arn)["Tune"]["FailureReason"]


def test_what_is_not_emulated_fails_a_step_at_once_and_by_name(runs: Runs, local_server: Server, bucket: str) -> None:
    zipped = {"S3Uri": f"s3://{bucket}/in", "LocalPath": "/opt/ml/processing/in", "S3DataType": "S3Prefix"}
    inputs = [{"InputName": "in", "S3Input": {**zipped, "S3InputMode": "File", "S3CompressionType": "Gzip"}}]
    name = runs.create(processing("Unzip", "pass", ProcessingInputs=inputs))
    arn = runs.start(name)
    runs.until(arn)
    step = runs.steps(arn)["Unzip"]
    assert step["AttemptCount"] == 1
    assert "CreateProcessingJob: ProcessingInputs.S3Input.S3CompressionType is not emulated." in step["FailureReason"]
    with pytest.raises(ClientError, match=r"NotImplemented.*PipelineVersionAlias"):  # and not: the newest version is started
        local_server.sagemaker.start_pipeline_execution(PipelineName=name, PipelineVersionAlias="stable")


def test_a_value_that_is_not_there_fails_the_step_and_says_where(runs: Runs, bucket: str) -> None:
    wrong = {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.Evaluate.PropertyFiles.Report"}, "Path": "metrics.f1"}}
    arn = runs.run(evaluate(bucket, "0.9"), condition("Gate", [compare("Equals", wrong, 1)], [], []))
    assert "no 'f1' in an object with auc" in runs.steps(arn)["Gate"]["FailureReason"]


@pytest.mark.parametrize(("limit", "overlaps"), [(1, False), (2, True)])
def test_as_many_steps_at_once_as_the_parallelism_allows(runs: Runs, limit: int, overlaps: bool) -> None:
    name = runs.create(*(processing(f"S{number}", "import time; time.sleep(0.25)") for number in range(4)))
    arn = runs.start(name, ParallelismConfiguration={"MaxParallelExecutionSteps": limit})
    assert runs.until(arn)["ParallelismConfiguration"] == {"MaxParallelExecutionSteps": limit}
    spans = sorted((step["StartTime"], step["EndTime"]) for step in runs.steps(arn).values())
    at_once = max(sum(start <= moment < end for start, end in spans) for moment, _ in spans)
    assert at_once == limit
    assert (spans[1][0] < spans[0][1]) is overlaps


def test_stop_ends_the_running_job_and_starts_nothing_more(runs: Runs, local_server: Server) -> None:
    name = runs.create(
        processing("Long", "import time; time.sleep(60)"), processing("Next", "pass", step={"DependsOn": ["Long"]})
    )
    arn = runs.start(name)
    job = runs.until_step(arn, "Long", "Executing")["Metadata"]["ProcessingJob"]["Arn"].rpartition("/")[2]
    stop = token()
    for _ in range(2):  # the same token again: the same answer
        assert (
            local_server.sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn, ClientRequestToken=stop)[
                "PipelineExecutionArn"
            ]
            == arn
        )
    assert runs.until(arn)["PipelineExecutionStatus"] == "Stopped"
    steps = runs.steps(arn)
    assert list(steps) == ["Long"] and steps["Long"]["StepStatus"] == "Stopped"
    assert local_server.sagemaker.describe_processing_job(ProcessingJobName=job)["ProcessingJobStatus"] == "Stopped"
    with pytest.raises(ClientError, match="already in terminal state: Stopped"):
        local_server.sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn, ClientRequestToken=token())


def test_the_same_token_starts_one_execution(runs: Runs, local_server: Server) -> None:
    name = runs.create(processing("A", "pass"), parameters=[parameter("P", default="x")])
    request = {"PipelineName": name, "ClientRequestToken": token()}
    first = local_server.sagemaker.start_pipeline_execution(**request)["PipelineExecutionArn"]
    assert local_server.sagemaker.start_pipeline_execution(**request)["PipelineExecutionArn"] == first
    with pytest.raises(ClientError) as caught:
        local_server.sagemaker.start_pipeline_execution(**request, PipelineParameters=[{"Name": "P", "Value": "y"}])
    assert caught.value.response["Error"]["Code"] == "ConflictException"
    assert len(local_server.sagemaker.list_pipeline_executions(PipelineName=name)["PipelineExecutionSummaries"]) == 1
    runs.until(first)


def test_parameters_are_checked_before_anything_starts(runs: Runs, local_server: Server) -> None:
    name = runs.create(
        processing("A", "pass"), parameters=[parameter("Count", "Integer"), parameter("Mode", default="a", EnumValues=["a", "b"])]
    )
    for given, says in [
        ({}, "'Count' is undefined"),
        ({"Count": "x"}, "Expected Integer"),
        ({"Count": "1", "Mode": "c"}, "enum: [a, b]"),
    ]:
        with pytest.raises(ClientError) as caught:
            runs.start(name, given)
        assert caught.value.response["Error"]["Code"] == "ValidationException"
        assert says in caught.value.response["Error"]["Message"]
    assert local_server.sagemaker.list_pipeline_executions(PipelineName=name)["PipelineExecutionSummaries"] == []
    arn = runs.start(name, {"Count": "2"})
    given = local_server.sagemaker.list_pipeline_parameters_for_execution(PipelineExecutionArn=arn)["PipelineParameters"]
    assert given == [{"Name": "Count", "Value": "2"}, {"Name": "Mode", "Value": "a"}]  # the default, too
    runs.until(arn)


def test_a_pipeline_is_created_updated_listed_and_deleted(runs: Runs, local_server: Server) -> None:
    sagemaker = local_server.sagemaker
    name = runs.create(processing("A", "pass"), PipelineDescription="first", Tags=[{"Key": "team", "Value": "a"}])
    before = sagemaker.describe_pipeline(PipelineName=name)
    arn = before["PipelineArn"]
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "team", "Value": "a"}]
    with pytest.raises(ClientError, match="already exists") as caught:
        sagemaker.create_pipeline(
            PipelineName=name, PipelineDefinition=definition(processing("A", "pass")), RoleArn=ROLE, ClientRequestToken=token()
        )
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    run = runs.start(name)
    changed = definition(processing("B", "pass"))
    assert sagemaker.update_pipeline(PipelineName=name, PipelineDefinition=changed)["PipelineVersionId"] == 2
    after = sagemaker.describe_pipeline(PipelineName=name)
    assert (after["PipelineDefinition"], after["PipelineDescription"]) == (changed, "first")
    ran = sagemaker.describe_pipeline_definition_for_execution(PipelineExecutionArn=run)
    assert ran["PipelineDefinition"] == before["PipelineDefinition"]
    assert name in [entry["PipelineName"] for entry in sagemaker.list_pipelines(PipelineNamePrefix=name)["PipelineSummaries"]]
    runs.until(run)
    old = runs.start(arn, PipelineVersionId=1)
    runs.until(old)
    assert list(runs.steps(old)) == ["A"]
    assert sagemaker.delete_pipeline(PipelineName=name, ClientRequestToken=token())["PipelineArn"] == arn
    with pytest.raises(ClientError, match="does not exist") as caught:
        sagemaker.describe_pipeline(PipelineName=name)
    assert caught.value.response["Error"]["Code"] == "ResourceNotFound"
    with pytest.raises(ClientError, match="does not exist"):
        sagemaker.describe_pipeline_execution(PipelineExecutionArn=run)


def test_a_definition_may_come_from_s3(runs: Runs, local_server: Server, bucket: str) -> None:
    text = definition(processing("A", "pass"))
    local_server.s3.put_object(Bucket=bucket, Key="d.json", Body=text.encode())
    location = {"Bucket": bucket, "ObjectKey": "d.json"}
    name = f"from-s3-{token()[:8]}"
    local_server.sagemaker.create_pipeline(
        PipelineName=name, PipelineDefinitionS3Location=location, RoleArn=ROLE, ClientRequestToken=token()
    )
    assert local_server.sagemaker.describe_pipeline(PipelineName=name)["PipelineDefinition"] == text


def test_an_invalid_definition_is_refused_when_it_is_created(local_server: Server) -> None:
    text = definition(processing("A", "pass", step={"DependsOn": ["Nobody"]}))
    with pytest.raises(ClientError, match="depends on step 'Nobody', which does not exist"):
        local_server.sagemaker.create_pipeline(
            PipelineName="broken", PipelineDefinition=text, RoleArn=ROLE, ClientRequestToken=token()
        )


def test_execution_variables_and_the_pipelines_tags_reach_the_job(runs: Runs, local_server: Server, bucket: str) -> None:
    names = ("PipelineName", "PipelineArn", "PipelineExecutionId", "PipelineExecutionArn", "StartDateTime", "ProcessingJobName")
    environment = {name: {"Get": f"Execution.{name}"} for name in names}
    arguments = ("/opt/ml/processing/out", *names)
    step = processing("A", "write_environment", *arguments, outputs={"out": f"s3://{bucket}/v"}, Environment=environment)
    name = runs.create(step, Tags=[{"Key": "team", "Value": "a"}])
    arn = runs.start(name)
    runs.until(arn)
    values = json.loads(local_server.s3.get_object(Bucket=bucket, Key="v/environment.json")["Body"].read())
    assert values.pop("StartDateTime").endswith("Z")
    pipeline_arn, _, execution_id = arn.rpartition("/execution/")
    job = runs.steps(arn)["A"]["Metadata"]["ProcessingJob"]["Arn"]
    assert values == {
        "PipelineName": name,
        "PipelineArn": pipeline_arn,
        "PipelineExecutionId": execution_id,
        "PipelineExecutionArn": arn,
        "ProcessingJobName": job.rpartition("/")[2],
    }
    assert local_server.sagemaker.list_tags(ResourceArn=job)["Tags"] == [{"Key": "team", "Value": "a"}]


def test_register_model_creates_its_group_and_a_version(runs: Runs, local_server: Server) -> None:
    group = f"group-{token()[:8]}"
    inference = {
        "Containers": [{"Image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/serve:1", "ModelDataUrl": "s3://b/m.tar.gz"}],
        "SupportedContentTypes": ["application/json"],
        "SupportedResponseMIMETypes": ["application/json"],
    }
    arguments = {
        "ModelPackageGroupName": group,
        "InferenceSpecification": inference,
        "ModelApprovalStatus": "PendingManualApproval",
        "ModelPackageDescription": {"Std:Join": {"On": " ", "Values": ["from", {"Get": "Execution.PipelineExecutionId"}]}},
    }
    register = {"Name": "Register", "Type": "RegisterModel", "Arguments": arguments}
    use = processing("Use", "import sys; assert sys.argv[1].endswith('/1'), sys.argv", {"Get": "Steps.Register.ModelPackageArn"})
    arn = runs.run(register, use)
    steps = runs.steps(arn)
    assert runs.until(arn)["PipelineExecutionStatus"] == "Succeeded", steps
    package = local_server.sagemaker.describe_model_package(
        ModelPackageName=steps["Register"]["Metadata"]["RegisterModel"]["Arn"]
    )
    assert package["ModelPackageGroupName"] == group
    assert package["ModelPackageDescription"] == f"from {arn.rpartition('/')[2]}"
