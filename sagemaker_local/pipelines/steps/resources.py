"""The steps that create what the registry and hosting keep: RegisterModel, Model, EndpointConfig and Endpoint."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import AwsError, StepFailed, StepStopped
from sagemaker_local.pipelines.steps.base import StepResult

if TYPE_CHECKING:
    from sagemaker_local.pipelines.steps.base import StepRun

_POLL_S = 0.2


def run_register_model(run: StepRun) -> StepResult:
    """CreateModelPackage, awaited; a model package group that does not exist is created, as SageMaker does.

    MetadataProperties.GeneratedBy is the execution's ARN unless the definition says otherwise. A step that runs again, because this process
    was killed or a retry policy says so, registers no second version.
    """
    request = {**run.arguments, "ClientToken": _token(run)}
    group = request.get("ModelPackageGroupName")
    if group:
        _ensure_group(run, group)
    request["MetadataProperties"] = {"GeneratedBy": run.execution.arn, **request.get("MetadataProperties", {})}
    # A version of a group cannot have tags (CreateModelPackage's documentation), so the pipeline's go to unversioned ones only.
    tags = run.tags(request.pop("Tags", None)) if not group else request.pop("Tags", None)
    if tags:
        request["Tags"] = tags
    arn = run.call("CreateModelPackage", request)["ModelPackageArn"]
    run.report({"RegisterModel": {"Arn": arn}})
    described = _await(run, "DescribeModelPackage", {"ModelPackageName": arn}, "ModelPackageStatus", ("Completed", "Failed"))
    if described["ModelPackageStatus"] == "Failed":
        raise StepFailed(f"ClientError: The model package {arn} could not be created.")
    return StepResult(described)


def run_model(run: StepRun) -> StepResult:
    """CreateModel under a generated name; the properties are DescribeModel's answer."""
    request = _named(run, "ModelName")
    arn = run.call("CreateModel", request)["ModelArn"]
    run.report({"Model": {"Arn": arn}})
    return StepResult(run.call("DescribeModel", {"ModelName": request["ModelName"]}))


def run_endpoint_config(run: StepRun) -> StepResult:
    """CreateEndpointConfig; the properties are DescribeEndpointConfig's answer."""
    request = _named(run, "EndpointConfigName", keep=True)
    arn = run.call("CreateEndpointConfig", request)["EndpointConfigArn"]
    run.report({"EndpointConfig": {"Arn": arn}})
    return StepResult(run.call("DescribeEndpointConfig", {"EndpointConfigName": request["EndpointConfigName"]}))


def run_endpoint(run: StepRun) -> StepResult:
    """CreateEndpoint (UpdateEndpoint when it exists), awaited until it is in service."""
    request = _named(run, "EndpointName", keep=True)
    name = request["EndpointName"]
    if _exists(run, "DescribeEndpoint", {"EndpointName": name}):
        update = {key: value for key, value in request.items() if key != "Tags"}
        arn = run.call("UpdateEndpoint", update)["EndpointArn"]
    else:
        arn = run.call("CreateEndpoint", request)["EndpointArn"]
    run.report({"Endpoint": {"Arn": arn}})
    described = _await(run, "DescribeEndpoint", {"EndpointName": name}, "EndpointStatus", ("InService", "Failed"))
    if described["EndpointStatus"] == "Failed":
        raise StepFailed(f"ClientError: Endpoint {name} failed: {described.get('FailureReason', 'no reason given')}")
    return StepResult(described)


def _named(run: StepRun, member: str, *, keep: bool = False) -> dict[str, Any]:
    """Return the step's arguments with the resource's name in ``member`` (``keep``: the given one as it is), and tags."""
    given = run.arguments.get(member)
    request = {**run.arguments, member: given if given and keep else run.resource_name(given)}
    tags = run.tags(request.pop("Tags", None))
    if tags:
        request["Tags"] = tags
    return request


def _ensure_group(run: StepRun, group: str) -> None:
    name = group.rpartition("/")[2]
    if _exists(run, "DescribeModelPackageGroup", {"ModelPackageGroupName": name}):
        return
    try:
        run.call("CreateModelPackageGroup", {"ModelPackageGroupName": name})
    except StepFailed:
        if not _exists(run, "DescribeModelPackageGroup", {"ModelPackageGroupName": name}):
            raise  # else another execution made it at the same moment


def _token(run: StepRun) -> str:
    """Make a client token: the same for the same step of the same execution with the same arguments."""
    identity = [run.execution.arn, run.spec.name, run.arguments]
    return str(uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(identity, sort_keys=True, default=str)))


def _exists(run: StepRun, action: str, request: dict[str, Any]) -> bool:
    try:
        run.context.invoke(run.region, action, request, run.execution.role_arn)
    except AwsError as error:
        if error.status >= 500:
            raise StepFailed(f"ClientError: Failed to invoke sagemaker:{action}. Error Details: {error.message}") from error
        return False
    return True


def _await(run: StepRun, action: str, request: dict[str, Any], member: str, ends: tuple[str, ...]) -> dict[str, Any]:
    """Describe until ``member`` is one of ``ends``; StepStopped when the execution is being stopped first."""
    while True:
        described = run.call(action, request)
        if described[member] in ends:
            return described
        if run.stopping.wait(_POLL_S):
            raise StepStopped
