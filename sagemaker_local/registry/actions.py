"""The registry's actions, and tags."""

from __future__ import annotations

from typing import Any

from sagemaker_local.api.actions import ActionCall, action
from sagemaker_local.errors import AwsError, ValidationError
from sagemaker_local.registry import sharing
from sagemaker_local.registry.packages import ModelPackages, page_of
from sagemaker_local.state.paging import ordered, page
from sagemaker_local.state.records import listed, picked
from sagemaker_local.state.tags import Tags

JsonObject = dict[str, Any]

_GROUP_MEMBERS = (
    "ModelPackageGroupName", "ModelPackageGroupArn", "ModelPackageGroupDescription", "CreationTime", "ModelPackageGroupStatus"
)  # fmt: skip
_PACKAGE_MEMBERS = (
    "ModelPackageName", "ModelPackageGroupName", "ModelPackageVersion", "ModelPackageArn", "ModelPackageDescription", "CreationTime",
    "ModelPackageStatus", "ModelApprovalStatus", "ModelLifeCycle", "ModelPackageRegistrationType",
)  # fmt: skip
_BATCH_MEMBERS = (
    "ModelPackageGroupName", "ModelPackageVersion", "ModelPackageArn", "ModelPackageDescription", "CreationTime",
    "InferenceSpecification", "ModelPackageStatus", "ModelApprovalStatus", "ModelPackageRegistrationType",
)  # fmt: skip
_SORT = {"CreationTime": lambda record: record["CreationTime"]}


def _registry(call: ActionCall) -> ModelPackages:
    return call.context.part(ModelPackages)


@action("CreateModelPackageGroup")
def create_model_package_group(call: ActionCall, request: JsonObject) -> JsonObject:
    """Create a new group of versions."""
    arn = call.arn("model-package-group/" + request["ModelPackageGroupName"])
    _registry(call).create_group(call.region, arn, request)
    return {"ModelPackageGroupArn": arn}


@action("DescribeModelPackageGroup")
def describe_model_package_group(call: ActionCall, request: JsonObject) -> JsonObject:
    """Describe a group."""
    group = _registry(call).group(call.region, request["ModelPackageGroupName"])
    return {name: value for name, value in group.items() if name not in ("LastVersion", "Policy")}


@action("ListModelPackageGroups")
def list_model_package_groups(call: ActionCall, request: JsonObject) -> JsonObject:
    """List groups, newest first."""
    groups = listed(_registry(call).groups.all_in(call.region), request, "ModelPackageGroupName")
    keys = {**_SORT, "Name": lambda group: group["ModelPackageGroupName"]}
    return page(
        "ModelPackageGroupSummaryList", [picked(group, _GROUP_MEMBERS) for group in ordered(groups, request, keys)], request
    )


@action("DeleteModelPackageGroup")
def delete_model_package_group(call: ActionCall, request: JsonObject) -> None:
    """Delete an empty group."""
    _registry(call).delete_group(call.region, request["ModelPackageGroupName"])


@action("PutModelPackageGroupPolicy")
def put_model_package_group_policy(call: ActionCall, request: JsonObject) -> JsonObject:
    """Keep a group's resource policy: it lets other accounts use the group's versions (`sharing`)."""
    return {
        "ModelPackageGroupArn": _registry(call).set_policy(
            call.region, request["ModelPackageGroupName"], request["ResourcePolicy"]
        )
    }


@action("GetModelPackageGroupPolicy")
def get_model_package_group_policy(call: ActionCall, request: JsonObject) -> JsonObject:
    """Return a group's resource policy."""
    group = _registry(call).group(call.region, request["ModelPackageGroupName"])
    if "Policy" not in group:
        raise ValidationError(f"Cannot find resource policy for: {group['ModelPackageGroupArn']}")
    return {"ResourcePolicy": group["Policy"]}


@action("DeleteModelPackageGroupPolicy")
def delete_model_package_group_policy(call: ActionCall, request: JsonObject) -> None:
    """Forget a group's resource policy."""
    _registry(call).set_policy(call.region, request["ModelPackageGroupName"], None)


@action("CreateModelPackage")
def create_model_package(call: ActionCall, request: JsonObject) -> JsonObject:
    """Create a new version in a group, or an unversioned package."""
    return {"ModelPackageArn": _registry(call).create(call.region, request)}


@action("DescribeModelPackage")
def describe_model_package(call: ActionCall, request: JsonObject) -> JsonObject:
    """Describe a package; an unversioned one's name is its ModelPackageName, a version's is its group's."""
    package = sharing.package(call.context, call.region, request["ModelPackageName"], "sagemaker:DescribeModelPackage")
    return {"ModelPackageName": package.get("ModelPackageGroupName"), "CertifyForMarketplace": False, **package}


@action("UpdateModelPackage")
def update_model_package(call: ActionCall, request: JsonObject) -> JsonObject:
    """Change what the request names."""
    return {"ModelPackageArn": _registry(call).update(call.region, request)}


@action("DeleteModelPackage")
def delete_model_package(call: ActionCall, request: JsonObject) -> None:
    """Delete a package."""
    _registry(call).delete(call.region, request["ModelPackageName"])


@action("ListModelPackages")
def list_model_packages(call: ActionCall, request: JsonObject) -> JsonObject:
    """List packages, newest first."""
    found = page_of(listed(_registry(call).packages.all_in(call.region), request, "ModelPackageArn"), request)
    keys = {
        "CreationTime": lambda record: (record["CreationTime"], record.get("ModelPackageVersion", 0)),
        "Name": lambda record: record["ModelPackageArn"],
    }
    return page(
        "ModelPackageSummaryList", [picked(package, _PACKAGE_MEMBERS) for package in ordered(found, request, keys)], request
    )


@action("BatchDescribeModelPackage")
def batch_describe_model_package(call: ActionCall, request: JsonObject) -> JsonObject:
    """Describe several versions at once; those that cannot be read are named with their error."""
    summaries: JsonObject = {}
    errors: JsonObject = {}
    for arn in request["ModelPackageArnList"]:
        try:
            package = _registry(call).get(call.region, arn)
        except AwsError as error:
            errors[arn] = {"ErrorCode": error.code, "ErrorResponse": error.message}
        else:
            summaries[arn] = picked(package, _BATCH_MEMBERS)
    return {"ModelPackageSummaries": summaries, "BatchDescribeModelPackageErrorMap": errors}


@action("AddTags")
def add_tags(call: ActionCall, request: JsonObject) -> JsonObject:
    """Add tags to a resource."""
    arn = request["ResourceArn"]
    if not Tags.keeps(arn):
        return call.moto("AddTags", request)
    tags = Tags(call.context.store)
    tags.add(arn, request["Tags"])
    return {"Tags": tags.get(arn)}


@action("ListTags")
def list_tags(call: ActionCall, request: JsonObject) -> JsonObject:
    """List the tags of a resource."""
    arn = request["ResourceArn"]
    if not Tags.keeps(arn):
        return call.moto("ListTags", request)
    return page("Tags", Tags(call.context.store).get(arn), request)


@action("DeleteTags")
def delete_tags(call: ActionCall, request: JsonObject) -> JsonObject:
    """Take tags from a resource."""
    arn = request["ResourceArn"]
    if not Tags.keeps(arn):
        return call.moto("DeleteTags", request)
    Tags(call.context.store).remove(arn, request["TagKeys"])
    return {}
