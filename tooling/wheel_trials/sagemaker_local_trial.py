"""A pipeline of one processing step on the server that the wheel installs, from the object that it writes to its end."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import boto3

ROLE = "arn:aws:iam::123456789012:role/any"
CODE = "import pathlib; pathlib.Path('/opt/ml/processing/out/hello.txt').write_text('hello')"


def main() -> None:
    """Start the server, run the pipeline, read its output."""
    Path("images.yaml").write_text('images: [{match: "*", command: ["{python}"]}]\n')
    command = [str(Path(sys.executable).with_name("sagemaker-local")), "--images", "images.yaml", "--state", "state"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            url = next(line for line in server.stdout if line.startswith("AWS_ENDPOINT_URL=")).strip().partition("=")[2]
            print(f"{_run(url)} from a pipeline at {url}")
        finally:
            server.terminate()


def _run(url: str) -> str:
    """Run the pipeline; return what its step wrote."""
    session = boto3.Session(aws_access_key_id="local", aws_secret_access_key="local", region_name="us-east-1")
    sagemaker, s3 = session.client("sagemaker", endpoint_url=url), session.client("s3", endpoint_url=url)
    s3.create_bucket(Bucket="mine")
    definition = json.dumps({"Version": "2020-12-01", "Steps": [_STEP]})
    sagemaker.create_pipeline(PipelineName="first", PipelineDefinition=definition, ClientRequestToken="1" * 32, RoleArn=ROLE)
    execution = sagemaker.start_pipeline_execution(PipelineName="first", ClientRequestToken="2" * 32)["PipelineExecutionArn"]
    deadline = time.monotonic() + 60
    while (state := sagemaker.describe_pipeline_execution(PipelineExecutionArn=execution))[
        "PipelineExecutionStatus"
    ] == "Executing":
        assert time.monotonic() < deadline, state
        time.sleep(0.1)
    assert state["PipelineExecutionStatus"] == "Succeeded", state
    return s3.get_object(Bucket="mine", Key="out/hello.txt")["Body"].read().decode()


_STEP = {
    "Name": "Hello",
    "Type": "Processing",
    "Arguments": {
        "AppSpecification": {"ImageUri": "any/image:1", "ContainerEntrypoint": ["python", "-c", CODE]},
        "ProcessingResources": {"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}},
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": "out",
                    "S3Output": {"S3Uri": "s3://mine/out", "LocalPath": "/opt/ml/processing/out", "S3UploadMode": "EndOfJob"},
                }
            ]
        },
        "RoleArn": ROLE,
    },
}


if __name__ == "__main__":
    main()
