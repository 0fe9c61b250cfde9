"""What an endpoint's container is: its image, environment and model data, out of a model and its model package."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import NotImplementedHere, ValidationError
from sagemaker_local.registry import sharing

if TYPE_CHECKING:
    from sagemaker_local.context import Context

MODEL_DIRECTORY = "model"
ADDITIONAL_DIRECTORY = "additional-model-data-sources"
_USE = "sagemaker:CreateModel"  # what another account's policy must allow, for its version to be used here


@dataclass(frozen=True)
class ModelData:
    """Where model data is in S3, and where it goes under ``/opt/ml``."""

    uri: str
    data_type: str
    """``S3Prefix`` or ``S3Object``."""
    compression: str
    """``None`` or ``Gzip``."""
    directory: str = MODEL_DIRECTORY


@dataclass(frozen=True)
class ContainerPlan:
    """Everything that is needed to start a container."""

    image: str
    environment: dict[str, str]
    data: list[ModelData] = field(default_factory=list)
    role_arn: str | None = None
    """The model's execution role."""
    isolated: bool = False


def plan(context: Context, region: str, model: dict[str, Any]) -> ContainerPlan:
    """Return the container of a model (DescribeModel's answer).

    Raises:
        ValidationError: the model package does not exist, or has no such inference specification.
        NotImplementedHere: the model has several containers.
    """
    containers = model.get("Containers") or [model["PrimaryContainer"]]
    if len(containers) != 1:
        raise NotImplementedHere("A model of several containers (an inference pipeline, or Direct mode) is not emulated.")
    container = _with_package(context, region, containers[0])
    if not container.get("Image"):
        raise ValidationError(f"The container of model {model['ModelName']} has no Image and no ModelPackageName.")
    return ContainerPlan(
        image=container["Image"],
        environment=dict(container.get("Environment") or {}),
        data=_model_data(container),
        role_arn=model.get("ExecutionRoleArn"),
        isolated=bool(model.get("EnableNetworkIsolation")),
    )


def check_approved(context: Context, region: str, model: dict[str, Any]) -> None:
    """Refuse a model of a versioned model package that is not approved.

    "For versioned models, the value of this parameter must be set to Approved to deploy the model" (API reference of
    CreateModelPackage, ModelApprovalStatus). AWS does not publish the error's words.

    Raises:
        ValidationError: a version of a package group is pending or rejected.
    """
    for container in model.get("Containers") or [model["PrimaryContainer"]]:
        if name := container.get("ModelPackageName"):
            package = sharing.package(context, region, name, _USE)
            status = package.get("ModelApprovalStatus") or "PendingManualApproval"
            if package.get("ModelPackageVersion") and status != "Approved":
                raise ValidationError(
                    f"ModelPackage {package['ModelPackageArn']} is {status}; only an approved version can be deployed."
                )


def _with_package(context: Context, region: str, container: dict[str, Any]) -> dict[str, Any]:
    """Return a container that names a model package is the package's container; its own environment wins."""
    name = container.get("ModelPackageName")
    if not name:
        return container
    package = sharing.package(context, region, name, _USE)
    specification = _specification(package, container.get("InferenceSpecificationName"))
    found = (specification.get("Containers") or [None])[0]
    if found is None:
        raise ValidationError(f"ModelPackage {package['ModelPackageArn']} has no container in its InferenceSpecification.")
    environment = {**(found.get("Environment") or {}), **(container.get("Environment") or {})}
    return {**found, "Environment": environment}


def _specification(package: dict[str, Any], name: str | None) -> dict[str, Any]:
    if not name:
        found: dict[str, Any] = package.get("InferenceSpecification") or {}
        return found
    for specification in package.get("AdditionalInferenceSpecifications") or []:
        if specification["Name"] == name:
            return dict(specification)
    raise ValidationError(f"ModelPackage {package['ModelPackageArn']} has no additional inference specification {name}.")


def _model_data(container: dict[str, Any]) -> list[ModelData]:
    data = []
    if url := container.get("ModelDataUrl"):
        data.append(ModelData(url, "S3Object", "Gzip"))
    if source := (container.get("ModelDataSource") or {}).get("S3DataSource"):
        data.append(ModelData(source["S3Uri"], source["S3DataType"], source["CompressionType"]))
    for more in container.get("AdditionalModelDataSources") or []:
        source = more["S3DataSource"]
        directory = f"{ADDITIONAL_DIRECTORY}/{more['ChannelName']}"
        data.append(ModelData(source["S3Uri"], source["S3DataType"], source["CompressionType"], directory))
    return data
