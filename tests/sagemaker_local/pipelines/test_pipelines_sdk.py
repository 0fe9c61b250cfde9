"""A definition written with the SageMaker SDK, its scripts and sessions as its documentation has them, run unmodified."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from sagemaker_local.processes import mounts
from sagemaker_local.session import Session
from tests.sagemaker_local.pipelines.definitions import IMAGE, ROLE, token

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sagemaker_local.pipelines.conftest import Server

PREPARE = """
import pathlib, sys
rows = int(sys.argv[sys.argv.index("--rows") + 1])
folder = pathlib.Path(sys.argv[sys.argv.index("--output") + 1])
(folder / "data.csv").write_text("\\n".join(str(row) for row in range(rows)))
"""
EVALUATE = """
import json, pathlib, sys
source, folder = map(pathlib.Path, sys.argv[1:3])
rows = (source / "data.csv").read_text().split()
(folder / "evaluation.json").write_text(json.dumps({"regression_metrics": {"mse": {"value": len(rows) / 10}}}))
"""


@pytest.fixture
def sdk(local_server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A PipelineSession of the SDK that talks to the server; the SDK's telemetry is off."""
    config = tmp_path / "sagemaker.yaml"
    config.write_text("SchemaVersion: '1.0'\nSageMaker:\n  PythonSDK:\n    Modules:\n      TelemetryOptOut: true\n")
    settings = {
        "AWS_ENDPOINT_URL": local_server.url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "SAGEMAKER_VALIDATE_ROLE": "false",
        "SAGEMAKER_USER_CONFIG_OVERRIDE": str(config),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    from sagemaker.core.workflow.pipeline_context import PipelineSession

    return PipelineSession(boto_session=Session(), default_bucket="sdk-bucket")


def _pipeline(session: Any, folder: Path) -> Any:
    from sagemaker.core.processing import ScriptProcessor
    from sagemaker.core.shapes import ProcessingInput, ProcessingOutput, ProcessingS3Input, ProcessingS3Output
    from sagemaker.core.workflow.conditions import ConditionLessThanOrEqualTo
    from sagemaker.core.workflow.functions import Join, JsonGet
    from sagemaker.core.workflow.parameters import ParameterFloat, ParameterInteger
    from sagemaker.core.workflow.properties import PropertyFile
    from sagemaker.mlops.workflow.condition_step import ConditionStep
    from sagemaker.mlops.workflow.fail_step import FailStep
    from sagemaker.mlops.workflow.pipeline import Pipeline
    from sagemaker.mlops.workflow.steps import ProcessingStep

    def output(name: str) -> ProcessingOutput:
        target = ProcessingS3Output(
            s3_uri=f"s3://sdk-bucket/{name}", local_path=f"/opt/ml/processing/{name}", s3_upload_mode="EndOfJob"
        )
        return ProcessingOutput(output_name=name, s3_output=target)

    (folder / "prepare.py").write_text(PREPARE)
    (folder / "evaluate.py").write_text(EVALUATE)
    rows, limit = ParameterInteger("Rows", default_value=50), ParameterFloat("Limit", default_value=6.0)
    processor = ScriptProcessor(
        image_uri=IMAGE,
        command=["python3"],
        role=ROLE,
        instance_count=1,
        instance_type="ml.t3.medium",
        sagemaker_session=session,
    )
    prepare = ProcessingStep(
        "Prepare",
        step_args=processor.run(
            code=str(folder / "prepare.py"),
            outputs=[output("train")],
            arguments=["--rows", rows.to_string(), "--output", "/opt/ml/processing/train"],
        ),
    )
    train = prepare.properties.ProcessingOutputConfig.Outputs["train"].S3Output.S3Uri
    source = ProcessingS3Input(
        s3_uri=train, local_path="/opt/ml/processing/input/data", s3_data_type="S3Prefix", s3_input_mode="File"
    )
    report = PropertyFile(name="EvaluationReport", output_name="evaluation", path="evaluation.json")
    evaluate = ProcessingStep(
        "Evaluate",
        step_args=processor.run(
            code=str(folder / "evaluate.py"),
            inputs=[ProcessingInput(input_name="data", s3_input=source)],
            outputs=[output("evaluation")],
            arguments=["/opt/ml/processing/input/data", "/opt/ml/processing/evaluation"],
        ),
        property_files=[report],
    )
    mse = JsonGet(step_name="Evaluate", property_file=report, json_path="regression_metrics.mse.value")
    gate = ConditionStep(
        "Gate",
        conditions=[ConditionLessThanOrEqualTo(left=mse, right=limit)],
        if_steps=[],
        else_steps=[FailStep("TooBad", error_message=Join(on=" ", values=["mse", mse, "is above", limit]))],
    )
    return Pipeline(name="sdk-pipeline", parameters=[rows, limit], steps=[prepare, evaluate, gate], sagemaker_session=session)


def test_upsert_start_and_wait(sdk: Any, local_server: Server, tmp_path: Path) -> None:
    pipeline = _pipeline(sdk, tmp_path)
    for _ in range(2):  # the second time it exists, and is updated
        pipeline.upsert(role_arn=ROLE, tags=[{"Key": "team", "Value": "a"}])
    versions = [version["PipelineVersionId"] for version in pipeline.list_pipeline_versions()["PipelineVersionSummaries"]]
    assert versions == [2, 1], (local_server.state_dir / "calls.jsonl").read_text()  # what the SDK asked for
    good = pipeline.start()
    good.wait(delay=1, max_attempts=30)
    assert good.describe()["PipelineExecutionStatus"] == "Succeeded", good.list_steps()
    assert [step["StepName"] for step in good.list_steps()] == ["Gate", "Evaluate", "Prepare"]
    bad = pipeline.start(parameters={"Rows": 80})
    with pytest.raises(Exception, match="Waiter PipelineExecutionComplete failed"):
        bad.wait(delay=1, max_attempts=30)
    assert {step["StepName"]: step.get("FailureReason") for step in bad.list_steps()}["TooBad"] == "mse 8.0 is above 6.0"
    assert pipeline.latest_pipeline_version_id == 2, pipeline.list_pipeline_versions()
    pipeline.delete()


def test_the_sdk_asks_the_server_for_the_account_too(sdk: Any) -> None:
    sdk._default_bucket_name_override = None  # as in the SDK's examples: the bucket's name has the account's number
    assert sdk.account_id() == "123456789012"
    assert sdk.default_bucket() == "sagemaker-us-east-1-123456789012"


TRAIN = """
import argparse, os, pathlib
parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int)
rows = pathlib.Path("/opt/ml/input/data/train/data.csv").read_text().split()
model = pathlib.Path(os.environ["SM_MODEL_DIR"], "model.txt")
model.write_text(f"{parser.parse_args().epochs} epochs on {len(rows)} rows")
"""
ANNOUNCE = """
def handler(event, context):
    return {"said": f"trained {event['model'].rpartition('/')[2]}"}
"""


@pytest.mark.skipif(not mounts.available(), reason="the SDK's training driver has /opt/ml in its code")
def test_a_model_trainer_and_a_lambda_step(sdk: Any, local_server: Server, bucket: str, tmp_path: Path) -> None:
    from sagemaker.core.lambda_helper import Lambda
    from sagemaker.mlops.workflow.lambda_step import LambdaOutput, LambdaOutputTypeEnum, LambdaStep
    from sagemaker.mlops.workflow.pipeline import Pipeline
    from sagemaker.mlops.workflow.steps import TrainingStep
    from sagemaker.train import ModelTrainer
    from sagemaker.train.configs import Compute, InputData, SourceCode

    local_server.s3.put_object(Bucket=bucket, Key="train/data.csv", Body=b"1\n2\n")
    source = tmp_path / "source"
    source.mkdir()
    (source / "train.py").write_text(TRAIN)
    (tmp_path / "announce.py").write_text(ANNOUNCE)
    trainer = ModelTrainer(
        training_image=IMAGE,
        source_code=SourceCode(source_dir=str(source), entry_script="train.py"),
        compute=Compute(instance_type="ml.m5.large", instance_count=1),
        role=ROLE,
        sagemaker_session=sdk,
        hyperparameters={"epochs": 3},
        base_job_name="trainer",
    )
    channel = InputData(channel_name="train", data_source=f"s3://{bucket}/train")
    train = TrainingStep("Train", step_args=trainer.train(input_data_config=[channel]))
    function = Lambda(
        function_name=f"announce-{bucket}",
        execution_role_arn=_lambda_role(local_server),
        script=str(tmp_path / "announce.py"),
        handler="announce.handler",
        runtime="python3.12",
        session=sdk,
    )
    announce = LambdaStep(
        "Announce",
        lambda_func=function,
        inputs={"model": train.properties.ModelArtifacts.S3ModelArtifacts},
        outputs=[LambdaOutput(output_name="said", output_type=LambdaOutputTypeEnum.String)],
    )
    pipeline = Pipeline(name=f"trainer-{bucket}", steps=[train, announce], sagemaker_session=sdk)
    pipeline.upsert(role_arn=ROLE)
    execution = pipeline.start()
    execution.wait(delay=1, max_attempts=60)
    steps = {step["StepName"]: step for step in execution.list_steps()}
    assert steps["Announce"]["Metadata"]["Lambda"]["OutputParameters"] == [{"Name": "said", "Value": "trained model.tar.gz"}]
    job = steps["Train"]["Metadata"]["TrainingJob"]["Arn"].rpartition("/")[2]
    artifacts = local_server.sagemaker.describe_training_job(TrainingJobName=job)["ModelArtifacts"]["S3ModelArtifacts"]
    key = artifacts.partition("sdk-bucket/")[2]
    parcel = io.BytesIO(local_server.s3.get_object(Bucket="sdk-bucket", Key=key)["Body"].read())
    with tarfile.open(fileobj=parcel) as archive:
        content = archive.extractfile("model.txt")
        assert content is not None and content.read() == b"3 epochs on 2 rows"


def _lambda_role(server: Server) -> str:
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
    role = server.client("iam").create_role(RoleName=f"lambda-{token()[:8]}", AssumeRolePolicyDocument=json.dumps(trust))
    return str(role["Role"]["Arn"])
