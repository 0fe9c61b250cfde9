"""Training jobs, and the chain that everybody starts with: train, evaluate, register."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.sagemaker_local.pipelines.definitions import (
    compare,
    condition,
    fail,
    parameter,
    processing,
    token,
    training_arguments,
)
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from tests.sagemaker_local.pipelines.conftest import Server
    from tests.sagemaker_local.pipelines.definitions import Runs


@pytest.fixture
def data(local_server: Server, bucket: str) -> str:
    """A bucket with training data."""
    local_server.s3.put_object(Bucket=bucket, Key="train/data.csv", Body=b"1\n2\n6\n")
    return bucket


def train(server: Server, arguments: dict[str, Any]) -> dict[str, Any]:
    name = f"train-{token()[:8]}"
    server.sagemaker.create_training_job(TrainingJobName=name, **arguments)

    def ended() -> dict[str, Any] | None:
        described: dict[str, Any] = server.sagemaker.describe_training_job(TrainingJobName=name)
        return described if described["TrainingJobStatus"] in ("Completed", "Failed", "Stopped") else None

    described = wait_until(ended, f"{name} is over")
    assert described is not None
    return described


def unpack(server: Server, uri: str, member: str) -> bytes:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    parcel = io.BytesIO(server.s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    with tarfile.open(fileobj=parcel) as archive:
        content = archive.extractfile(member)
        assert content is not None
        return content.read()


def test_a_training_job_gets_its_channels_and_leaves_a_model(local_server: Server, data: str) -> None:
    described = train(local_server, training_arguments(data, epochs="3"))
    assert described["TrainingJobStatus"] == described["SecondaryStatus"] == "Completed", described
    artifacts = described["ModelArtifacts"]["S3ModelArtifacts"]
    assert artifacts == f"s3://{data}/models/{described['TrainingJobName']}/output/model.tar.gz"
    model = json.loads(unpack(local_server, artifacts, "model.json"))
    assert (model["mean"], model["hyperparameters"]) == (3.0, {"epochs": "3"})
    assert model["channels"]["train"]["ContentType"] == "text/csv"
    assert unpack(local_server, artifacts.replace("model.tar", "output.tar"), "notes.txt") == b"done"
    assert [(metric["MetricName"], metric["Value"]) for metric in described["FinalMetricDataList"]] == [("loss", 0.5)]
    passed = [entry["Status"] for entry in described["SecondaryStatusTransitions"]]
    assert passed == ["Starting", "Downloading", "Training", "Uploading", "Completed"]


def test_the_failure_file_is_the_reason(local_server: Server, data: str) -> None:
    described = train(local_server, training_arguments(data, fail="yes"))
    assert described["FailureReason"] == "AlgorithmError: the rows do not converge, exit code: 1"
    arguments = training_arguments(data)
    arguments["AlgorithmSpecification"]["TrainingInputMode"] = "Pipe"
    with pytest.raises(ClientError, match="InputMode Pipe is not emulated"):
        local_server.sagemaker.create_training_job(TrainingJobName="piped", **arguments)


def test_script_mode_runs_a_submitted_script(local_server: Server, data: str) -> None:
    script = b"""
import argparse, os, pathlib
parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int)
epochs = parser.parse_args().epochs
rows = pathlib.Path(os.environ["SM_CHANNEL_TRAIN"], "data.csv").read_text().split()
pathlib.Path(os.environ["SM_MODEL_DIR"], "model.txt").write_text(f"{epochs} {len(rows)} {os.environ['SM_CURRENT_HOST']}")
"""
    parcel = io.BytesIO()
    with tarfile.open(fileobj=parcel, mode="w:gz") as archive:
        entry = tarfile.TarInfo("train.py")
        entry.size = len(script)
        archive.addfile(entry, io.BytesIO(script))
    local_server.s3.put_object(Bucket=data, Key="sourcedir.tar.gz", Body=parcel.getvalue())
    own = {"sagemaker_program": '"train.py"', "sagemaker_submit_directory": f'"s3://{data}/sourcedir.tar.gz"'}
    image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/script-mode:1"
    described = train(local_server, training_arguments(data, image=image, epochs="4", **own))
    assert described["TrainingJobStatus"] == "Completed", described
    assert unpack(local_server, described["ModelArtifacts"]["S3ModelArtifacts"], "model.txt") == b"4 3 algo-1"


def test_train_evaluate_register(runs: Runs, local_server: Server, data: str) -> None:
    group = f"group-{token()[:8]}"
    artifacts = {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"}
    model_input = {"S3Uri": artifacts, "LocalPath": "/opt/ml/processing/model", "S3DataType": "S3Prefix", "S3InputMode": "File"}
    evaluate = processing(
        "Evaluate",
        "evaluate_model",
        "/opt/ml/processing/model",
        "/opt/ml/processing/report",
        outputs={"report": f"s3://{data}/report"},
        ProcessingInputs=[{"InputName": "model", "S3Input": model_input}],
        step={"PropertyFiles": [{"PropertyFileName": "Report", "OutputName": "report", "FilePath": "report.json"}]},
    )
    mean = {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.Evaluate.PropertyFiles.Report"}, "Path": "metrics.mean"}}
    serving = {"Image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/serve:1", "ModelDataUrl": artifacts}
    register = {
        "Name": "Register",
        "Type": "RegisterModel",
        "Arguments": {
            "ModelPackageGroupName": group,
            "InferenceSpecification": {
                "Containers": [serving],
                "SupportedContentTypes": ["text/csv"],
                "SupportedResponseMIMETypes": ["text/csv"],
            },
        },
    }
    create = {
        "Name": "Create",
        "Type": "Model",
        "Arguments": {"PrimaryContainer": serving, "ExecutionRoleArn": "arn:aws:iam::123456789012:role/pipelines"},
    }
    gate = condition(
        "Gate", [compare("LessThan", mean, {"Get": "Parameters.Limit"})], [register, create], [fail("Refuse", "too high")]
    )
    train_step = {"Name": "Train", "Type": "Training", "Arguments": training_arguments(data)}
    name = runs.create(train_step, evaluate, gate, parameters=[parameter("Limit", "Float", 5.0)])
    arn = runs.start(name)
    described = runs.until(arn)
    steps = runs.steps(arn)
    assert described["PipelineExecutionStatus"] == "Succeeded", steps
    assert set(steps) == {"Train", "Evaluate", "Gate", "Register", "Create"}
    job = steps["Train"]["Metadata"]["TrainingJob"]["Arn"].rpartition("/")[2]
    package = local_server.sagemaker.describe_model_package(
        ModelPackageName=steps["Register"]["Metadata"]["RegisterModel"]["Arn"]
    )
    container = package["InferenceSpecification"]["Containers"][0]
    assert container["ModelDataUrl"] == f"s3://{data}/models/{job}/output/model.tar.gz"
    model = steps["Create"]["Metadata"]["Model"]["Arn"].rpartition("/")[2]
    assert local_server.sagemaker.describe_model(ModelName=model)["PrimaryContainer"]["ModelDataUrl"] == container["ModelDataUrl"]


def test_a_cleanup_step_deletes_what_training_left(runs: Runs, local_server: Server, data: str) -> None:
    sources = [{"StepName": "Train"}, {"StepName": "Skipped"}]
    arn = runs.run(
        {"Name": "Train", "Type": "Training", "Arguments": training_arguments(data)},
        condition("Gate", [compare("Equals", 1, 2)], [processing("Skipped", "nothing")], []),
        {"Name": "Clean", "Type": "Cleanup", "Arguments": {"Resources": {"S3": sources}}, "DependsOn": ["Train", "Gate"]},
    )
    steps = runs.steps(arn)
    assert runs.until(arn)["PipelineExecutionStatus"] == "Succeeded", steps
    assert steps["Clean"]["Metadata"]["Cleanup"] == {"CleanedSteps": ["Train"], "FailedSteps": [], "SkippedSteps": ["Skipped"]}
    assert "Contents" not in local_server.s3.list_objects_v2(Bucket=data, Prefix="models/")
    assert "Contents" in local_server.s3.list_objects_v2(Bucket=data, Prefix="train/")
