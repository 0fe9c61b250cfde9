"""Endpoints as a client sees them: created, asked, updated, deleted."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EventStreamError

from sagemaker_local.testing import RunningServer
from tests.sagemaker_local.conftest import IMAGE
from tests.sagemaker_local.hosting_client import HostingClient
from tests.support.waiting import wait_until

NOT_HEALTHY = (
    "The primary container for production variant AllTraffic did not pass the ping health check. "
    "Please check CloudWatch logs for this endpoint."
)


def invoke(runtime: Any, endpoint: str, order: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    response = runtime.invoke_endpoint(
        EndpointName=endpoint, ContentType="application/json", Body=json.dumps(order or {}), **more
    )
    answer: dict[str, Any] = json.loads(response["Body"].read())
    return answer


def test_an_endpoint_serves_a_model_package_with_its_weights_and_environment(
    hosting: HostingClient, sagemaker: Any, runtime: Any, s3: Any, a_bucket: str
) -> None:
    s3.put_object(Bucket=a_bucket, Key="weights/config.json", Body=b"{}")
    s3.put_object(Bucket=a_bucket, Key="weights/sub/model.gguf", Body=b"x" * 3_000_000)
    sagemaker.create_model_package_group(ModelPackageGroupName=a_bucket)
    source = {"S3Uri": f"s3://{a_bucket}/weights/", "S3DataType": "S3Prefix", "CompressionType": "None"}
    package = sagemaker.create_model_package(
        ModelPackageGroupName=a_bucket,
        InferenceSpecification={
            "Containers": [
                {
                    "Image": IMAGE,
                    "ModelDataSource": {"S3DataSource": source},
                    "Environment": {"NAME": "packaged", "WHERE": "/opt/ml/model"},
                }
            ],
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
    )["ModelPackageArn"]
    with pytest.raises(ClientError, match="is PendingManualApproval; only an approved version can be deployed"):
        hosting.endpoint(container={"ModelPackageName": package})
    sagemaker.update_model_package(ModelPackageArn=package, ModelApprovalStatus="Approved")
    endpoint = hosting.endpoint(container={"ModelPackageName": package}, instances=2)
    answer = invoke(runtime, endpoint)
    assert answer["files"] == {"config.json": 2, "sub/model.gguf": 3_000_000}
    assert answer["name"] == "packaged"
    assert answer["there"] == ["config.json", "sub"], "the container finds its model at /opt/ml/model"
    assert answer["instance_type"] == "ml.g5.xlarge"
    assert answer["environment"]["AWS_ENDPOINT_URL"]
    assert answer["environment"]["AWS_CONFIG_FILE"] == answer["environment"]["AWS_SHARED_CREDENTIALS_FILE"] == os.devnull
    variant = sagemaker.describe_endpoint(EndpointName=endpoint)["ProductionVariants"][0]
    assert (variant["CurrentInstanceCount"], variant["DesiredInstanceCount"], variant["CurrentWeight"]) == (2, 2, 1.0)


def test_two_instances_share_one_copy_of_the_weights(
    hosting: HostingClient, server: RunningServer, s3: Any, a_bucket: str
) -> None:
    s3.put_object(Bucket=a_bucket, Key="w/model.bin", Body=b"y" * 100_000)
    source = {"S3Uri": f"s3://{a_bucket}/w/", "S3DataType": "S3Prefix", "CompressionType": "None"}
    endpoint = hosting.endpoint(container={"Image": IMAGE, "ModelDataSource": {"S3DataSource": source}}, instances=2)
    files = list((server.state_dir / "endpoints" / endpoint).rglob("model.bin"))
    assert len(files) == 2
    assert len({file.stat().st_ino for file in files}) == 1
    hosting.gone(endpoint)
    assert not list((server.state_dir / "endpoints" / endpoint).rglob("model.bin"))


def test_an_invocation_passes_on_what_sagemaker_passes_on(hosting: HostingClient, runtime: Any) -> None:
    endpoint = hosting.endpoint()
    response = runtime.invoke_endpoint(
        EndpointName=endpoint, ContentType="text/plain", Accept="application/json", CustomAttributes="trace=1", Body=b"hello"
    )
    answer = json.loads(response["Body"].read())
    assert answer["path"] == "/invocations"
    assert answer["body"] == "hello"
    assert answer["headers"]["content-type"] == "text/plain"
    assert answer["headers"]["x-amzn-sagemaker-custom-attributes"] == "trace=1"
    assert "authorization" not in answer["headers"]
    assert response["ContentType"] == "application/json"
    assert response["InvokedProductionVariant"] == "AllTraffic"


def test_a_stream_arrives_as_it_is_made(hosting: HostingClient, runtime: Any, tmp_path: Path) -> None:
    endpoint, gate = hosting.endpoint(), tmp_path / "gate"
    order = json.dumps({"stream": 5, "gate": str(gate)})  # the container makes the second event once the first has arrived
    response = runtime.invoke_endpoint_with_response_stream(EndpointName=endpoint, ContentType="application/json", Body=order)
    text = b""
    for event in response["Body"]:
        text += event["PayloadPart"]["Bytes"]
        gate.touch()
    assert text.count(b"data: ") == 6
    assert text.endswith(b"data: [DONE]\n\n")
    assert response["ContentType"] == "text/event-stream"


def test_a_stream_that_breaks_ends_with_a_model_stream_error(hosting: HostingClient, runtime: Any) -> None:
    endpoint = hosting.endpoint()
    order = json.dumps({"stream": 5, "break_after": 2})
    response = runtime.invoke_endpoint_with_response_stream(EndpointName=endpoint, Body=order)
    parts = []
    with pytest.raises(EventStreamError, match="ModelStreamError"):
        parts.extend(iter(response["Body"]))
    response["Body"].close()


def test_the_openai_sdk_streams_through_the_openai_path(hosting: HostingClient, server: RunningServer) -> None:
    import openai
    from botocore.credentials import Credentials
    from sagemaker.core.token_generator.token_generator import SageMakerTokenGenerator

    endpoint = hosting.endpoint()
    token = SageMakerTokenGenerator().get_token(Credentials("local", "local"), server.region)
    with openai.OpenAI(base_url=f"{server.endpoint_url}/endpoints/{endpoint}/openai/v1", api_key=token, max_retries=0) as client:

        def ask(asked: openai.OpenAI, **more: Any) -> Any:
            return asked.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}], **more)

        chunks = ask(client, stream=True, extra_body={"stream": 3})
        assert [chunk.choices[0].delta.content for chunk in chunks] == ["token0 ", "token1 ", "token2 "]
        with pytest.raises(openai.NotFoundError, match="Endpoint none of account"):
            ask(client.with_options(base_url=f"{server.endpoint_url}/endpoints/none/openai/v1"))
        with pytest.raises(openai.NotFoundError, match="Only POST"):
            client.models.list()
        other = SageMakerTokenGenerator().get_token(Credentials("local", "local"), "eu-west-1")
        with pytest.raises(openai.NotFoundError):
            ask(client.with_options(api_key=other))


@pytest.mark.parametrize(("token", "said"), [("c29tZXRoaW5n", "malformed"), (None, "expired")])
def test_a_bearer_token_of_the_sdks_kind_must_be_good(server: RunningServer, token: str | None, said: str) -> None:
    import base64
    import urllib.error
    import urllib.request

    if token is None:
        old = "sagemaker.amazonaws.com/?Action=CallWithBearerToken&X-Amz-Date=20260101T000000Z&X-Amz-Expires=43200"
        token = base64.b64encode(
            (old + "&X-Amz-Credential=local%2F20260101%2Fus-east-1%2Fsagemaker%2Faws4_request").encode()
        ).decode()
    asked = urllib.request.Request(
        f"{server.endpoint_url}/endpoints/any/openai/v1/chat/completions",
        b"{}",
        {"Authorization": f"Bearer sagemaker-api-key-{token}"},
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(asked)
    assert caught.value.code == 403
    assert said in caught.value.read().decode()


def test_a_missing_endpoint_is_a_validation_error(runtime: Any) -> None:
    with pytest.raises(ClientError) as caught:
        runtime.invoke_endpoint(EndpointName="nothing-here", Body=b"")
    assert caught.value.response["Error"] == {
        "Code": "ValidationError",
        "Message": "Endpoint nothing-here of account 123456789012 not found.",
    }
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


@pytest.mark.parametrize("method", ["invoke_endpoint", "invoke_endpoint_with_response_stream"])
def test_a_container_error_is_a_model_error(hosting: HostingClient, runtime: Any, method: str) -> None:
    endpoint = hosting.endpoint()
    with pytest.raises(ClientError) as caught:
        getattr(runtime, method)(EndpointName=endpoint, Body=json.dumps({"status": 500}))
    response: Mapping[str, Any] = caught.value.response  # with members of ModelError, which the stubs do not know
    assert response["Error"]["Code"] == "ModelError"
    assert response["Error"]["Message"].startswith('Received server error (500) from primary with message "{')
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert response["OriginalStatusCode"] == 500
    assert json.loads(response["OriginalMessage"])["path"] == "/invocations"
    assert response["LogStreamArn"].endswith(f":log-group:/aws/sagemaker/Endpoints/{endpoint}")


def test_a_container_that_is_never_healthy_fails_the_endpoint(hosting: HostingClient, runtime: Any) -> None:
    config = hosting.config(UNHEALTHY="1", variant={"ContainerStartupHealthCheckTimeoutInSeconds": 60})
    endpoint = hosting.begin(config)
    with pytest.raises(ClientError, match="not found"):
        runtime.invoke_endpoint(EndpointName=endpoint, Body=b"")
    with pytest.raises(ClientError, match="Cannot delete in-progress endpoint"):
        hosting.sagemaker.delete_endpoint(EndpointName=endpoint)
    hosting.endpoints.remove(endpoint)  # it stays Creating for a minute; the server ends it


def test_a_container_that_ends_fails_the_endpoint_at_once_and_its_log_says_why(
    hosting: HostingClient, client: Callable[[str], Any]
) -> None:
    endpoint = hosting.begin(hosting.config(CRASH="1"))
    described = hosting.settled(endpoint, "Failed")
    assert described["FailureReason"] == NOT_HEALTHY
    logs, group = client("logs"), f"/aws/sagemaker/Endpoints/{endpoint}"
    stream = logs.describe_log_streams(logGroupName=group)["logStreams"][0]["logStreamName"]
    assert stream.startswith("AllTraffic/i-")
    events = logs.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True)["events"]
    assert "cannot load the model" in [event["message"] for event in events]


def test_an_image_without_a_local_command_fails_with_what_to_add(hosting: HostingClient) -> None:
    endpoint = hosting.begin(hosting.config(container={"Image": "1.dkr.ecr.us-east-1.amazonaws.com/other:2"}))
    reason = hosting.settled(endpoint, "Failed")["FailureReason"]
    assert "Add an entry such as {match: '*/other:*'" in reason
    assert "images.yaml" in reason


def test_missing_model_data_fails_the_endpoint(hosting: HostingClient, a_bucket: str) -> None:
    source = {"S3Uri": f"s3://{a_bucket}/none/", "S3DataType": "S3Prefix", "CompressionType": "None"}
    endpoint = hosting.begin(hosting.config(container={"Image": IMAGE, "ModelDataSource": {"S3DataSource": source}}))
    reason = hosting.settled(endpoint, "Failed")["FailureReason"]
    assert reason.startswith('Failed to download model data for container "container_1" from URL: "s3://')


def test_an_update_switches_without_a_failed_request(hosting: HostingClient, runtime: Any, tmp_path: Path) -> None:
    endpoint = hosting.endpoint(NAME="blue", instances=2)
    gate = tmp_path / "gate"
    green = hosting.config(NAME="green", instances=2, START_GATE=str(gate))
    names, failures, stop = [], [], threading.Event()

    def ask() -> None:
        while not stop.is_set():
            try:
                names.append(invoke(runtime, endpoint, {"sleep_s": 0.01})["name"])
            except ClientError as error:
                failures.append(error)

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    hosting.sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=green)
    with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
        hosting.sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=green)
    gate.touch()
    described = hosting.settled(endpoint, "InService")
    after = {invoke(runtime, endpoint)["name"] for _ in range(10)}
    stop.set()
    for asker in askers:
        asker.join()
    assert not failures
    assert set(names) == {"blue", "green"}
    assert after == {"green"}
    assert described["EndpointConfigName"] == green


def test_a_request_in_flight_finishes_on_the_old_instances(hosting: HostingClient, runtime: Any) -> None:
    endpoint = hosting.endpoint(NAME="old")
    answers: list[dict[str, Any]] = []
    slow = threading.Thread(target=lambda: answers.append(invoke(runtime, endpoint, {"sleep_s": 2.5})))
    slow.start()
    hosting.sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=hosting.config(NAME="new"))
    hosting.settled(endpoint, "InService")
    slow.join()
    assert answers[0]["name"] == "old"
    with pytest.raises(ProcessLookupError):
        os.kill(answers[0]["pid"], 0)


def test_a_failed_update_leaves_the_old_version_serving(hosting: HostingClient, runtime: Any) -> None:
    endpoint = hosting.endpoint(NAME="good")
    before = hosting.sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointConfigName"]
    hosting.sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=hosting.config(CRASH="1"))
    described = hosting.settled(endpoint, "InService")
    assert described["FailureReason"] == NOT_HEALTHY
    assert described["EndpointConfigName"] == before
    assert invoke(runtime, endpoint)["name"] == "good"


def test_a_dead_container_is_replaced(hosting: HostingClient, runtime: Any) -> None:
    endpoint = hosting.endpoint()
    first = invoke(runtime, endpoint)["pid"]
    with pytest.raises(ClientError, match="ModelError"):
        invoke(runtime, endpoint, {"exit": True})

    def answered_by_another() -> bool:
        try:
            return bool(invoke(runtime, endpoint)["pid"] != first)
        except ClientError:
            return False

    wait_until(answered_by_another, "a new container answers")


def test_deleting_an_endpoint_ends_its_processes(hosting: HostingClient, runtime: Any, sagemaker: Any) -> None:
    endpoint = hosting.endpoint(instances=2)
    pids = {invoke(runtime, endpoint)["pid"] for _ in range(20)}
    assert len(pids) == 2
    hosting.gone(endpoint)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    with pytest.raises(ClientError, match="Could not find endpoint"):
        sagemaker.describe_endpoint(EndpointName=endpoint)


def test_every_field_of_an_endpoint_config_comes_back_and_tags_too(hosting: HostingClient, sagemaker: Any) -> None:
    name = hosting.config()
    variant = {
        "VariantName": "V", "ModelName": name, "InitialInstanceCount": 1, "InstanceType": "ml.g6e.12xlarge", "InitialVariantWeight": 1.0,
        "VolumeSizeInGB": 256, "ModelDataDownloadTimeoutInSeconds": 3600, "ContainerStartupHealthCheckTimeoutInSeconds": 600,
        "EnableSSMAccess": False, "RoutingConfig": {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"},
        "InferenceAmiVersion": "al2-ami-sagemaker-inference-gpu-2",
    }  # fmt: skip
    vpc = {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}
    arn = sagemaker.create_endpoint_config(
        EndpointConfigName=f"{name}-full", ProductionVariants=[variant], KmsKeyId="key", VpcConfig=vpc, EnableNetworkIsolation=True,
        Tags=[{"Key": "release:model", "Value": "m"}],
    )["EndpointConfigArn"]  # fmt: skip
    described = sagemaker.describe_endpoint_config(EndpointConfigName=f"{name}-full")
    assert described["ProductionVariants"] == [variant]
    assert (described["KmsKeyId"], described["VpcConfig"], described["EnableNetworkIsolation"]) == ("key", vpc, True)
    sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "more", "Value": "1"}])
    sagemaker.delete_tags(ResourceArn=arn, TagKeys=["release:model"])
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "more", "Value": "1"}]


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("ManagedInstanceScaling", {"Status": "ENABLED"}),
        ("ServerlessConfig", {"MemorySizeInMB": 1024, "MaxConcurrency": 1}),
        ("AsyncInferenceConfig", {"OutputConfig": {}}),
    ],
)
def test_what_is_not_emulated_is_refused_by_name(
    hosting: HostingClient, sagemaker: Any, member: str, value: dict[str, Any]
) -> None:
    name = hosting.config()
    request: dict[str, Any] = {"EndpointConfigName": f"{name}-x", "ProductionVariants": [{"VariantName": "V", "ModelName": name}]}
    target = request if member == "AsyncInferenceConfig" else request["ProductionVariants"][0]
    target[member] = value
    with pytest.raises(ClientError, match=f"NotImplemented.*{member}"):
        sagemaker.create_endpoint_config(**request)
