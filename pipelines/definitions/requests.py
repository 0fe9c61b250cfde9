"""The boto3-shaped requests that definitions are made of. Plain dictionaries: no SDK, no network.

Every job is `python -m steps.NAME` in the steps image, with the resolved model file as its input, and writes one folder of output.
"""

from __future__ import annotations

from typing import Any

from config.environment import Environment
from config.schema import Release
from config.updates import LONGEST_UPDATE_S

INPUT = "/opt/ml/processing/input"
OUTPUT = "/opt/ml/processing/output"
RELEASE_INPUT = f"{INPUT}/release/release.json"
"""Where a job that is given the release file, as its input `release`, finds it."""
MESSAGE_FILE = "/opt/ml/output/message"
"""What SageMaker shows as a failed job's ExitMessage."""
FETCH_MAX_RUNTIME_S = 12 * 3600  # 1.4 TB at 50 MB/s on one host, the slowest link worth waiting for
PROMOTE_MAX_RUNTIME_S = 2 * LONGEST_UPDATE_S + 4 * 3600  # there, back again where it fails, and the wait for the endpoint's lease
_JOB_VOLUME_GB = 30  # steps write nothing but their report; 30 is what SageMaker needs for the image


def processing_job(
    environment: Environment,
    *,
    step: str,
    role: str,
    image: Any,
    instance_type: Any,
    arguments: list[Any],
    inputs: dict[str, Any],
    output: Any,
    max_runtime_s: int,
    tags: dict[str, Any],
    instance_count: int = 1,
) -> dict[str, Any]:
    """Write a CreateProcessingJob request, without its name, that runs `python -m steps.STEP`.

    `inputs` maps a folder under /opt/ml/processing/input to the S3 URI it is filled from; `output` is the S3 URI of what the step
    writes. Values may be SageMaker pipeline variables.
    """
    cluster: dict[str, Any] = {
        "InstanceCount": instance_count,
        "InstanceType": instance_type,
        "VolumeSizeInGB": _JOB_VOLUME_GB,
    }
    outputs: dict[str, Any] = {
        "Outputs": [
            {
                "OutputName": "output",
                "S3Output": {"S3Uri": output, "LocalPath": OUTPUT, "S3UploadMode": "EndOfJob"},
            }
        ]
    }
    network: dict[str, Any] = {"EnableInterContainerTrafficEncryption": True, "EnableNetworkIsolation": False}
    if environment.kms_key:
        cluster["VolumeKmsKeyId"] = environment.kms_key
        outputs["KmsKeyId"] = environment.kms_key
    if environment.subnets:
        network["VpcConfig"] = {"Subnets": environment.subnets, "SecurityGroupIds": environment.security_groups}
    return {
        "AppSpecification": {
            "ImageUri": image,
            "ContainerEntrypoint": ["python", "-m", f"steps.{step}"],
            "ContainerArguments": [*arguments, "--output", OUTPUT, "--message-file", MESSAGE_FILE],
        },
        "ProcessingInputs": [_input(name, uri) for name, uri in inputs.items()],
        "ProcessingOutputConfig": outputs,
        "ProcessingResources": {"ClusterConfig": cluster},
        "NetworkConfig": network,
        "RoleArn": role,
        "StoppingCondition": {"MaxRuntimeInSeconds": max_runtime_s},
        "Tags": [{"Key": key, "Value": value} for key, value in (environment.tags | tags).items()],
    }


def model_package(release: Release, facts: dict[str, Any]) -> dict[str, Any]:
    """Write a CreateModelPackage request: pending, uncompressed weights from S3, the serving container's environment, `facts` as metadata.

    Network isolation is not a member of model packages: delivery.endpoint.deployment sets it on every model made from one. Neither are tags, for a
    version of a group (API reference of CreateModelPackage).
    """
    container = {
        "Image": release.serving_image,
        "Environment": release.model.container_environment(),
        "ModelDataSource": {
            "S3DataSource": {"S3Uri": release.weights_prefix, "S3DataType": "S3Prefix", "CompressionType": "None"}
        },
    }
    weights, serving = release.model.weights, release.model.serving
    return {
        "ModelPackageGroupName": release.package_group,
        "ModelPackageDescription": f"{weights.repository} at {weights.revision}",
        "ModelApprovalStatus": "PendingManualApproval",
        "SkipModelValidation": "All",
        "InferenceSpecification": {
            "Containers": [container],
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json", "text/event-stream"],
            "SupportedRealtimeInferenceInstanceTypes": [serving.instance_type, *serving.fallback_instance_types],
        },
        "CustomerMetadataProperties": facts,
    }


def _input(name: str, uri: Any) -> dict[str, Any]:
    return {
        "InputName": name,
        "AppManaged": False,
        "S3Input": {
            "S3Uri": uri,
            "LocalPath": f"{INPUT}/{name}",
            "S3DataType": "S3Prefix",
            "S3InputMode": "File",
            "S3DataDistributionType": "FullyReplicated",
            "S3CompressionType": "None",
        },
    }
