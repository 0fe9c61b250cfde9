"""Processing jobs through boto3: real processes with their inputs and outputs in S3."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from sagemaker_local.processes import mounts
from tests.sagemaker_local.pipelines.definitions import job_arguments
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sagemaker_local.pipelines.conftest import Server


@pytest.fixture
def job(local_server: Server) -> Callable[..., dict[str, Any]]:
    """Run a job to its end (``wait=False``: only create it); DescribeProcessingJob's answer."""

    def run(program: str, *arguments: str, wait: bool = True, **more: Any) -> dict[str, Any]:
        name = f"job-{uuid.uuid4().hex[:8]}"
        local_server.sagemaker.create_processing_job(ProcessingJobName=name, **job_arguments(program, *arguments, **more))
        return until(local_server.sagemaker, name, "Completed", "Failed", "Stopped") if wait else {"ProcessingJobName": name}

    return run


def until(sagemaker: Any, name: str, *statuses: str) -> dict[str, Any]:

    def ended() -> dict[str, Any] | None:
        described: dict[str, Any] = sagemaker.describe_processing_job(ProcessingJobName=name)
        return described if described["ProcessingJobStatus"] in statuses else None

    described = wait_until(ended, f"{name} is over")
    assert described is not None
    return described


def s3_input(
    name: str, uri: str, folder: str, distribution: str = "FullyReplicated", data_type: str = "S3Prefix"
) -> dict[str, Any]:
    return {
        "InputName": name,
        "S3Input": {
            "S3Uri": uri,
            "LocalPath": folder,
            "S3DataType": data_type,
            "S3InputMode": "File",
            "S3DataDistributionType": distribution,
        },
    }


def read(server: Server, uri: str) -> str:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return str(server.s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode())


def test_inputs_come_outputs_go_and_opt_ml_paths_work_without_root(local_server: Server, job: Any, bucket: str) -> None:
    for key in ("in/a.txt", "in/deep/b.txt", "one.txt"):
        local_server.s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    program = "look_around"
    described = job(
        program,
        "/opt/ml/processing/in",
        "/opt/ml/processing/one",
        "/opt/ml/processing/out",
        ProcessingInputs=[
            s3_input("in", f"s3://{bucket}/in", "/opt/ml/processing/in"),
            s3_input("one", f"s3://{bucket}/one.txt", "/opt/ml/processing/one"),
        ],
        Environment={"WHERE": "at /opt/ml/model."},
        outputs={"out": f"s3://{bucket}/result"},
    )
    assert described["ProcessingJobStatus"] == "Completed", described
    seen = json.loads(read(local_server, f"s3://{bucket}/result/sub/seen.json"))
    assert (seen["found"], seen["one"]) == (["a.txt", "deep/b.txt"], "one.txt")
    # Where processes cannot have an /opt/ml of their own, the path in the variable points at the stand-in.
    assert seen["where"] == "at /opt/ml/model." if mounts.available() else seen["where"].endswith("/opt/ml/model.")
    assert described["Environment"] == {"WHERE": "at /opt/ml/model."}  # the request is described as it was given
    assert described["CreationTime"] <= described["ProcessingStartTime"] <= described["ProcessingEndTime"]


@pytest.mark.skipif(not mounts.available(), reason="needs Linux with mount namespaces")
def test_a_script_with_opt_ml_in_its_code_runs(local_server: Server, job: Any, bucket: str) -> None:
    local_server.s3.put_object(Bucket=bucket, Key="in/a.txt", Body=b"a")
    program = "open('/opt/ml/processing/out/copy', 'w').write(open('/opt/ml/processing/in/a.txt').read())"
    inputs = [s3_input("in", f"s3://{bucket}/in", "/opt/ml/processing/in")]
    described = job(program, ProcessingInputs=inputs, outputs={"out": f"s3://{bucket}/hard-coded"})
    assert described["ProcessingJobStatus"] == "Completed", described
    assert read(local_server, f"s3://{bucket}/hard-coded/copy") == "a"
    missing = job_arguments("pass")["AppSpecification"] | {"ContainerEntrypoint": ["/no/such/program"]}
    assert job("pass", AppSpecification=missing)["FailureReason"] == "AlgorithmError: , exit code: 127"


def test_instances_share_keys_and_know_one_another(local_server: Server, job: Any, bucket: str) -> None:
    for number in range(5):
        local_server.s3.put_object(Bucket=bucket, Key=f"shards/{number}", Body=b"x")
    program = "one_of_many"
    arguments = job_arguments(program)
    arguments["ProcessingResources"]["ClusterConfig"]["InstanceCount"] = 2
    described = job(
        program,
        "/opt/ml/processing/in",
        "/opt/ml/processing/out",
        "/opt/ml/config",
        ProcessingInputs=[s3_input("in", f"s3://{bucket}/shards/", "/opt/ml/processing/in", "ShardedByS3Key")],
        ProcessingResources=arguments["ProcessingResources"],
        outputs={"out": f"s3://{bucket}/hosts"},
    )
    assert described["ProcessingJobStatus"] == "Completed", described
    hosts = ["algo-1", "algo-2"]
    shares = {host: json.loads(read(local_server, f"s3://{bucket}/hosts/{host}")) for host in hosts}
    assert shares["algo-1"] == [["0", "2", "4"], hosts, described["ProcessingJobArn"]]
    assert shares["algo-2"] == [["1", "3"], hosts, described["ProcessingJobArn"]]


def test_a_manifest_names_the_objects(local_server: Server, job: Any, bucket: str) -> None:
    for key in ("data/a", "data/b", "data/c"):
        local_server.s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    manifest = [{"prefix": f"s3://{bucket}/data/"}, "a", "c"]
    local_server.s3.put_object(Bucket=bucket, Key="list.manifest", Body=json.dumps(manifest).encode())
    program = "import os, sys; open(sys.argv[2] + '/names', 'w').write(' '.join(sorted(os.listdir(sys.argv[1]))))"
    job(
        program,
        "/opt/ml/processing/in",
        "/opt/ml/processing/out",
        ProcessingInputs=[s3_input("in", f"s3://{bucket}/list.manifest", "/opt/ml/processing/in", data_type="ManifestFile")],
        outputs={"out": f"s3://{bucket}/manifest"},
    )
    assert read(local_server, f"s3://{bucket}/manifest/names") == "a c"


@pytest.mark.parametrize(
    ("program", "reason"),
    [("raise SystemExit(3)", ", exit code: 3"), ("import os; os.kill(os.getpid(), 9)", ", exit code: 137")],
)
def test_a_failed_process_fails_the_job_with_its_exit_code(job: Any, program: str, reason: str) -> None:
    described = job(program)
    assert described["ProcessingJobStatus"] == "Failed"
    assert described["FailureReason"] == f"AlgorithmError: {reason}"
    assert "ExitMessage" not in described


def test_the_message_file_is_the_exit_message_and_outputs_of_a_failed_job_are_kept(
    local_server: Server, job: Any, bucket: str
) -> None:
    program = "leave_a_message_and_fail"
    described = job(program, "/opt/ml/output/message", "/opt/ml/processing/out", outputs={"out": f"s3://{bucket}/failed"})
    assert described["FailureReason"] == "AlgorithmError: See job logs for more information, exit code: 1"
    assert described["ExitMessage"].startswith("éé") and len(described["ExitMessage"].encode()) <= 1024
    assert read(local_server, f"s3://{bucket}/failed/partial") == "so far"


def test_stop_sends_sigterm_and_waits_for_the_process(local_server: Server, job: Any, bucket: str) -> None:
    program = "say_goodbye"
    arguments = {
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": "out",
                    "S3Output": {
                        "S3Uri": f"s3://{bucket}/stopped",
                        "LocalPath": "/opt/ml/processing/out",
                        "S3UploadMode": "Continuous",
                    },
                }
            ]
        }
    }
    name = job(program, "/opt/ml/processing/out", wait=False, **arguments)["ProcessingJobName"]
    wait_until(
        lambda: "Contents" in local_server.s3.list_objects_v2(Bucket=bucket, Prefix="stopped/ready"), "a continuous upload"
    )
    local_server.sagemaker.stop_processing_job(ProcessingJobName=name)
    described = until(local_server.sagemaker, name, "Stopped", "Failed", "Completed")
    assert described["ProcessingJobStatus"] == "Stopped"
    assert read(local_server, f"s3://{bucket}/stopped/goodbye") == "ended well"
    with pytest.raises(ClientError, match="is in status Stopped"):
        local_server.sagemaker.stop_processing_job(ProcessingJobName=name)


def test_max_runtime_ends_a_job(job: Any) -> None:
    described = job("import time; time.sleep(60)", StoppingCondition={"MaxRuntimeInSeconds": 1})
    assert described["ProcessingJobStatus"] == "Stopped"
    assert "MaxRuntimeInSeconds (1)" in described["FailureReason"]


def test_missing_input_and_unknown_image_fail_the_job_with_what_to_do(job: Any, bucket: str) -> None:
    described = job("pass", ProcessingInputs=[s3_input("in", f"s3://{bucket}/nothing/", "/opt/ml/processing/in")])
    assert "No S3 objects found" in described["FailureReason"] and f"s3://{bucket}/nothing/" in described["FailureReason"]
    unknown = job_arguments("pass")["AppSpecification"] | {"ImageUri": "registry/other:1"}
    described = job("pass", AppSpecification=unknown)
    assert "registry/other:1" in described["FailureReason"] and "*/other:*" in described["FailureReason"]


def test_logs_reach_cloudwatch(local_server: Server, job: Any) -> None:
    described = job("print('hello'); import sys; print('trouble', file=sys.stderr)")
    prefix = f"{described['ProcessingJobName']}/algo-1-"
    streams = local_server.client("logs").describe_log_streams(
        logGroupName="/aws/sagemaker/ProcessingJobs", logStreamNamePrefix=prefix
    )["logStreams"]
    events = local_server.client("logs").get_log_events(
        logGroupName="/aws/sagemaker/ProcessingJobs", logStreamName=streams[0]["logStreamName"]
    )["events"]
    assert sorted(event["message"] for event in events) == ["hello", "trouble"]


def test_tags_lists_and_taken_names(local_server: Server, job: Any) -> None:
    described = job("pass", Tags=[{"Key": "team", "Value": "a"}])
    name, arn = described["ProcessingJobName"], described["ProcessingJobArn"]
    assert local_server.sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "team", "Value": "a"}]
    found = local_server.sagemaker.list_processing_jobs(NameContains=name, StatusEquals="Completed")
    assert [summary["ProcessingJobArn"] for summary in found["ProcessingJobSummaries"]] == [arn]
    with pytest.raises(ClientError) as caught:
        local_server.sagemaker.create_processing_job(ProcessingJobName=name, **job_arguments("pass"))
    assert caught.value.response["Error"]["Code"] == "ResourceInUse"
    with pytest.raises(ClientError, match="Could not find requested job"):
        local_server.sagemaker.describe_processing_job(ProcessingJobName="nobody")


def test_what_is_not_emulated_is_refused_by_name(local_server: Server) -> None:
    pipe = s3_input("in", "s3://b/k", "/opt/ml/processing/in")
    pipe["S3Input"]["S3InputMode"] = "Pipe"
    with pytest.raises(ClientError) as caught:
        local_server.sagemaker.create_processing_job(ProcessingJobName="piped", **job_arguments("pass", ProcessingInputs=[pipe]))
    assert caught.value.response["Error"]["Code"] == "NotImplemented"
    assert "S3InputMode Pipe" in caught.value.response["Error"]["Message"]


def test_inputs_go_where_sagemaker_allows(local_server: Server) -> None:
    elsewhere = s3_input("in", "s3://bucket/key", "/tmp/in")
    with pytest.raises(ClientError, match="must start with /opt/ml/processing") as caught:
        local_server.sagemaker.create_processing_job(ProcessingJobName="x", **job_arguments("pass", ProcessingInputs=[elsewhere]))
    assert caught.value.response["Error"]["Code"] == "ValidationException"


def test_the_first_preferred_instance_type_is_taken(job: Any) -> None:
    cluster = {
        "VolumeSizeInGB": 1,
        "InstancePreferences": [
            {"InstanceType": "ml.m5.large", "InstanceCount": 2},
            {"InstanceType": "ml.c5.xlarge", "InstanceCount": 1},
        ],
    }
    described = job("nothing", ProcessingResources={"ClusterConfig": cluster})
    assert described["ProcessingJobStatus"] == "Completed"
    taken = described["ProcessingResources"]["ClusterConfig"]
    assert (taken["SelectedInstanceType"], taken["SelectedInstanceCount"]) == ("ml.m5.large", 2)
