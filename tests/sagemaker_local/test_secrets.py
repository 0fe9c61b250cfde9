"""Nobody else on the machine reads what the server keeps, and its record of calls has no secrets."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sagemaker_local.identity.redaction import redacted
from sagemaker_local.testing import RunningServer, running
from tests.sagemaker_local.conftest import write_images_file
from tests.support.waiting import wait_until

SECRET = "hf_canary0123456789"
MODEL_ENVIRONMENT = {"PrimaryContainer": {"Image": "a:1", "Environment": {"HF_TOKEN": SECRET, "MODE": "chat"}}}


@pytest.mark.parametrize(
    ("service", "action", "parameters", "logged"),
    [
        (
            "secretsmanager",
            "CreateSecret",
            {"Name": "hub-token", "SecretString": SECRET},
            {"Name": "hub-token", "SecretString": "***"},
        ),
        ("secretsmanager", "PutSecretValue", {"SecretId": "a", "SecretBinary": SECRET}, {"SecretId": "a", "SecretBinary": "***"}),
        ("secretsmanager", "RotateSecret", {"SecretId": "a", "RotationToken": SECRET}, {"SecretId": "a", "RotationToken": "***"}),
        ("ssm", "PutParameter", {"Name": "/hub", "Value": SECRET}, {"Name": "/hub", "Value": "***"}),
        (
            "sagemaker",
            "CreateModel",
            MODEL_ENVIRONMENT,
            {"PrimaryContainer": {"Image": "a:1", "Environment": {"HF_TOKEN": "***", "MODE": "***"}}},
        ),
        ("sagemaker", "CreateTrainingJob", {"HyperParameters": {"key": SECRET}}, {"HyperParameters": {"key": "***"}}),
        (
            "sagemaker",
            "CreateProcessingJob",
            {"AppSpecification": {"ImageUri": "a:1", "ContainerArguments": ["--token", SECRET]}},
            {"AppSpecification": {"ImageUri": "a:1", "ContainerArguments": "***"}},
        ),
        (
            "sagemaker",
            "StartPipelineExecution",
            {"PipelineParameters": [{"Name": "HubToken", "Value": SECRET}, {"Name": "Model", "Value": "chat"}]},
            {"PipelineParameters": [{"Name": "HubToken", "Value": "***"}, {"Name": "Model", "Value": "chat"}]},
        ),
        ("sagemaker", "CreateWorkforce", {"OidcConfig": {"ClientSecret": SECRET}}, {"OidcConfig": {"ClientSecret": "***"}}),
        (
            "codebuild",
            "ImportSourceCredentials",
            {"token": SECRET, "serverType": "GITHUB"},
            {"token": "***", "serverType": "GITHUB"},
        ),
        ("sns", "Publish", {"TopicArn": "t", "Message": SECRET}, {"TopicArn": "t", "Message": "***"}),
        (
            "lambda",
            "CreateFunction",
            {"Environment.Variables.entry.1.value": SECRET},
            {"Environment.Variables.entry.1.value": "***"},
        ),
        (
            "sts",
            "GetCallerIdentity",
            {"X-Amz-Signature": SECRET, "X-Amz-Expires": "60"},
            {"X-Amz-Signature": "***", "X-Amz-Expires": "***"},
        ),
        ("nothing-known", "Call", {"deep": [{"password": SECRET}]}, {"deep": [{"password": "***"}]}),
        ("s3", "GetObject", {"Bucket": "b", "Key": "tokenizer.json"}, {"Bucket": "b", "Key": "tokenizer.json"}),
        (
            "sagemaker",
            "AddTags",
            {"Tags": [{"Key": "release:model", "Value": "m"}]},
            {"Tags": [{"Key": "release:model", "Value": "m"}]},
        ),
    ],
)
def test_a_call_is_recorded_without_its_secrets(
    service: str, action: str, parameters: dict[str, Any], logged: dict[str, Any]
) -> None:
    assert redacted(service, action, parameters) == logged


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server under the usual umask, on the folder of an earlier version, which everybody could read."""
    state = tmp_path_factory.mktemp("private") / "state"
    state.mkdir(mode=0o755)
    (state / "calls.jsonl").touch(mode=0o644)
    (state / "moto").mkdir(mode=0o755)
    before = os.umask(0o022)
    try:
        with running(state, write_images_file(state.parent)) as server:
            yield server
    finally:
        os.umask(before)


def open_to_others(state: Path) -> list[str]:
    """What of a folder others may read, write or enter."""
    everything = [state, *state.rglob("*")]
    return [
        f"{stat.filemode(path.lstat().st_mode)} {path.relative_to(state.parent)}"
        for path in everything
        if path.lstat().st_mode & 0o077
    ]


def test_state_is_its_owner_s_alone_and_no_secret_is_in_a_log(private: RunningServer) -> None:
    private.client("secretsmanager").create_secret(Name="token", SecretString=SECRET)
    private.client("s3").create_bucket(Bucket="weights")
    private.client("s3").put_object(Bucket="weights", Key="weights", Body=b"x")
    role = "arn:aws:iam::123456789012:role/any"
    image = "1.dkr.ecr.us-east-1.amazonaws.com/tests:1"
    sagemaker = private.client("sagemaker")
    sagemaker.create_model(
        ModelName="m", PrimaryContainer={"Image": image, "Environment": {"HF_TOKEN": SECRET}}, ExecutionRoleArn=role
    )
    sagemaker.create_processing_job(
        ProcessingJobName="j",
        ProcessingResources={"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}},
        AppSpecification={"ImageUri": image, "ContainerEntrypoint": ["true"], "ContainerArguments": ["--token", SECRET]},
        Environment={"TOKEN": SECRET},
        RoleArn=role,
    )
    presigned = private.client("s3").generate_presigned_url("get_object", Params={"Bucket": "weights", "Key": "weights"})
    assert "Signature" in presigned
    saved = private.state_dir / "moto" / "secretsmanager.pickle"
    wait_until(lambda: saved.exists() and SECRET.encode() in saved.read_bytes(), "the secret is saved")
    calls = private.state_dir / "calls.jsonl"
    wait_until(lambda: "CreateProcessingJob" in calls.read_text(), "the last call is recorded")
    assert open_to_others(private.state_dir) == []
    logs = [calls, private.state_dir / "sagemaker_local.log", *(private.state_dir / "logs").rglob("*.log")]
    assert [log.name for log in logs if SECRET in log.read_text()] == []
    assert {"CreateSecret", "CreateModel"} <= {json.loads(line)["action"] for line in calls.read_text().splitlines()}


def test_a_folder_with_other_things_in_it_is_not_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "mine.txt").write_text("x")
    (tmp_path / "mine.txt").chmod(0o644)
    with running(tmp_path):
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
        assert open_to_others(tmp_path)[1:] == [f"-rw-r--r-- {tmp_path.name}/mine.txt"]
