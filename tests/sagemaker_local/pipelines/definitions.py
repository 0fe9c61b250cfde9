"""Small definitions and jobs for the tests."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

from sagemaker_local.jobs.training import script
from tests.support.waiting import wait_until

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/python:3"
ROLE = "arn:aws:iam::123456789012:role/pipelines"
PROGRAMS = Path(__file__).with_name("programs.py")
SCRIPT_MODE = Path(script.__file__)
IMAGES_FILE = f"""
images:
  - match: "*/python:*"
    command: ["{{python}}", "{PROGRAMS}"]
  - match: "*/serve:*"
    command: ["{{python}}", "{PROGRAMS}", "serve", "{{port}}"]
  - match: "*/script-mode:*"
    command: ["{{python}}", "{SCRIPT_MODE}"]
"""


def token() -> str:
    """A ClientRequestToken that was not used before."""
    return uuid.uuid4().hex


def job_arguments(program: str, *arguments: Any, outputs: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    """CreateProcessingJob's arguments for a program: a function's name in programs.py, else one line of Python.

    ``outputs``: name → S3 address, from /opt/ml/processing/NAME.
    """
    known = program.isidentifier() and program != "pass"
    words = [program, *arguments] if known else list(arguments)
    request: dict[str, Any] = {
        "ProcessingResources": {"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.t3.medium", "VolumeSizeInGB": 1}},
        "AppSpecification": {
            "ImageUri": IMAGE,
            **({} if known else {"ContainerEntrypoint": ["python3", "-c", program]}),
            **({"ContainerArguments": words} if words else {}),
        },
        "RoleArn": ROLE,
        **more,
    }
    if outputs:
        request["ProcessingOutputConfig"] = {
            "Outputs": [
                {
                    "OutputName": name,
                    "S3Output": {"S3Uri": uri, "LocalPath": f"/opt/ml/processing/{name}", "S3UploadMode": "EndOfJob"},
                }
                for name, uri in outputs.items()
            ]
        }
    return request


def processing(name: str, program: str, *arguments: Any, step: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A Processing step that runs a program; ``step`` is added beside its Arguments."""
    return {"Name": name, "Type": "Processing", "Arguments": job_arguments(program, *arguments, **more), **(step or {})}


def training_arguments(bucket: str, *, image: str = IMAGE, **hyperparameters: str) -> dict[str, Any]:
    """CreateTrainingJob's arguments: the channel ``train`` from s3://BUCKET/train, the model to s3://BUCKET/models."""
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/train", "S3DataDistributionType": "FullyReplicated"}
    return {
        "AlgorithmSpecification": {
            "TrainingImage": image,
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "loss", "Regex": "loss=(.*?);"}],
        },
        "HyperParameters": hyperparameters,
        "InputDataConfig": [{"ChannelName": "train", "DataSource": {"S3DataSource": source}, "ContentType": "text/csv"}],
        "OutputDataConfig": {"S3OutputPath": f"s3://{bucket}/models"},
        "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        "RoleArn": ROLE,
    }


def compare(kind: str, left: Any, right: Any) -> dict[str, Any]:
    """A condition."""
    return {"Type": kind, "LeftValue": left, "RightValue": right}


def condition(name: str, conditions: list[Any], if_steps: list[Any], else_steps: list[Any], **more: Any) -> dict[str, Any]:
    """A Condition step."""
    arguments = {"Conditions": conditions, "IfSteps": if_steps, "ElseSteps": else_steps}
    return {"Name": name, "Type": "Condition", "Arguments": arguments, **more}


def fail(name: str, message: Any) -> dict[str, Any]:
    """A Fail step."""
    return {"Name": name, "Type": "Fail", "Arguments": {"ErrorMessage": message}}


def definition(*steps: dict[str, Any], parameters: list[dict[str, Any]] | None = None, **more: Any) -> str:
    """A definition's JSON text."""
    return json.dumps({"Version": "2020-12-01", "Metadata": {}, "Parameters": parameters or [], "Steps": list(steps), **more})


def parameter(name: str, kind: str = "String", default: Any = None, **more: Any) -> dict[str, Any]:
    """A parameter's declaration."""
    return {"Name": name, "Type": kind, **({} if default is None else {"DefaultValue": default}), **more}


class Runs:
    """Creates pipelines and follows their executions through one boto3 client."""

    def __init__(self, sagemaker: Any) -> None:
        self.sagemaker = sagemaker

    def create(self, *steps: dict[str, Any], parameters: list[dict[str, Any]] | None = None, **more: Any) -> str:
        """A new pipeline with these steps; returns its name."""
        name = f"p-{uuid.uuid4().hex[:8]}"
        self.sagemaker.create_pipeline(
            PipelineName=name,
            PipelineDefinition=definition(*steps, parameters=parameters),
            RoleArn=ROLE,
            ClientRequestToken=token(),
            **more,
        )
        return name

    def start(self, name: str, parameters: dict[str, str] | None = None, **more: Any) -> str:
        """Start an execution; returns its ARN."""
        given = [{"Name": key, "Value": value} for key, value in (parameters or {}).items()]
        answer = self.sagemaker.start_pipeline_execution(
            PipelineName=name, PipelineParameters=given, ClientRequestToken=token(), **more
        )
        return str(answer["PipelineExecutionArn"])

    def until(self, arn: str, *statuses: str) -> dict[str, Any]:
        """DescribePipelineExecution's answer as soon as the status is one of these (by default: a terminal one)."""
        wanted = statuses or ("Succeeded", "Failed", "Stopped", "CompletedWithFailures")

        def status() -> str:
            return str(self.sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)["PipelineExecutionStatus"])

        wait_until(lambda: status() in wanted, f"{arn} is {' or '.join(wanted)}")
        described: dict[str, Any] = self.sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
        return described

    def until_step(self, arn: str, name: str, status: str) -> dict[str, Any]:
        """A step as soon as it has this status."""
        wait_until(lambda: self.steps(arn).get(name, {}).get("StepStatus") == status, f"the step {name} is {status}")
        return self.steps(arn)[name]

    def run(
        self, *steps: dict[str, Any], parameters: list[dict[str, Any]] | None = None, given: dict[str, str] | None = None
    ) -> str:
        """Create a pipeline, start it, wait for its end; returns the execution's ARN."""
        arn = self.start(self.create(*steps, parameters=parameters), given)
        self.until(arn)
        return arn

    def steps(self, arn: str) -> dict[str, dict[str, Any]]:
        """The steps of an execution by name, in the order they started."""
        pages = self.sagemaker.get_paginator("list_pipeline_execution_steps").paginate(
            PipelineExecutionArn=arn, SortOrder="Ascending"
        )
        return {step["StepName"]: step for page in pages for step in page["PipelineExecutionSteps"]}
