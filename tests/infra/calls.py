"""The AWS calls that sagemaker_local wrote down, and the permissions that AWS asks for each.

("Actions, resources, and condition keys for Amazon SageMaker" and the same pages for the other services, Service Authorization Reference;
"Required permissions for Amazon S3 API operations", S3 user guide.)
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.infra.policies import Need, allows
from tests.infra.template import ACCOUNT, REGION, Stack, role_of

Call = dict[str, Any]

_S3 = {
    "HeadObject": "GetObject",
    "GetObjectAttributes": "GetObject",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "ListParts": "ListMultipartUploadParts",
    "ListObjectsV2": "ListBucket",
    "HeadBucket": "ListBucket",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "DeleteObjects": "DeleteObject",
}
"""API action → IAM action, where the two have different names."""

_NAMED = {
    "EndpointName": "endpoint",
    "EndpointConfigName": "endpoint-config",
    "ModelName": "model",
    "PipelineName": "pipeline",
    "ModelPackageGroupName": "model-package-group",
    "ProcessingJobName": "processing-job",
}
"""Which parameter of a SageMaker action names the resource, in the order of precedence."""

_NOT_FOR_A_RESOURCE = {
    "ecr:GetAuthorizationToken",
    "cloudwatch:PutMetricData",
    "cloudwatch:GetMetricData",
    "cloudwatch:GetMetricStatistics",
    "cloudwatch:ListMetrics",
    "sagemaker:CallWithBearerToken",
    "sagemaker:ListEndpoints",
    "sagemaker:ListEndpointConfigs",
    "sagemaker:ListModels",
}
"""Actions that know no resource."""


@dataclass
class _Tags:
    """The tags of what the calls created."""

    by_arn: dict[str, dict[str, str]] = field(default_factory=dict)

    def of(self, arn: str) -> dict[str, str]:
        return {f"aws:ResourceTag/{key}": value for key, value in self.by_arn.get(arn, {}).items()}


def read(file: Path) -> list[Call]:
    """The calls in a file of sagemaker_local's."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def refused(calls: Iterable[Call], bucket: str) -> list[str]:
    """The calls that were made in a role whose policy does not allow them, as sentences."""
    stack, found = Stack(bucket), []
    for call, need in needs(calls):
        role = role_of(call["role_arn"])
        if not allows([*stack.statements(role), *stack.managed_statements(role)], need):
            found.append(f"{role} may not {need.action} on {need.resource} ({dict(need.context)}), which {call['action']} takes")
    return sorted(set(found))


def used(calls: Iterable[Call]) -> dict[str, set[str]]:
    """Role → the IAM actions that its calls took."""
    found: dict[str, set[str]] = {}
    for call, need in needs(calls):
        found.setdefault(role_of(call["role_arn"]), set()).add(need.action)
    return found


def needs(calls: Iterable[Call]) -> Iterator[tuple[Call, Need]]:
    """Every permission that the calls in roles of this account took, with its call, in their order."""
    tags = _Tags()
    for call in calls:
        parameters = call["parameters"]
        request_tags = {tag["Key"]: tag["Value"] for tag in parameters.get("Tags") or [] if isinstance(tag, dict)}
        if call["role_arn"] and f":iam::{ACCOUNT}:role/release-" in call["role_arn"]:
            for need in _needs(call, request_tags, tags):
                yield call, need
        if request_tags and call["service"] in {"sagemaker", "cloudwatch"}:
            arn = parameters.get("ResourceArn") or (
                _alarm(parameters["AlarmName"]) if "AlarmName" in parameters else _sagemaker_arn(parameters)
            )
            tags.by_arn[arn] = tags.by_arn.get(arn, {}) | request_tags


def _needs(call: Call, request_tags: dict[str, str], tags: _Tags) -> Iterator[Need]:
    service, action, parameters = call["service"], call["action"], call["parameters"]
    if service == "s3":
        yield _of_s3(action, parameters)
    elif service == "sagemaker":
        yield from _of_sagemaker(action, parameters, request_tags, tags)
    elif service == "cloudwatch" and "Alarm" in action:
        yield from _of_alarms(action, parameters, request_tags, tags)
    else:
        yield _of_another(service, action, parameters)


def _of_s3(action: str, parameters: dict[str, Any]) -> Need:
    permission = _S3.get(action, action)
    bucket = f"arn:aws:s3:::{parameters['Bucket']}"
    if "Key" in parameters:
        return Need(f"s3:{permission}", f"{bucket}/{parameters['Key']}")
    return Need(f"s3:{permission}", bucket, {"s3:prefix": parameters.get("Prefix", "")} if permission == "ListBucket" else {})


def _of_sagemaker(action: str, parameters: dict[str, Any], request_tags: dict[str, str], tags: _Tags) -> Iterator[Need]:
    arn = parameters.get("ResourceArn") or _sagemaker_arn(parameters)
    context = {f"aws:RequestTag/{key}": value for key, value in request_tags.items()} | tags.of(arn)
    if "ModelApprovalStatus" in parameters:
        context["sagemaker:ModelApprovalStatus"] = parameters["ModelApprovalStatus"]
    if f"sagemaker:{action}" in _NOT_FOR_A_RESOURCE:
        yield Need(f"sagemaker:{action}", "*", context)
        return
    yield Need(f"sagemaker:{action}", arn, context)
    if action in {"CreateEndpoint", "UpdateEndpoint"}:  # of both, the endpoint and the config
        config = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:endpoint-config/{parameters['EndpointConfigName']}"
        yield Need(f"sagemaker:{action}", config, context | tags.of(config))
    if action.startswith("Create") and request_tags:
        yield Need("sagemaker:AddTags", arn, context | {"sagemaker:TaggingAction": action})
    role = parameters.get("RoleArn") or parameters.get("ExecutionRoleArn")
    if role and action.startswith(("Create", "Update")):
        yield Need("iam:PassRole", role, {"iam:PassedToService": "sagemaker.amazonaws.com"})


def _sagemaker_arn(parameters: dict[str, Any]) -> str:
    """The ARN of the resource that a SageMaker request is about."""
    for name in ("PipelineExecutionArn", "ModelPackageArn", "ModelPackageName", "PipelineName"):
        if str(parameters.get(name, "")).startswith("arn:"):
            return str(parameters[name])
    kind, name = next(((kind, parameters[key]) for key, kind in _NAMED.items() if key in parameters), ("", "*"))
    return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{kind}/{name}"


def _of_alarms(action: str, parameters: dict[str, Any], request_tags: dict[str, str], tags: _Tags) -> Iterator[Need]:
    """Each alarm is a resource; DescribeAlarms tells of composite ones, or by a prefix, only to whoever may ask for all."""
    if action == "DescribeAlarms":
        yield Need("cloudwatch:DescribeAlarms", "*")
        return
    for name in parameters.get("AlarmNames") or [parameters["AlarmName"]]:
        arn = _alarm(name)
        context = {f"aws:RequestTag/{key}": value for key, value in request_tags.items()} | tags.of(arn)
        yield Need(f"cloudwatch:{action}", arn, context)
        if request_tags:
            yield Need("cloudwatch:TagResource", arn, context)


def _alarm(name: str) -> str:
    return f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{name}"


def _of_another(service: str, action: str, parameters: dict[str, Any]) -> Need:
    permission = f"{service}:{action}"
    if permission in _NOT_FOR_A_RESOURCE:
        namespace = parameters.get("Namespace")
        return Need(permission, "*", {"cloudwatch:namespace": namespace} if namespace else {})
    match service:
        case "logs":
            resource = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{parameters['logGroupName']}:log-stream:"
        case "ecr":
            resource = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{parameters['repositoryName']}"
        case "secretsmanager":
            resource = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{parameters['SecretId']}-AbCdEf"
        case "application-autoscaling" if action != "DescribeScalableTargets":
            resource = f"arn:aws:application-autoscaling:{REGION}:{ACCOUNT}:scalable-target/0a1b"
            keys = {"service-namespace": "ServiceNamespace", "scalable-dimension": "ScalableDimension"}
            return Need(permission, resource, {f"{service}:{key}": parameters[name] for key, name in keys.items()})
        case "sts":
            resource = parameters["RoleArn"]
        case _:
            resource = "*"
    return Need(permission, resource)
