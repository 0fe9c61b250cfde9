"""Batch transform jobs, and a pipeline that creates a model and runs it over data."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.sagemaker_local.pipelines.definitions import ROLE, token
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from tests.sagemaker_local.pipelines.conftest import Server
    from tests.sagemaker_local.pipelines.definitions import Runs

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/serve:1"


def arguments(bucket: str, **more: Any) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/numbers/"}
    return {
        "TransformInput": {"DataSource": {"S3DataSource": source}, "ContentType": "text/csv", "SplitType": "Line"},
        "TransformOutput": {"S3OutputPath": f"s3://{bucket}/doubled", "AssembleWith": "Line"},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
        **more,
    }


@pytest.fixture
def data(local_server: Server, bucket: str) -> str:
    """A bucket with numbers and a model archive."""
    local_server.s3.put_object(Bucket=bucket, Key="numbers/a", Body=b"1\n2\n3\n")
    local_server.s3.put_object(Bucket=bucket, Key="numbers/deep/b", Body=b"10\n")
    parcel = io.BytesIO()
    with tarfile.open(fileobj=parcel, mode="w:gz") as archive:
        entry = tarfile.TarInfo("factor")
        entry.size = 1
        archive.addfile(entry, io.BytesIO(b"2"))
    local_server.s3.put_object(Bucket=bucket, Key="model.tar.gz", Body=parcel.getvalue())
    return bucket


def read(server: Server, bucket: str, key: str) -> str:
    return str(server.s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode())


def until(server: Server, name: str, *statuses: str) -> dict[str, Any]:

    def ended() -> dict[str, Any] | None:
        described: dict[str, Any] = server.sagemaker.describe_transform_job(TransformJobName=name)
        return described if described["TransformJobStatus"] in statuses else None

    described = wait_until(ended, f"{name} is over")
    assert described is not None
    return described


@pytest.fixture
def model(local_server: Server, data: str) -> str:
    """The name of a model."""
    name = f"model-{token()[:8]}"
    container = {"Image": IMAGE, "ModelDataUrl": f"s3://{data}/model.tar.gz"}
    local_server.sagemaker.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE)
    return name


def test_a_pipeline_creates_a_model_and_transforms_with_it(runs: Runs, local_server: Server, data: str) -> None:
    container = {"Image": IMAGE, "ModelDataUrl": f"s3://{data}/model.tar.gz"}
    create = {"Name": "Create", "Type": "Model", "Arguments": {"PrimaryContainer": container, "ExecutionRoleArn": ROLE}}
    step = {"Name": "Double", "Type": "Transform", "Arguments": arguments(data, ModelName={"Get": "Steps.Create.ModelName"})}
    arn = runs.run(create, step)
    assert runs.until(arn)["PipelineExecutionStatus"] == "Succeeded", runs.steps(arn)
    assert read(local_server, data, "doubled/a.out") == "2 4 6\n"  # MultiRecord: one request
    assert read(local_server, data, "doubled/deep/b.out") == "20\n"
    job = runs.steps(arn)["Double"]["Metadata"]["TransformJob"]["Arn"].rpartition("/")[2]
    described = until(local_server, job, "Completed")
    assert described["TransformStartTime"] <= described["TransformEndTime"]


def test_one_record_a_request(local_server: Server, data: str, model: str) -> None:
    name = f"single-{token()[:8]}"
    more = {"BatchStrategy": "SingleRecord", "MaxConcurrentTransforms": 2}
    local_server.sagemaker.create_transform_job(TransformJobName=name, ModelName=model, **arguments(data, **more))
    until(local_server, name, "Completed")
    assert read(local_server, data, "doubled/a.out") == "2\n4\n6\n"


def test_a_record_that_the_model_refuses_fails_the_job_and_leaves_nothing(local_server: Server, data: str, model: str) -> None:
    local_server.s3.put_object(Bucket=data, Key="numbers/c", Body=b"bad\n")
    name = f"bad-{token()[:8]}"
    local_server.sagemaker.create_transform_job(TransformJobName=name, ModelName=model, **arguments(data))
    described = until(local_server, name, "Failed", "Completed")
    assert "See job logs" in described["FailureReason"] and "status 400" in described["FailureReason"]
    assert "Contents" not in local_server.s3.list_objects_v2(Bucket=data, Prefix="doubled/")


def test_missing_models_and_filters_are_refused(local_server: Server, data: str, model: str) -> None:
    with pytest.raises(ClientError, match="Could not find model"):
        local_server.sagemaker.create_transform_job(TransformJobName="x", ModelName="nobody", **arguments(data))
    filtered = arguments(data, DataProcessing={"InputFilter": "$[1:]"})
    with pytest.raises(ClientError, match="InputFilter is not emulated"):
        local_server.sagemaker.create_transform_job(TransformJobName="x", ModelName=model, **filtered)
