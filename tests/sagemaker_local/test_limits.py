"""The service's limits, lowered by the images file so that nobody has to wait: timeouts, throttling, sizes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest
import yaml
from botocore.config import Config
from botocore.exceptions import ClientError

from sagemaker_local.errors import ImagesFileError
from sagemaker_local.images import ImageMap
from sagemaker_local.limits import Limits
from sagemaker_local.testing import RunningServer, running
from tests.sagemaker_local.conftest import IMAGE, write_images_file
from tests.sagemaker_local.hosting_client import HostingClient
from tests.sagemaker_local.test_hosting import invoke
from tests.support.waiting import wait_until

ONCE = Config(retries={"total_max_attempts": 1})


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Servers with given limits, one for each set of them, for as long as the module's tests run."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def start(**limits: float) -> RunningServer:
            folder = tmp_path_factory.mktemp("limited")
            images = write_images_file(folder)
            images.write_text(yaml.safe_dump({**yaml.safe_load(images.read_text()), "limits": limits}))
            return stack.enter_context(running(folder / "state", images))

        yield start


@pytest.fixture(scope="module")
def hasty(limited: Any) -> RunningServer:
    server: RunningServer = limited(model_timeout_s=0.5, stream_timeout_s=1, startup_timeout_s=20, payload_bytes=1000)
    return server


@pytest.fixture(scope="module")
def endpoint(hasty: RunningServer) -> str:
    return HostingClient(hasty.client("sagemaker"), IMAGE).endpoint()


def test_a_model_that_takes_too_long_is_a_model_error(hasty: RunningServer, endpoint: str) -> None:
    runtime = hasty.client("sagemaker-runtime", config=ONCE)
    assert invoke(runtime, endpoint, {"sleep_s": 0.0})
    for call in (runtime.invoke_endpoint, runtime.invoke_endpoint_with_response_stream):
        with pytest.raises(ClientError, match="Your invocation timed out") as caught:
            call(EndpointName=endpoint, Body=b'{"sleep_s": 3}')
        response: Mapping[str, Any] = caught.value.response  # with a member of ModelError, which the stubs do not know
        assert response["Error"]["Code"] == "ModelError"
        assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
        assert response["OriginalStatusCode"] == 0


def test_a_stream_that_goes_on_too_long_ends_with_an_error_event(hasty: RunningServer, endpoint: str) -> None:
    runtime = hasty.client("sagemaker-runtime", config=ONCE)
    answer = runtime.invoke_endpoint_with_response_stream(EndpointName=endpoint, Body=b'{"stream": 100, "gap_s": 0.1}')
    came = 0
    with pytest.raises(Exception, match=r"ModelInvocationTimeExceeded|ModelStreamError"):
        for event in answer["Body"]:
            came += "PayloadPart" in event
    assert 0 < came < 100


def test_a_body_that_is_too_large_is_refused_and_the_connection_goes_on(hasty: RunningServer, endpoint: str) -> None:
    runtime = hasty.client("sagemaker-runtime", config=ONCE)
    for _ in range(2):
        with pytest.raises(ClientError, match="1000 are the most") as caught:
            runtime.invoke_endpoint(EndpointName=endpoint, Body=b"x" * 1001)
        assert caught.value.response["Error"]["Code"] == "ValidationError"
    assert runtime.invoke_endpoint(EndpointName=endpoint, Body=b"x" * 1000)["Body"].read()


def test_an_instance_that_is_not_ready_in_time_fails_the_endpoint(limited: Any) -> None:
    server = limited(startup_timeout_s=0.3, download_timeout_s=0)
    s3, hosting = server.client("s3"), HostingClient(server.client("sagemaker"), IMAGE)
    s3.create_bucket(Bucket="models")
    s3.put_object(Bucket="models", Key="w/model", Body=b"x" * 1000)
    source = {"S3Uri": "s3://models/w/", "S3DataType": "S3Prefix", "CompressionType": "None"}
    data = {"Image": IMAGE, "ModelDataSource": {"S3DataSource": source}}
    names = [hosting.begin(hosting.config(container=container, SLOW_START_S="60")) for container in (None, data)]
    starts, downloads = [hosting.settled(name, "Failed")["FailureReason"] for name in names]
    assert "did not pass the ping health check" in starts
    assert "ModelDataDownloadTimeoutInSeconds" in downloads


def test_throttling_is_what_aws_clients_know_and_try_again(limited: Any) -> None:
    server = limited(invocations_per_s=1, calls_per_s=20)
    endpoint = HostingClient(server.client("sagemaker"), IMAGE).endpoint()
    once = server.client("sagemaker-runtime", config=ONCE)
    patient = server.client("sagemaker-runtime", config=Config(retries={"total_max_attempts": 8}))

    def refused() -> str | None:
        try:
            invoke(once, endpoint)
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return None

    assert wait_until(refused, "the second in a second is refused") == "ThrottlingException"
    assert invoke(patient, endpoint)  # boto3's own retries
    with pytest.raises(openai.RateLimitError):
        for _ in range(20):
            chat(server, endpoint)
    sagemaker = server.client("sagemaker", config=ONCE)
    with pytest.raises(ClientError, match=r"ThrottlingException.*Rate exceeded"), ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: sagemaker.list_models(), range(200)))
    time.sleep(0.2)
    assert server.client("sagemaker").list_models()["Models"]


def chat(server: RunningServer, endpoint: str) -> None:
    client = openai.OpenAI(base_url=f"{server.endpoint_url}/endpoints/{endpoint}/openai/v1", api_key="any", max_retries=0)
    client.chat.completions.create(model="", messages=[{"role": "user", "content": "x"}], extra_body={"stream": 1}, stream=True)


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ("{model_timout_s: 1}", "unknown key 'model_timout_s'"),
        ("{payload_bytes: -1}", "not negative"),
        ("[1]", "must be a mapping"),
    ],
)
def test_a_wrong_limit_is_named(tmp_path: Path, limits: str, said: str) -> None:
    path = tmp_path / "images.yaml"
    path.write_text(f"images: []\nlimits: {limits}\n")
    with pytest.raises(ImagesFileError, match=said):
        ImageMap.load(path)


def test_the_service_own_limits_are_the_default() -> None:
    assert (Limits().model_timeout_s, Limits().stream_timeout_s, Limits().payload_bytes) == (60, 480, 25 << 20)
