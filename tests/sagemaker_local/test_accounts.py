"""Who called: accounts that are apart, credentials that name their role, and the record of all calls."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sagemaker_local.testing import RunningServer, running
from tests.sagemaker_local.conftest import write_images_file
from tests.sagemaker_local.hosting_client import HostingClient
from tests.support.waiting import wait_until

OTHER = "222222222222"
IMAGE = "1.dkr.ecr.us-east-1.amazonaws.com/tests:1"


def assumed(server: RunningServer, role_arn: str) -> Callable[[str], Any]:
    """Clients with a role's temporary credentials."""
    given = server.client("sts").assume_role(RoleArn=role_arn, RoleSessionName="test")["Credentials"]
    keys = {
        "aws_access_key_id": given["AccessKeyId"],
        "aws_secret_access_key": given["SecretAccessKey"],
        "aws_session_token": given["SessionToken"],
    }
    return lambda service: server.client(service, **keys)


def calls(server: RunningServer, **wanted: Any) -> list[dict[str, Any]]:
    lines = (server.state_dir / "calls.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    return [entry for entry in entries if all(entry[name] == value for name, value in wanted.items())]


def test_two_accounts_keep_their_resources_apart_and_after_a_restart_too(tmp_path: Path) -> None:
    images = write_images_file(tmp_path)
    name = "same-name"
    with running(tmp_path / "state", images) as server:
        theirs = assumed(server, f"arn:aws:iam::{OTHER}:role/production")
        assert theirs("sts").get_caller_identity()["Account"] == OTHER
        for client, told in ((server.client, "ours"), (theirs, "theirs")):
            hosting = HostingClient(client("sagemaker"), IMAGE)
            config = hosting.config(NAME=told)
            client("sagemaker").create_endpoint(EndpointName=name, EndpointConfigName=config)
            hosting.settled(name, "InService")
        theirs("sagemaker").create_model_package_group(ModelPackageGroupName="only-theirs")
        theirs("ssm").put_parameter(Name="/only/theirs", Value="x", Type="String")
        assert server.client("sagemaker").list_model_package_groups()["ModelPackageGroupSummaryList"] == []
        assert server.client("ssm").describe_parameters()["Parameters"] == []
        assert f":{OTHER}:endpoint/" in theirs("sagemaker").describe_endpoint(EndpointName=name)["EndpointArn"]
        for client, told in ((server.client, "ours"), (theirs, "theirs")):
            assert invoked(client("sagemaker-runtime"), name)["name"] == told
        theirs("sagemaker").delete_endpoint(EndpointName=name)
        wait_until(lambda: not theirs("sagemaker").list_endpoints()["Endpoints"], "theirs is gone")
        assert invoked(server.client("sagemaker-runtime"), name)["name"] == "ours"
    with running(tmp_path / "state", images) as server:
        theirs = assumed(server, f"arn:aws:iam::{OTHER}:role/production")
        listed = theirs("sagemaker").list_model_package_groups()["ModelPackageGroupSummaryList"]
        assert [group["ModelPackageGroupName"] for group in listed] == ["only-theirs"]
        assert theirs("ssm").get_parameter(Name="/only/theirs")["Parameter"]["Value"] == "x"


def invoked(runtime: Any, endpoint: str) -> dict[str, Any]:
    return dict(json.loads(runtime.invoke_endpoint(EndpointName=endpoint, Body=b"{}")["Body"].read()))


PROGRAM = """
import boto3
print(boto3.client("sts").get_caller_identity()["Arn"])
boto3.client("s3").put_object(Bucket="BUCKET", Key="from/the-job", Body=b"x")
"""


def test_a_jobs_calls_are_recorded_with_its_role_and_name(tmp_path: Path) -> None:
    images = tmp_path / "images.yaml"
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.replace("BUCKET", "calls"))
    images.write_text(json.dumps({"images": [{"match": "*", "command": [sys.executable, str(program)]}]}))
    role, pipeline_role = (f"arn:aws:iam::123456789012:role/{name}" for name in ("job", "pipeline"))
    arguments = {
        "ProcessingResources": {"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.t3.medium", "VolumeSizeInGB": 1}},
        "AppSpecification": {"ImageUri": "an-image"},
        "ProcessingInputs": [
            {"InputName": "in", "S3Input": {"S3Uri": "s3://calls/in/", "LocalPath": "/opt/ml/processing/in", "S3DataType": "S3Prefix"}}
        ],
        "RoleArn": role,
    }  # fmt: skip
    definition = {"Version": "2020-12-01", "Steps": [{"Name": "Step", "Type": "Processing", "Arguments": arguments}]}
    with running(tmp_path / "state", images) as server:
        server.client("s3").create_bucket(Bucket="calls")
        server.client("s3").put_object(Bucket="calls", Key="in/data", Body=b"x")
        sagemaker = server.client("sagemaker")
        sagemaker.create_pipeline(PipelineName="p", PipelineDefinition=json.dumps(definition), RoleArn=pipeline_role)
        arn = sagemaker.start_pipeline_execution(PipelineName="p")["PipelineExecutionArn"]

        def ended() -> bool:
            status = sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)["PipelineExecutionStatus"]
            assert status in ("Executing", "Succeeded")
            return bool(status == "Succeeded")

        wait_until(ended, "the execution ends")
        created = wait_until(lambda: calls(server, action="CreateProcessingJob"), "the step's call")
        assert [(call["role_arn"], call["job"]) for call in created] == [(pipeline_role, None)]
        job = sagemaker.list_processing_jobs()["ProcessingJobSummaries"][0]["ProcessingJobArn"]
        (put,) = wait_until(lambda: calls(server, action="PutObject", role_arn=role, job=job), "the job's call")
        assert (put["service"], put["parameters"]) == ("s3", {"Bucket": "calls", "Key": "from/the-job"})
        (got,) = calls(server, action="GetObject", role_arn=role)
        assert got["parameters"] == {"Bucket": "calls", "Key": "in/data"}
        assert calls(server, action="CreateBucket")[0]["role_arn"] is None
        logs = server.client("logs").filter_log_events(logGroupName="/aws/sagemaker/ProcessingJobs")["events"]
        assert [event["message"] for event in logs] == ["arn:aws:sts::123456789012:assumed-role/job/SageMaker"]


def test_a_call_whose_body_is_compressed_is_in_the_record_too(server: RunningServer) -> None:
    """botocore compresses PutMetricData from 10 KiB on (request_min_compression_size_bytes)."""
    data = [{"MetricName": f"metric-{number}", "Value": number, "Unit": "Count"} for number in range(500)]
    server.client("cloudwatch").put_metric_data(Namespace="compressed", MetricData=data)
    of_it: dict[str, Any] = {"service": "cloudwatch", "action": "PutMetricData"}
    wait_until(lambda: calls(server, **of_it), "the call is recorded")
    assert calls(server, **of_it)[-1]["parameters"]["Namespace"] == "compressed"
