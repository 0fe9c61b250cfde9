"""Status changes of executions, steps and jobs as EventBridge events, in the shape that the developer guide documents."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.sagemaker_local.pipelines.definitions import processing, token
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from tests.sagemaker_local.pipelines.conftest import Server
    from tests.sagemaker_local.pipelines.definitions import Runs


def subscribe(server: Server, pattern: dict[str, Any]) -> str:
    """The address of a queue that gets the events which match."""
    name = f"events-{token()[:8]}"
    sqs, events = server.client("sqs"), server.client("events")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name=name, EventPattern=json.dumps({"source": ["aws.sagemaker"], **pattern}))
    events.put_targets(Rule=name, Targets=[{"Id": "1", "Arn": arn}])
    return str(url)


def receive(server: Server, url: str, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    def more() -> bool:
        messages = (
            server.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", [])
        )
        for message in messages:
            found.append(json.loads(message["Body"]))
            server.client("sqs").delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return len(found) >= count

    wait_until(more, f"{count} events")
    return found


def test_an_execution_and_its_steps_tell_how_they_go(runs: Runs, local_server: Server) -> None:
    name = runs.create(processing("Bad", "raise SystemExit(4)"))
    pipeline = local_server.sagemaker.describe_pipeline(PipelineName=name)["PipelineArn"]
    url = subscribe(local_server, {"detail": {"pipelineArn": [pipeline]}})
    arn = runs.start(name)
    runs.until(arn)
    received = receive(local_server, url, 5)
    executions = [event for event in received if event["detail-type"].endswith("Pipeline Execution Status Change")]
    steps = [event for event in received if event["detail-type"].endswith("Pipeline Execution Step Status Change")]
    details = [event["detail"] for event in executions]
    passed = [(detail.get("previousPipelineExecutionStatus", ""), detail["currentPipelineExecutionStatus"]) for detail in details]
    assert sorted(passed) == [("", "Executing"), ("Executing", "Failed")]
    assert all(event["resources"] == [pipeline, arn] and event["source"] == "aws.sagemaker" for event in received)
    by_status = {event["detail"]["currentStepStatus"]: event["detail"] for event in steps}
    assert set(by_status) == {"Starting", "Executing", "Failed"}
    last = by_status["Failed"]
    assert (last["stepName"], last["stepType"], last["previousStepStatus"]) == ("Bad", "Processing", "Executing")
    assert last["failureReason"] == "AlgorithmError: , exit code: 4"
    assert last["metadata"] == {"processingJob": {"arn": runs.steps(arn)["Bad"]["Metadata"]["ProcessingJob"]["Arn"]}}
    assert last["stepEndTime"].endswith("Z") and last["pipelineExecutionArn"] == arn


def test_a_job_tells_how_it_goes(runs: Runs, local_server: Server) -> None:
    url = subscribe(
        local_server, {"detail-type": ["SageMaker Processing Job State Change"], "detail": {"ProcessingJobStatus": ["Completed"]}}
    )
    arn = runs.run(processing("Good", "nothing"))
    job = runs.steps(arn)["Good"]["Metadata"]["ProcessingJob"]["Arn"]
    assert [event["detail"]["ProcessingJobArn"] for event in receive(local_server, url, 1)] == [job]
