"""The promotion pipeline: an approval in the registry leads to production, and nothing else does."""

from __future__ import annotations

import json

import pytest

from tests.local.conftest import Stack
from tests.support.waiting import WHOLE_SYSTEM_S, wait_until

pytestmark = pytest.mark.timeout(WHOLE_SYSTEM_S)

FAST = {"ttft_ms": 60, "itl_ms": 5, "output_tokens": 16}


@pytest.fixture(scope="module", autouse=True)
def running(stack: Stack) -> None:
    """The rule that starts promotions is off until the test that is about it: the others start them at their own moment."""
    stack.up()
    stack.client("events").disable_rule(Name="release-approved")


@pytest.fixture(scope="module")
def waiting(stack: Stack) -> str:
    """The ARN of a version that passed the gate and waits for a person."""
    model = stack.simulated_model("by-hand", settings=FAST, change=lambda content: content.update(approval="manual"))
    result = stack.run_here(model)
    assert result.returncode == 0, result.stderr
    assert "approve it in the Model Registry" in result.stdout
    [version] = stack.versions("by-hand")
    assert version["ModelApprovalStatus"] == "PendingManualApproval"
    assert stack.endpoints() == []
    arn: str = version["ModelPackageArn"]
    return arn


def promoted(stack: Stack, package: str) -> tuple[str, str]:
    """Start the promotion pipeline as EventBridge does; returns how the execution ended, and why."""
    sagemaker = stack.client("sagemaker")
    arn = sagemaker.start_pipeline_execution(
        PipelineName="promotion", PipelineParameters=[{"Name": "ModelPackageArn", "Value": package}]
    )["PipelineExecutionArn"]

    def status() -> str:
        found: str = sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)["PipelineExecutionStatus"]
        return found

    wait_until(lambda: status() not in {"Executing", "Stopping"}, "the promotion ends")
    steps = sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn)["PipelineExecutionSteps"]
    return status(), " ".join(step.get("FailureReason", "") for step in steps)


def test_a_version_that_nobody_approved_is_refused(stack: Stack, waiting: str) -> None:
    status, reason = promoted(stack, waiting)
    assert status == "Failed"
    assert "the version is PendingManualApproval now, not Approved" in reason
    assert stack.endpoints() == []


def test_an_approved_version_whose_evaluation_was_edited_is_refused(stack: Stack, waiting: str) -> None:
    sagemaker, s3 = stack.client("sagemaker"), stack.client("s3")
    sagemaker.update_model_package(ModelPackageArn=waiting, ModelApprovalStatus="Approved")
    facts = sagemaker.describe_model_package(ModelPackageName=waiting)["CustomerMetadataProperties"]
    bucket, key = facts["evaluation:report"].removeprefix("s3://").split("/", 1)
    report = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    s3.put_object(Bucket=bucket, Key=key, Body=report.replace(b"ttft_p99_ms", b"ttft_p50_ms"))
    try:
        status, reason = promoted(stack, waiting)
    finally:
        s3.put_object(Bucket=bucket, Key=key, Body=report)
    assert status == "Failed"
    assert "was changed after it was stored" in reason
    assert stack.endpoints() == []


def test_an_approved_version_whose_weights_were_exchanged_is_refused(stack: Stack, waiting: str) -> None:
    sagemaker, s3 = stack.client("sagemaker"), stack.client("s3")
    facts = sagemaker.describe_model_package(ModelPackageName=waiting)["CustomerMetadataProperties"]
    bucket, key = (facts["weights:prefix"] + "manifest.json").removeprefix("s3://").split("/", 1)
    manifest = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    s3.put_object(Bucket=bucket, Key=key, Body=manifest + b" ")
    try:
        _, reason = promoted(stack, waiting)
    finally:
        s3.put_object(Bucket=bucket, Key=key, Body=manifest)
    assert "is not the one that was evaluated" in reason
    assert stack.endpoints() == []


def test_an_approval_by_the_command_leads_to_production_through_the_rule(stack: Stack, waiting: str) -> None:
    stack.client("events").enable_rule(Name="release-approved")
    assert stack.run_here("reject", "by-hand", "1").returncode == 0  # the tests above approved it without the command
    approved = stack.run_here("approve", "by-hand", "1", "--force", "--comment", "all is well", "--follow")
    assert approved.returncode == 0, approved.stderr
    assert "the rule release-approved starts the pipeline promotion" in approved.stdout
    assert "production: endpoint by-hand serves version 1" in approved.stdout
    assert stack.endpoints() == ["by-hand"]
    stack.client("events").disable_rule(Name="release-approved")
    history = json.loads(stack.run_here("history", "by-hand", "--json").stdout)["events"]
    kinds = [event["kind"] for event in history]
    assert kinds[:3] == ["fetched", "registered", "evaluated"]
    assert kinds[-4:] == ["rejected", "approved", "changing", "promoted"]
    assert history[-3]["details"]["comment"] == "all is well"


def test_promoting_what_production_serves_already_changes_nothing(stack: Stack, waiting: str) -> None:
    before = stack.client("sagemaker").describe_endpoint(EndpointName="by-hand")
    assert promoted(stack, waiting)[0] == "Succeeded"
    after = stack.client("sagemaker").describe_endpoint(EndpointName="by-hand")
    assert after["EndpointConfigName"] == before["EndpointConfigName"]
    assert after["LastModifiedTime"] == before["LastModifiedTime"]
