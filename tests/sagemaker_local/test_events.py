"""SageMaker's events, and what rules do with them."""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.sagemaker_local.hosting_client import HostingClient
from tests.support.waiting import wait_until

ROLE = "arn:aws:iam::123456789012:role/tests"


@pytest.fixture
def queue(client: Callable[[str], Any]) -> str:
    url: str = client("sqs").create_queue(QueueName=f"queue-{uuid.uuid4().hex[:8]}")["QueueUrl"]
    return url


@pytest.fixture
def rule(client: Callable[[str], Any]) -> Iterator[Callable[..., str]]:
    """Makes rules with one target each, and deletes them."""
    events, made = client("events"), []

    def make(pattern: dict[str, Any], target: dict[str, Any], **more: Any) -> str:
        name = f"rule-{uuid.uuid4().hex[:8]}"
        events.put_rule(Name=name, EventPattern=json.dumps({"source": ["aws.sagemaker"], **pattern}), **more)
        events.put_targets(Rule=name, Targets=[{"Id": "target", **target}])
        made.append(name)
        return name

    yield make
    for name in made:
        events.remove_targets(Rule=name, Ids=["target"])
        events.delete_rule(Name=name)


def arn_of(client: Callable[[str], Any], url: str) -> str:
    arn: str = client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    return arn


def received(client: Callable[[str], Any], url: str) -> list[dict[str, Any]]:
    messages = (
        client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]).get("Messages", [])
    )
    for message in messages:
        client("sqs").delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return list(messages)


def package_in(sagemaker: Any, group: str) -> str:
    sagemaker.create_model_package_group(ModelPackageGroupName=group)
    arn: str = sagemaker.create_model_package(ModelPackageGroupName=group, SourceUri="s3://x")["ModelPackageArn"]
    return arn


def test_an_approval_is_an_event_in_a_queue(sagemaker: Any, client: Callable[[str], Any], queue: str, rule: Any) -> None:
    group = f"group-{uuid.uuid4().hex[:8]}"
    arn = package_in(sagemaker, group)
    rule(
        {
            "detail-type": ["SageMaker Model Package State Change"],
            "detail": {"ModelPackageGroupName": [group], "ModelApprovalStatus": ["Approved"]},
        },
        {"Arn": arn_of(client, queue)},
    )
    sagemaker.update_model_package(ModelPackageArn=arn, ApprovalDescription="not yet")
    sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    (message,) = wait_until(lambda: received(client, queue), "the event is in the queue")
    event = json.loads(message["Body"])
    assert (event["source"], event["account"], event["region"], event["resources"]) == (
        "aws.sagemaker", "123456789012", "us-east-1", [arn],
    )  # fmt: skip
    assert event["time"].endswith("Z")
    detail = event["detail"]
    assert detail["ModelPackageVersion"] == 1
    assert detail["SourceUri"] == "s3://x"
    assert detail["CreationTime"].endswith("Z")


def test_a_disabled_rule_does_nothing_and_a_template_shapes_the_message(
    sagemaker: Any, client: Callable[[str], Any], queue: str, rule: Any
) -> None:
    group = f"group-{uuid.uuid4().hex[:8]}"
    pattern = {"detail": {"ModelPackageGroupName": [group]}}
    rule(pattern, {"Arn": arn_of(client, queue)}, State="DISABLED")
    transformer = {
        "InputPathsMap": {"arn": "$.detail.ModelPackageArn", "version": "$.detail.ModelPackageVersion"},
        "InputTemplate": '{"text": "version <version> of <arn>", "version": <version>}',
    }
    rule(pattern, {"Arn": arn_of(client, queue), "InputTransformer": transformer})
    arn = package_in(sagemaker, group)
    (message,) = wait_until(lambda: received(client, queue), "the message is in the queue")
    assert json.loads(message["Body"]) == {"text": f"version 1 of {arn}", "version": 1}


def test_an_approval_starts_a_pipeline_with_parameters_from_the_event(sagemaker: Any, rule: Any) -> None:
    group, pipeline = f"group-{uuid.uuid4().hex[:8]}", f"pipeline-{uuid.uuid4().hex[:8]}"
    definition = {
        "Version": "2020-12-01",
        "Parameters": [{"Name": "Package", "Type": "String"}, {"Name": "Mode", "Type": "String", "DefaultValue": "x"}],
        "Steps": [{"Name": "Stop", "Type": "Fail", "Arguments": {"ErrorMessage": {"Get": "Parameters.Package"}}}],
    }
    arn = sagemaker.create_pipeline(PipelineName=pipeline, PipelineDefinition=json.dumps(definition), RoleArn=ROLE)["PipelineArn"]
    package = package_in(sagemaker, group)
    parameters = [{"Name": "Package", "Value": "$.detail.ModelPackageArn"}, {"Name": "Mode", "Value": "auto"}]
    rule(
        {"detail": {"ModelPackageGroupName": [group], "ModelApprovalStatus": ["Approved"]}},
        {"Arn": arn, "RoleArn": ROLE, "SageMakerPipelineParameters": {"PipelineParameterList": parameters}},
    )
    sagemaker.update_model_package(ModelPackageArn=package, ModelApprovalStatus="Approved")
    executions = wait_until(
        lambda: sagemaker.list_pipeline_executions(PipelineName=pipeline)["PipelineExecutionSummaries"], "an execution"
    )
    given = sagemaker.list_pipeline_parameters_for_execution(PipelineExecutionArn=executions[0]["PipelineExecutionArn"])
    assert given["PipelineParameters"] == [{"Name": "Package", "Value": package}, {"Name": "Mode", "Value": "auto"}]


def test_what_cannot_be_delivered_goes_to_the_dead_letter_queue(
    sagemaker: Any, client: Callable[[str], Any], queue: str, rule: Any
) -> None:
    group = f"group-{uuid.uuid4().hex[:8]}"
    target = {"Arn": "arn:aws:sagemaker:us-east-1:123456789012:pipeline/none", "DeadLetterConfig": {"Arn": arn_of(client, queue)}}
    rule({"detail": {"ModelPackageGroupName": [group]}}, target)
    package_in(sagemaker, group)
    (message,) = wait_until(lambda: received(client, queue), "the event is in the dead-letter queue")
    assert message["MessageAttributes"]["TARGET_ARN"]["StringValue"].endswith("pipeline/none")
    assert json.loads(message["Body"])["detail"]["ModelPackageGroupName"] == group


def test_an_endpoint_tells_of_its_states(hosting: HostingClient, client: Callable[[str], Any], queue: str, rule: Any) -> None:
    rule({"detail-type": ["SageMaker Endpoint State Change"]}, {"Arn": arn_of(client, queue)})
    endpoint = hosting.endpoint()
    states: list[str] = []

    def seen() -> bool:
        details = [json.loads(message["Body"])["detail"] for message in received(client, queue)]
        states.extend(detail["EndpointStatus"] for detail in details if detail["EndpointName"] == endpoint)
        return "IN_SERVICE" in states

    wait_until(seen, "the endpoint's events")
    assert states == ["CREATING", "IN_SERVICE"]


def details(client: Callable[[str], Any], queue: str, count: int) -> list[dict[str, Any]]:
    """The details of so many events from a queue."""
    found: list[dict[str, Any]] = []

    def enough() -> bool:
        found.extend(json.loads(message["Body"])["detail"] for message in received(client, queue))
        return len(found) >= count

    wait_until(enough, f"{count} events")
    return found


def test_models_and_endpoint_configs_tell_of_their_making_and_their_end(
    hosting: HostingClient, sagemaker: Any, client: Callable[[str], Any], queue: str, rule: Any
) -> None:
    kinds = ["SageMaker Model State Change", "SageMaker Endpoint Config State Change"]
    rule({"detail-type": kinds}, {"Arn": arn_of(client, queue)})
    name = hosting.config()
    sagemaker.delete_endpoint_config(EndpointConfigName=name)
    sagemaker.delete_model(ModelName=name)
    found = [
        detail for detail in details(client, queue, 4) if name in (detail.get("ModelName"), detail.get("EndpointConfigName"))
    ]
    models = [detail for detail in found if "ModelArn" in detail]
    configs = [detail for detail in found if "EndpointConfigArn" in detail]
    assert (len(models), len(configs)) == (2, 2)
    assert configs[0]["ProductionVariants"][0]["ModelName"] == name
    assert configs[0]["Tags"] == {}
    assert configs[0]["CreationTime"] > 1e12, "milliseconds"


def test_a_deployment_tells_of_its_stages(hosting: HostingClient, client: Callable[[str], Any], queue: str, rule: Any) -> None:
    endpoint = hosting.endpoint(NAME="old")
    pattern = {"detail-type": ["SageMaker Endpoint Deployment State Change"], "detail": {"EndpointName": [endpoint]}}
    rule(pattern, {"Arn": arn_of(client, queue)})
    routing = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 1}
    policy = {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing}}
    config = hosting.config(NAME="new")
    hosting.sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=config, DeploymentConfig=policy)
    hosting.settled(endpoint, "InService")
    desired = {"VariantName": "AllTraffic", "DesiredInstanceCount": 2}
    hosting.sagemaker.update_endpoint_weights_and_capacities(EndpointName=endpoint, DesiredWeightsAndCapacities=[desired])
    hosting.settled(endpoint, "InService")
    *stages, scaled = details(client, queue, 4)
    pending = [stage["PendingDeploymentSummary"] for stage in stages]
    assert {entry["EndpointConfigName"] for entry in pending} == {config}
    statuses = [entry["ProductionVariants"][0]["VariantStatus"][0] for entry in pending]
    assert [(status["Status"], status["StatusMessage"]) for status in statuses] == [
        ("Creating", "Launching 1 instance(s)."),
        ("ActivatingTraffic", "Activating traffic on full capacity of 1 instance(s)."),
        ("Baking", "Baking for 1 seconds (TerminationWaitInSeconds) with traffic enabled on full capacity of 1 instance(s)."),
    ]
    assert statuses[0]["StartTime"] > 1e12, "milliseconds"
    assert {stage["EndpointStatus"] for stage in [*stages, scaled]} == {"UPDATING"}
    status = scaled["ProductionVariants"][0]["VariantStatus"][0]
    assert (status["Status"], status["StatusMessage"]) == ("Updating", "Scaling out desired instance count to 2.")


HANDLER = """
import boto3, json, os
def handle(event, context):
    boto3.client("sqs").send_message(QueueUrl=os.environ["QUEUE"], MessageBody=json.dumps(event))
"""


def test_an_event_runs_a_function(sagemaker: Any, client: Callable[[str], Any], queue: str, rule: Any) -> None:
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("program.py", HANDLER)
    client("iam").create_role(RoleName="function", AssumeRolePolicyDocument="{}")
    function = client("lambda").create_function(
        FunctionName=f"function-{uuid.uuid4().hex[:8]}", Runtime="python3.11", Role="arn:aws:iam::123456789012:role/function",
        Handler="program.handle", Code={"ZipFile": package.getvalue()}, Environment={"Variables": {"QUEUE": queue}}, Timeout=30,
    )  # fmt: skip
    group = f"group-{uuid.uuid4().hex[:8]}"
    rule({"detail": {"ModelPackageGroupName": [group]}}, {"Arn": function["FunctionArn"]})
    package_in(sagemaker, group)
    assert details(client, queue, 1)[0]["ModelPackageGroupName"] == group


def test_a_clients_own_events_reach_topics(client: Callable[[str], Any], queue: str) -> None:
    events, sns = client("events"), client("sns")
    topic = sns.create_topic(Name=f"topic-{uuid.uuid4().hex[:8]}")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn_of(client, queue))
    events.put_rule(Name="own", EventPattern=json.dumps({"source": ["my.app"]}))
    events.put_targets(Rule="own", Targets=[{"Id": "1", "Arn": topic}])
    events.put_events(Entries=[{"Source": "my.app", "DetailType": "done", "Detail": '{"a": 1}'}])
    (message,) = wait_until(lambda: received(client, queue), "the message is in the queue")
    assert json.loads(json.loads(message["Body"])["Message"])["detail"] == {"a": 1}
