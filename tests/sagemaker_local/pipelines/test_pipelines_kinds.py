"""Definitions of kinds that this project does not ship: a fan-out of ten, a callback, Lambda functions."""

from __future__ import annotations

import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.sagemaker_local.pipelines.definitions import compare, condition, fail, parameter, processing, token

if TYPE_CHECKING:
    from tests.sagemaker_local.pipelines.conftest import Server
    from tests.sagemaker_local.pipelines.definitions import Runs


def test_a_fan_out_of_ten_is_gathered_again(runs: Runs, local_server: Server, bucket: str) -> None:
    parts = [
        processing(
            f"Part{number}", "square", str(number), "/opt/ml/processing/part", outputs={"part": f"s3://{bucket}/parts/{number}"}
        )
        for number in range(10)
    ]
    gathered = {
        "InputName": "parts",
        "S3Input": {
            "S3Uri": f"s3://{bucket}/parts/",
            "LocalPath": "/opt/ml/processing/parts",
            "S3DataType": "S3Prefix",
            "S3InputMode": "File",
        },
    }
    files = [{"PropertyFileName": "Total", "OutputName": "total", "FilePath": "total.json"}]
    gather = processing(
        "Gather",
        "add_up",
        "/opt/ml/processing/parts",
        "/opt/ml/processing/total",
        outputs={"total": f"s3://{bucket}/total"},
        ProcessingInputs=[gathered],
        step={"DependsOn": [part["Name"] for part in parts], "PropertyFiles": files},
    )
    total = {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.Gather.PropertyFiles.Total"}, "Path": "total"}}
    wrong = fail("Wrong", {"Std:Join": {"On": " ", "Values": ["the total is", total]}})
    arn = runs.run(*parts, gather, condition("Right", [compare("Equals", total, 285)], [], [wrong]))
    steps = runs.steps(arn)
    assert runs.until(arn)["PipelineExecutionStatus"] == "Succeeded", steps
    assert len(steps) == 12
    assert max(steps[part["Name"]]["EndTime"] for part in parts) <= steps["Gather"]["StartTime"]


@pytest.fixture
def queue(local_server: Server) -> str:
    """The address of a fresh SQS queue."""
    return str(local_server.client("sqs").create_queue(QueueName=f"q-{token()[:8]}")["QueueUrl"])


def receive(server: Server, queue: str) -> dict[str, Any]:
    messages = server.client("sqs").receive_message(QueueUrl=queue, WaitTimeSeconds=10)["Messages"]
    server.client("sqs").delete_message(QueueUrl=queue, ReceiptHandle=messages[0]["ReceiptHandle"])
    return dict(json.loads(messages[0]["Body"]))


def ask(queue: str) -> dict[str, Any]:
    return {
        "Name": "Ask",
        "Type": "Callback",
        "SqsQueueUrl": queue,
        "Arguments": {"run": {"Get": "Execution.PipelineExecutionId"}},
        "OutputParameters": [
            {"OutputName": "answer", "OutputType": "String"},
            {"OutputName": "score", "OutputType": "Float"},
        ],
    }


def use() -> dict[str, Any]:
    values = [
        {"Get": "Steps.Ask.OutputParameters['answer']"},
        {"Std:Join": {"On": "", "Values": [{"Get": "Steps.Ask.OutputParameters['score']"}]}},
    ]
    return processing("Use", "import sys; assert sys.argv[1:] == ['yes', '0.5'], sys.argv", *values)


def test_a_callback_goes_through_sqs_and_its_answer_is_used(runs: Runs, local_server: Server, queue: str) -> None:
    arn = runs.start(runs.create(ask(queue), use()))
    message = receive(local_server, queue)
    assert message["arguments"] == {"run": arn.rpartition("/")[2]}
    assert message["pipelineExecutionArn"] == arn
    step = runs.until_step(arn, "Ask", "Executing")
    assert step["Metadata"]["Callback"] == {"CallbackToken": message["token"], "SqsQueueUrl": queue}
    answer = [{"Name": "answer", "Value": "yes"}]
    with pytest.raises(ClientError, match="Output parameter score is missing"):
        local_server.sagemaker.send_pipeline_execution_step_success(CallbackToken=message["token"], OutputParameters=answer)
    answer.append({"Name": "score", "Value": "0.5"})
    answered = local_server.sagemaker.send_pipeline_execution_step_success(
        CallbackToken=message["token"], OutputParameters=answer
    )
    assert answered["PipelineExecutionArn"] == arn
    assert runs.until(arn)["PipelineExecutionStatus"] == "Succeeded", runs.steps(arn)
    assert runs.steps(arn)["Ask"]["Metadata"]["Callback"]["OutputParameters"] == answer
    with pytest.raises(ClientError, match="No pipeline execution step waits"):
        local_server.sagemaker.send_pipeline_execution_step_failure(CallbackToken=message["token"])


def test_a_callback_may_fail_its_step(runs: Runs, local_server: Server, queue: str) -> None:
    arn = runs.start(runs.create(ask(queue), use()))
    found = receive(local_server, queue)["token"]
    local_server.sagemaker.send_pipeline_execution_step_failure(CallbackToken=found, FailureReason="not today")
    assert runs.until(arn)["PipelineExecutionStatus"] == "Failed"
    assert runs.steps(arn)["Ask"]["FailureReason"] == "not today"


def test_stop_tells_the_queue_and_waits_for_the_callback(runs: Runs, local_server: Server, queue: str) -> None:
    arn = runs.start(runs.create(ask(queue), use()))
    found = receive(local_server, queue)["token"]
    runs.until_step(arn, "Ask", "Executing")
    local_server.sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn, ClientRequestToken=token())
    message = receive(local_server, queue)
    assert (message["token"], message["Status"]) == (found, "Stopping")
    assert runs.until(arn, "Stopping", "Stopped")["PipelineExecutionStatus"] == "Stopping"
    local_server.sagemaker.send_pipeline_execution_step_failure(CallbackToken=found)
    assert runs.until(arn)["PipelineExecutionStatus"] == "Stopped"


HANDLER = """
import os
import helper

def handler(event, context):
    print("called with", event)
    if event["n"] < 0:
        raise ValueError("negative")
    return {"statusCode": 200, "double": helper.double(event["n"]), "greeting": os.environ["GREETING"], "name": context.function_name}
"""


@pytest.fixture
def function(local_server: Server) -> str:
    """The ARN of a Lambda function that was created through the Lambda API."""
    name = f"f-{token()[:8]}"
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
    role = local_server.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("index.py", HANDLER)
        archive.writestr("helper.py", "def double(n):\n    return 2 * n\n")
    created = local_server.client("lambda").create_function(
        FunctionName=name,
        Role=role,
        Runtime="python3.12",
        Handler="index.handler",
        Code={"ZipFile": package.getvalue()},
        Environment={"Variables": {"GREETING": "hello"}},
        Timeout=30,
    )
    return str(created["FunctionArn"])


def call(function: str, number: Any, *outputs: tuple[str, str]) -> dict[str, Any]:
    return {
        "Name": "Call",
        "Type": "Lambda",
        "FunctionArn": function,
        "Arguments": {"n": number},
        "OutputParameters": [{"OutputName": name, "OutputType": kind} for name, kind in outputs],
    }


def test_a_lambda_function_runs_and_its_answer_decides(runs: Runs, local_server: Server, function: str) -> None:
    double = {"Get": "Steps.Call.OutputParameters['double']"}
    step = call(function, 21, ("double", "Integer"), ("greeting", "String"))
    arn = runs.run(step, condition("Right", [compare("Equals", double, 42)], [], [fail("Wrong", "not 42")]))
    steps = runs.steps(arn)
    assert runs.until(arn)["PipelineExecutionStatus"] == "Succeeded", steps
    assert steps["Call"]["Metadata"]["Lambda"] == {
        "Arn": function,
        "OutputParameters": [{"Name": "double", "Value": "42"}, {"Name": "greeting", "Value": "hello"}],
    }
    logs = local_server.client("logs")
    group = f"/aws/lambda/{function.rpartition(':')[2]}"
    stream = logs.describe_log_streams(logGroupName=group)["logStreams"][0]["logStreamName"]
    messages = [event["message"] for event in logs.get_log_events(logGroupName=group, logStreamName=stream)["events"]]
    assert messages == ["called with {'n': 21}"]


@pytest.mark.parametrize(
    ("number", "outputs", "says"),
    [
        (-1, [], "ValueError: negative"),
        (1, [("triple", "Integer")], "Output parameter triple is missing: there is double, greeting, name, statusCode"),
        (1, [("greeting", "Integer")], "Output parameter greeting is 'hello', not of type Integer"),
    ],
)
def test_a_lambda_step_fails_with_the_functions_reason(runs: Runs, function: str, number: int, outputs: Any, says: str) -> None:
    arn = runs.run(call(function, number, *outputs))
    assert says in runs.steps(arn)["Call"]["FailureReason"]


def test_a_missing_lambda_function_fails_the_step(runs: Runs) -> None:
    arn = runs.run(call("arn:aws:lambda:us-east-1:123456789012:function:nobody", 1))
    assert "Function not found" in runs.steps(arn)["Call"]["FailureReason"]


def for_each(function: str, items: Any, limit: int = 2) -> dict[str, Any]:
    """Doubles every item and says so in a job; the largest double is selected."""
    said = {
        "Std:Join": {"On": " ", "Values": [{"Get": "ForEach.CurrentItem.name"}, {"Get": "Steps.Call.OutputParameters['double']"}]}
    }
    say = processing("Say", "import sys; assert sys.argv[1] in ('one 2', 'five 10', 'two 4'), sys.argv", said)
    selector = {"Pick": "MaxBy", "Field": {"Get": "IterationOutput.Call.OutputParameters['double']"}}
    body = [call(function, {"Get": "ForEach.CurrentItem.n"}, ("double", "Integer")), say]
    arguments = {"IterableItems": items, "MaxConcurrency": limit, "Selector": selector, "ForEachBody": body}
    return {"Name": "Fan", "Type": "ForEach", "Arguments": arguments}


ITEMS = [json.dumps({"name": name, "n": n}) for name, n in (("one", 1), ("five", 5), ("two", 2))]


def test_for_each_runs_its_body_once_an_item_and_selects_one(runs: Runs, function: str) -> None:
    selected = {"Get": "Steps.Fan.Selected.OutputParameters['double']"}
    second = {"Get": "Steps.Fan.IterationOutputs[2].Call.OutputParameters['double']"}
    right = condition("Right", [compare("Equals", selected, 10), compare("Equals", second, 4)], [], [fail("Wrong", "no")])
    name = runs.create(for_each(function, {"Get": "Parameters.Items"}), right, parameters=[parameter("Items")])
    arn = runs.start(name, {"Items": json.dumps(ITEMS)})
    assert runs.until(arn)["PipelineExecutionStatus"] == "Succeeded", runs.steps(arn)
    steps = runs.steps(arn)
    assert set(steps) == {"Fan", "Right", *(f"{body}-{index}" for body in ("Call", "Say") for index in range(3))}
    assert steps["Call-1"]["IterationContext"] == {"ParentStepName": "Fan", "Index": 1, "Item": ITEMS[1]}
    metadata = steps["Fan"]["Metadata"]["ForEach"]
    assert (metadata["Status"], metadata["InputItemCount"], metadata["SucceededStepCount"]) == ("Succeeded", 3, 6)
    assert metadata["Selector"] == {"StepName": "Call-1", "Index": 1}
    spans = sorted((step["StartTime"], step["EndTime"]) for name, step in steps.items() if "-" in name)
    assert max(sum(start <= moment < end for start, end in spans) for moment, _ in spans) <= 2


def test_a_failed_iteration_fails_the_for_each_step(runs: Runs, function: str) -> None:
    arn = runs.run(for_each(function, [ITEMS[0], json.dumps({"name": "bad", "n": -1})]))
    steps = runs.steps(arn)
    assert steps["Call-1"]["StepStatus"] == "Failed" and "Say-1" not in steps
    assert steps["Say-0"]["StepStatus"] == "Succeeded"
    assert steps["Fan"]["FailureReason"] == "ClientError: 1 of 4 iteration steps failed."
    assert steps["Fan"]["Metadata"]["ForEach"]["Status"] == "Failed"
