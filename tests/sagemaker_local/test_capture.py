"""Data capture: what an endpoint was asked and what it answered, in S3."""

from __future__ import annotations

import base64
import json
from typing import Any

from tests.sagemaker_local.hosting_client import HostingClient
from tests.support.waiting import wait_until


def config_with_capture(
    hosting: HostingClient, bucket: str, percent: int = 100, modes: tuple[str, ...] = ("Input", "Output")
) -> str:
    name = hosting.config()
    variant = hosting.sagemaker.describe_endpoint_config(EndpointConfigName=name)["ProductionVariants"][0]
    hosting.sagemaker.create_endpoint_config(
        EndpointConfigName=f"{name}-captured",
        ProductionVariants=[variant],
        DataCaptureConfig={
            "EnableCapture": True,
            "InitialSamplingPercentage": percent,
            "DestinationS3Uri": f"s3://{bucket}/captured",
            "CaptureOptions": [{"CaptureMode": mode} for mode in modes],
            "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
        },
    )
    return f"{name}-captured"


def lines(s3: Any, bucket: str) -> list[dict[str, Any]]:
    found = s3.list_objects_v2(Bucket=bucket, Prefix="captured/").get("Contents", [])
    bodies = [s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read().decode() for entry in found]
    return [json.loads(line) for body in bodies for line in body.splitlines()]


def test_requests_and_answers_are_captured(hosting: HostingClient, runtime: Any, s3: Any, a_bucket: str) -> None:
    endpoint = hosting.begin(config_with_capture(hosting, a_bucket))
    described = hosting.settled(endpoint, "InService")["DataCaptureConfig"]
    assert (described["CaptureStatus"], described["CurrentSamplingPercentage"]) == ("Started", 100)
    runtime.invoke_endpoint(EndpointName=endpoint, Body=b"{}", ContentType="application/json")
    stream = runtime.invoke_endpoint_with_response_stream(EndpointName=endpoint, Body=b'{"stream": 2}', ContentType="text/plain")
    streamed = b"".join(event["PayloadPart"]["Bytes"] for event in stream["Body"])
    wait_until(lambda: len(lines(s3, a_bucket)) == 2, "both are captured")
    plain, of_stream = lines(s3, a_bucket)
    given, answer = plain["captureData"]["endpointInput"], plain["captureData"]["endpointOutput"]
    assert given == {"observedContentType": "application/json", "mode": "INPUT", "data": "{}", "encoding": "JSON"}
    assert (answer["encoding"], json.loads(answer["data"])["body"]) == ("JSON", "{}")
    assert plain["eventVersion"] == "0"
    assert plain["eventMetadata"]["inferenceTime"].endswith("Z")
    answer = of_stream["captureData"]["endpointOutput"]
    assert (answer["encoding"], base64.b64decode(answer["data"])) == ("BASE64", streamed)
    key = s3.list_objects_v2(Bucket=a_bucket)["Contents"][0]["Key"]
    assert key.startswith(f"captured/{endpoint}/AllTraffic/20")
    assert key.endswith(".jsonl")


def test_capture_can_be_of_nothing_and_is_kept_or_not_through_an_update(
    hosting: HostingClient, runtime: Any, s3: Any, a_bucket: str
) -> None:
    endpoint = hosting.begin(config_with_capture(hosting, a_bucket, percent=0))
    hosting.settled(endpoint, "InService")
    for _ in range(5):
        runtime.invoke_endpoint(EndpointName=endpoint, Body=b"{}")
    kept = {"RetainAllVariantProperties": True}
    hosting.sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=hosting.config(), **kept)
    assert hosting.settled(endpoint, "InService")["DataCaptureConfig"]["EnableCapture"]
    excluded = [{"VariantPropertyType": "DataCaptureConfig"}]
    hosting.sagemaker.update_endpoint(
        EndpointName=endpoint, EndpointConfigName=hosting.config(), ExcludeRetainedVariantProperties=excluded, **kept
    )
    assert "DataCaptureConfig" not in hosting.settled(endpoint, "InService")
    assert lines(s3, a_bucket) == []
