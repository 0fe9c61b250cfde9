"""The front door: start, stop, S3 through it, other services, what is not emulated."""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
from awscrt import checksums
from botocore.config import Config
from botocore.exceptions import ClientError

from sagemaker_local import documentation
from sagemaker_local.session import Session
from sagemaker_local.testing import RunningServer, running
from tests.sagemaker_local.conftest import write_images_file
from tests.sagemaker_local.hosting_client import HostingClient
from tests.support.waiting import HANG_S, wait_until


def crc64(data: bytes) -> str:
    return base64.b64encode(checksums.crc64nvme(data).to_bytes(8, "big")).decode()


def test_it_says_where_it_listens_and_ends_its_children_when_stopped(tmp_path: Path) -> None:
    with running(tmp_path / "state", write_images_file(tmp_path)) as server:
        recorded = json.loads((tmp_path / "state" / "server.json").read_text())
        assert recorded == {
            "pid": server.pid,
            "port": int(server.endpoint_url.rpartition(":")[2]),
            "endpoint_url": server.endpoint_url,
        }
        pid = _an_endpoints_pid(server)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not (tmp_path / "state" / "server.json").exists()


def test_children_do_not_outlive_a_killed_server(tmp_path: Path) -> None:
    with running(tmp_path / "state", write_images_file(tmp_path)) as server:
        pid = _an_endpoints_pid(server)
        os.kill(server.pid, signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{pid}").exists() or "Z" in _state(pid), "the child ends")


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"


def _an_endpoints_pid(server: RunningServer) -> int:
    hosting = HostingClient(server.client("sagemaker"), "1.dkr.ecr.us-east-1.amazonaws.com/tests:1")
    answer = server.client("sagemaker-runtime").invoke_endpoint(EndpointName=hosting.endpoint(), Body=b"{}")
    return int(json.loads(answer["Body"].read())["pid"])


def make_function(server: RunningServer) -> None:
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("program.py", "def handle(event, context): return event")
    role = server.client("iam").create_role(RoleName="kept", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    code = {"ZipFile": package.getvalue()}
    server.client("lambda").create_function(
        FunctionName="kept", Runtime="python3.11", Role=role, Handler="program.handle", Code=code
    )


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_state_survives_a_restart(tmp_path: Path, end: signal.Signals) -> None:
    images = write_images_file(tmp_path)
    with running(tmp_path / "state", images) as first:
        s3, sagemaker = first.client("s3"), first.client("sagemaker")
        s3.create_bucket(Bucket="kept")
        s3.put_object(Bucket="kept", Key="w/model.bin", Body=b"w" * 100_000, Metadata={"a": "1"})
        s3.put_object(Bucket="kept", Key="gone", Body=b"x")
        s3.delete_object(Bucket="kept", Key="gone")
        first.client("secretsmanager").create_secret(Name="token", SecretString="s3cr3t")
        make_function(first)
        url = first.client("sqs").create_queue(QueueName="q")["QueueUrl"]
        first.client("sqs").send_message(QueueUrl=url, MessageBody="still here")
        hosting = HostingClient(sagemaker, "1.dkr.ecr.us-east-1.amazonaws.com/tests:1")
        source = {"S3Uri": "s3://kept/w/", "S3DataType": "S3Prefix", "CompressionType": "None"}
        endpoint = hosting.endpoint(container={"Image": hosting.image, "ModelDataSource": {"S3DataSource": source}}, NAME="kept")
        sagemaker.update_endpoint_weights_and_capacities(
            EndpointName=endpoint, DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredInstanceCount": 2}]
        )
        hosting.settled(endpoint, "InService")
        if end == signal.SIGKILL:
            saved = {"sqs": b"still here", "lambda": b"program.handle", "secretsmanager": b"s3cr3t", "s3": b"model.bin"}
            files = {tmp_path / "state" / "moto" / f"{service}.pickle": text for service, text in saved.items()}
            wait_until(lambda: all(file.exists() and text in file.read_bytes() for file, text in files.items()), "a snapshot")
            os.kill(first.pid, end)
    with running(tmp_path / "state", images) as second:
        got = second.client("s3").get_object(Bucket="kept", Key="w/model.bin")
        assert (got["Body"].read(), got["Metadata"]) == (b"w" * 100_000, {"a": "1"})
        assert second.client("s3").list_objects_v2(Bucket="kept")["KeyCount"] == 1
        assert second.client("secretsmanager").get_secret_value(SecretId="token")["SecretString"] == "s3cr3t"
        assert second.client("lambda").get_function(FunctionName="kept")["Configuration"]["Handler"] == "program.handle"
        sqs = second.client("sqs")
        messages = sqs.receive_message(QueueUrl=sqs.get_queue_url(QueueName="q")["QueueUrl"])["Messages"]
        assert messages[0]["Body"] == "still here"
        hosting = HostingClient(second.client("sagemaker"), "")
        described = hosting.settled(endpoint, "InService")
        assert described["ProductionVariants"][0]["CurrentInstanceCount"] == 2
        answer = second.client("sagemaker-runtime").invoke_endpoint(EndpointName=endpoint, Body=b"{}")
        told = json.loads(answer["Body"].read())
        assert (told["name"], told["files"]) == ("kept", {"model.bin": 100_000})


def test_a_killed_server_goes_back_to_whole_objects(tmp_path: Path) -> None:
    whole = {"deleted": b"d" * 1000, "lost": b"l" * 1000}
    part = b"p" * (5 << 20)
    with running(tmp_path / "state") as first:
        s3 = first.client("s3")
        s3.create_bucket(Bucket="kept")
        upload = s3.create_multipart_upload(Bucket="kept", Key="parts")["UploadId"]
        where = {"Bucket": "kept", "Key": "parts", "UploadId": upload}
        parts = [{"PartNumber": n, "ETag": s3.upload_part(**where, PartNumber=n, Body=part)["ETag"]} for n in (1, 2)]
        for key, body in whole.items():
            s3.put_object(Bucket="kept", Key=key, Body=body)
        pickled = tmp_path / "state" / "moto" / "s3.pickle"
        wait_until(lambda: pickled.exists() and b"lost" in pickled.read_bytes(), "a snapshot with everything")
        s3.delete_object(Bucket="kept", Key="deleted")
        s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
        os.kill(first.pid, signal.SIGKILL)
    for file in (tmp_path / "state" / "moto" / "s3-objects").iterdir():
        if file.read_bytes() == whole["lost"]:
            file.unlink()
    with running(tmp_path / "state") as second:
        s3 = second.client("s3")
        there = {entry["Key"] for entry in s3.list_objects_v2(Bucket="kept").get("Contents", ())}
        assert "lost" not in there
        if "parts" not in there:
            s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
        assert s3.get_object(Bucket="kept", Key="parts")["Body"].read() == part * 2
        for key in there & whole.keys():
            assert s3.get_object(Bucket="kept", Key=key)["Body"].read() == whole[key]


def test_two_servers_on_one_state_directory_are_refused(server: RunningServer) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "sagemaker_local", "--state", str(server.state_dir)],
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG_S,
    )
    assert second.returncode == 2
    assert "Another sagemaker_local runs on" in second.stderr


def test_requests_that_wait_for_the_servers_own_do_not_keep_it_from_them(server: RunningServer) -> None:
    """CreatePipeline reads its definition from S3: from this server, for which there must be threads left."""
    config = Config(retries={"total_max_attempts": 1}, max_pool_connections=100, read_timeout=HANG_S)
    sagemaker, s3 = server.client("sagemaker", config=config), server.client("s3")
    s3.create_bucket(Bucket="definitions")
    step = {"Name": "Gate", "Type": "Condition", "Arguments": {"Conditions": [], "IfSteps": [], "ElseSteps": []}}
    s3.put_object(Bucket="definitions", Key="d", Body=json.dumps({"Version": "2020-12-01", "Steps": [step]}))
    where, role = {"Bucket": "definitions", "ObjectKey": "d"}, "arn:aws:iam::123456789012:role/x"

    def create(number: int) -> Any:
        return sagemaker.create_pipeline(PipelineName=f"from-s3-{number}", PipelineDefinitionS3Location=where, RoleArn=role)

    with ThreadPoolExecutor(100) as clients:
        assert len(list(clients.map(create, range(100)))) == 100


def test_a_wrong_images_file_is_refused_with_the_entry(tmp_path: Path) -> None:
    images = tmp_path / "images.yaml"
    images.write_text("images: [{match: '*', comand: [x]}]")
    started = subprocess.run(
        [sys.executable, "-m", "sagemaker_local", "--state", str(tmp_path / "s"), "--images", str(images)],
        capture_output=True, text=True, check=False, timeout=HANG_S,
    )  # fmt: skip
    assert started.returncode == 2
    assert "images[0] has the unknown key 'comand'" in started.stderr


def test_it_starts_in_two_seconds_of_cpu_time(tmp_path: Path) -> None:
    with running(tmp_path / "state") as server:
        server.client("sagemaker").list_endpoints()
        fields = Path(f"/proc/{server.pid}/stat").read_text().rsplit(")", 1)[1].split()
        assert sum(int(ticks) for ticks in fields[11:13]) / os.sysconf("SC_CLK_TCK") < 2


def test_large_objects_pass_and_ranges_are_cut(s3: Any, a_bucket: str) -> None:
    data = os.urandom(1 << 20) * 40
    s3.upload_fileobj(io.BytesIO(data), a_bucket, "large")
    assert s3.get_object(Bucket=a_bucket, Key="large")["Body"].read() == data
    assert s3.head_object(Bucket=a_bucket, Key="large", ChecksumMode="ENABLED")["ChecksumType"] == "COMPOSITE"
    ranged = s3.get_object(Bucket=a_bucket, Key="large", Range="bytes=1000000-1000999")
    assert ranged["Body"].read() == data[1_000_000:1_001_000]
    assert ranged["ContentRange"] == f"bytes 1000000-1000999/{len(data)}"
    assert s3.get_object(Bucket=a_bucket, Key="large", Range="bytes=-5")["Body"].read() == data[-5:]
    with pytest.raises(ClientError, match="InvalidRange"):
        s3.get_object(Bucket=a_bucket, Key="large", Range=f"bytes={len(data)}-")


@pytest.mark.parametrize("algorithm", ["CRC64NVME", "CRC32", "CRC32C", "SHA1", "SHA256"])
def test_a_wrong_checksum_is_a_bad_digest(s3: Any, a_bucket: str, algorithm: str) -> None:
    wrong = {"CRC64NVME": 8, "CRC32": 4, "CRC32C": 4, "SHA1": 20, "SHA256": 32}[algorithm]
    with pytest.raises(ClientError, match="BadDigest"):
        s3.put_object(Bucket=a_bucket, Key="k", Body=b"data", **{f"Checksum{algorithm}": base64.b64encode(bytes(wrong)).decode()})
    with pytest.raises(ClientError, match="404"):
        s3.head_object(Bucket=a_bucket, Key="k")
    s3.put_object(Bucket=a_bucket, Key="k", Body=b"data", ChecksumAlgorithm=algorithm)
    assert s3.head_object(Bucket=a_bucket, Key="k", ChecksumMode="ENABLED")[f"Checksum{algorithm}"]


def test_a_multipart_upload_has_a_full_object_checksum(s3: Any, a_bucket: str) -> None:
    data = os.urandom(6 << 20)
    upload = s3.create_multipart_upload(Bucket=a_bucket, Key="m", ChecksumAlgorithm="CRC64NVME", ChecksumType="FULL_OBJECT")
    where = {"Bucket": a_bucket, "Key": "m", "UploadId": upload["UploadId"]}
    parts = []
    for number, part in enumerate((data[: 5 << 20], data[5 << 20 :]), 1):
        sent = s3.upload_part(**where, PartNumber=number, Body=part, ChecksumAlgorithm="CRC64NVME")
        assert sent["ChecksumCRC64NVME"] == crc64(part)
        parts.append({"PartNumber": number, "ETag": sent["ETag"], "ChecksumCRC64NVME": sent["ChecksumCRC64NVME"]})
    finished = {"MultipartUpload": {"Parts": parts}, "ChecksumType": "FULL_OBJECT"}
    with pytest.raises(ClientError, match="BadDigest"):
        s3.complete_multipart_upload(**where, **finished, ChecksumCRC64NVME=crc64(b"other"))
    completed = s3.complete_multipart_upload(**where, **finished, ChecksumCRC64NVME=crc64(data), IfNoneMatch="*")
    assert (completed["ChecksumCRC64NVME"], completed["ChecksumType"]) == (crc64(data), "FULL_OBJECT")
    head = s3.head_object(Bucket=a_bucket, Key="m", ChecksumMode="ENABLED")
    assert (head["ChecksumCRC64NVME"], head["ChecksumType"], head["ContentLength"]) == (crc64(data), "FULL_OBJECT", len(data))


def test_an_answers_date_is_of_the_answer(server: RunningServer, s3: Any, a_bucket: str) -> None:
    """The server's clock is known by it, however long the request took."""
    target = s3.generate_presigned_url("put_object", Params={"Bucket": a_bucket, "Key": "slow"})
    connection = http.client.HTTPConnection(server.endpoint_url.removeprefix("http://"), timeout=HANG_S)
    connection.putrequest("PUT", target.removeprefix(server.endpoint_url))
    connection.putheader("Content-Length", "1")
    connection.endheaders()
    time.sleep(1.1)
    sent = int(time.time())
    connection.send(b"x")
    answer = connection.getresponse()
    [date] = answer.headers.get_all("Date", [])
    assert answer.status == 200
    assert sent <= parsedate_to_datetime(date).timestamp() <= time.time()
    connection.close()


def test_nothing_is_overwritten_when_that_is_asked(s3: Any, a_bucket: str) -> None:
    s3.put_object(Bucket=a_bucket, Key="once", Body=b"first", IfNoneMatch="*")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        s3.put_object(Bucket=a_bucket, Key="once", Body=b"second", IfNoneMatch="*")
    upload = s3.create_multipart_upload(Bucket=a_bucket, Key="once")
    where = {"Bucket": a_bucket, "Key": "once", "UploadId": upload["UploadId"]}
    part = s3.upload_part(**where, PartNumber=1, Body=b"second")
    with pytest.raises(ClientError) as caught:
        s3.complete_multipart_upload(
            **where, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}, IfNoneMatch="*"
        )
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412
    assert s3.get_object(Bucket=a_bucket, Key="once")["Body"].read() == b"first"


def test_metadata_and_strange_names_come_back(s3: Any, a_bucket: str) -> None:
    s3.put_object(
        Bucket=a_bucket, Key="a b/ü+%.txt", Body=b"x", Metadata={"sha_256": "1", "other": "2"}, ContentType="text/plain"
    )
    got = s3.get_object(Bucket=a_bucket, Key="a b/ü+%.txt")
    assert got["Metadata"] == {"sha_256": "1", "other": "2"}
    assert got["ContentType"] == "text/plain"
    s3.copy_object(Bucket=a_bucket, Key="copy", CopySource={"Bucket": a_bucket, "Key": "a b/ü+%.txt"})
    assert s3.get_object(Bucket=a_bucket, Key="copy")["Body"].read() == b"x"
    with pytest.raises(ClientError, match="NoSuchKey"):
        s3.get_object(Bucket=a_bucket, Key="none")


def test_other_services_are_on_the_same_port(client: Callable[[str], Any]) -> None:
    assert client("sts").get_caller_identity()["Account"] == "123456789012"
    client("secretsmanager").create_secret(Name="on-one-port", SecretString="s3cr3t")
    assert client("secretsmanager").get_secret_value(SecretId="on-one-port")["SecretString"] == "s3cr3t"
    assert client("events").list_event_buses()["EventBuses"][0]["Name"] == "default"


def test_regions_are_apart(server: RunningServer, sagemaker: Any) -> None:
    sagemaker.create_model_package_group(ModelPackageGroupName="only-east")
    west = server.client("sagemaker", region_name="us-west-2")
    assert "only-east" not in [
        group["ModelPackageGroupName"] for group in west.list_model_package_groups()["ModelPackageGroupSummaryList"]
    ]


def test_what_is_not_emulated_is_refused_at_once_and_by_name(server: RunningServer) -> None:
    sagemaker = server.client("sagemaker")  # with boto3's usual retries: it must not use them
    with pytest.raises(ClientError, match=r"NotImplemented.*CreateApp") as refused:
        sagemaker.create_app(DomainId="d-1", AppType="JupyterServer", AppName="x")
    with pytest.raises(ClientError, match=r"NotImplemented.*CreateNotebookInstance"):  # moto has it, and nothing would run
        sagemaker.create_notebook_instance(
            NotebookInstanceName="x", InstanceType="ml.t3.medium", RoleArn="arn:aws:iam::123456789012:role/x"
        )
    with pytest.raises(ClientError, match=r"NotImplemented.*simulate_principal_policy"):  # of a service that speaks XML
        server.client("iam").simulate_principal_policy(PolicySourceArn="arn:aws:iam::123456789012:role/x", ActionNames=["s3:*"])
    assert refused.value.response["ResponseMetadata"]["RetryAttempts"] == 0


def test_records_without_behaviour_are_motos(sagemaker: Any) -> None:
    sagemaker.create_experiment(ExperimentName="kept")
    assert sagemaker.describe_experiment(ExperimentName="kept")["ExperimentName"] == "kept"


def test_the_first_pipeline_of_the_page_runs_as_it_is_printed(tmp_path: Path) -> None:
    page = documentation.page()
    images, program = tmp_path / "images.yaml", tmp_path / "first.py"
    images.write_text(page.partition("echo '")[2].partition("'")[0])
    program.write_text(page.partition("```python\n")[2].partition("```")[0])
    with running(tmp_path / "state", images) as server:
        environment = {**os.environ, **server.environment()}
        ran = subprocess.run(
            [sys.executable, str(program)], env=environment, capture_output=True, text=True, check=False, timeout=HANG_S
        )
    assert (ran.stdout, ran.returncode) == ("Hello Succeeded \nhello\n", 0), ran.stderr


def test_a_session_of_the_server_reaches_nothing_else(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(server.endpoint_url)
    sts = session.client("sts", "us-east-1", endpoint_url="https://sts.us-east-1.amazonaws.com")
    assert sts.get_caller_identity()["Account"] == "123456789012"
    assert session.resource("s3").meta.client.meta.endpoint_url == server.endpoint_url
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with pytest.raises(ValueError, match="AWS_ENDPOINT_URL"):
        Session()


def test_the_page_about_what_is_emulated_is_what_the_code_says() -> None:
    written = Path(__file__).parents[2] / "docs" / "sagemaker_local.md"
    assert written.read_text() == documentation.page(), "run: python -m sagemaker_local.documentation docs/sagemaker_local.md"


def test_the_aws_cli_talks_to_it(server: RunningServer) -> None:
    ran = subprocess.run(
        [str(Path(sys.executable).with_name("aws")), "sagemaker", "list-endpoints", "--output", "json"],
        env={"PATH": os.environ["PATH"], **server.environment()}, capture_output=True, text=True, check=False, timeout=HANG_S,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert "Endpoints" in json.loads(ran.stdout)


def test_two_servers_side_by_side_do_not_touch_one_another(server: RunningServer, tmp_path: Path) -> None:
    name = f"side-{os.getpid()}"
    server.client("s3").create_bucket(Bucket=name)
    server.client("sagemaker").create_model_package_group(ModelPackageGroupName=name)
    with running(tmp_path / "state") as other:
        assert other.client("s3").list_buckets()["Buckets"] == []
        assert other.client("sagemaker").list_model_package_groups()["ModelPackageGroupSummaryList"] == []
        other.client("s3").create_bucket(Bucket=name)
        other.client("s3").put_object(Bucket=name, Key="k", Body=b"other")
        other.client("sagemaker").create_model_package_group(ModelPackageGroupName=name)
    assert "Contents" not in server.client("s3").list_objects_v2(Bucket=name)
    assert server.client("sagemaker").describe_model_package_group(ModelPackageGroupName=name)["ModelPackageGroupName"] == name
