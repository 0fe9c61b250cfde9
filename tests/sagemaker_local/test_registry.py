"""Model packages as a client sees them."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

SPECIFICATION = {
    "Containers": [
        {
            "Image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/tests:1",
            "ModelDataSource": {
                "S3DataSource": {"S3Uri": "s3://weights/m/", "S3DataType": "S3Prefix", "CompressionType": "None"}
            },
            "Environment": {"SM_X": "1"},
        }
    ],
    "SupportedContentTypes": ["application/json"],
    "SupportedResponseMIMETypes": ["application/json"],
    "SupportedRealtimeInferenceInstanceTypes": ["ml.p5.48xlarge"],
}


@pytest.fixture
def group(sagemaker: Any) -> str:
    name = f"Group-{uuid.uuid4().hex[:8]}"
    sagemaker.create_model_package_group(ModelPackageGroupName=name, ModelPackageGroupDescription="tests")
    return name


def create(sagemaker: Any, group: str, **more: Any) -> str:
    arn: str = sagemaker.create_model_package(ModelPackageGroupName=group, InferenceSpecification=SPECIFICATION, **more)[
        "ModelPackageArn"
    ]
    return arn


def test_every_field_round_trips(sagemaker: Any, group: str) -> None:
    fields: dict[str, Any] = {
        "ModelPackageDescription": "a model",
        "SourceUri": "https://hub/models/m",
        "Domain": "NATURAL_LANGUAGE_PROCESSING",
        "Task": "TEXT_GENERATION",
        "CustomerMetadataProperties": {"manifest": "abc", "revision": "def"},
        "ModelLifeCycle": {"Stage": "Development", "StageStatus": "PendingApproval"},
        "ModelCard": {"ModelCardContent": '{"model_overview": {}}', "ModelCardStatus": "Draft"},
        "ModelMetrics": {"ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": "s3://b/s.json"}}},
        "MetadataProperties": {"CommitId": "c0ffee"},
        "SkipModelValidation": "All",
        "SecurityConfig": {"KmsKeyId": "key"},
        "ModelApprovalStatus": "PendingManualApproval",
    }
    arn = create(sagemaker, group, Tags=[{"Key": "release:model", "Value": "m"}], **fields)
    described = sagemaker.describe_model_package(ModelPackageName=arn)
    assert {name: described[name] for name in fields} == fields
    assert described["InferenceSpecification"] == SPECIFICATION
    assert described["ModelPackageStatus"] == "Completed"
    assert described["ModelPackageVersion"] == 1
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "release:model", "Value": "m"}]


def test_an_update_touches_only_what_it_names(sagemaker: Any, group: str) -> None:
    arn = create(
        sagemaker, group, ModelApprovalStatus="Approved", CustomerMetadataProperties={"a": "1", "b": "2"}, SourceUri="s3://x"
    )
    before = sagemaker.describe_model_package(ModelPackageName=arn)
    sagemaker.update_model_package(
        ModelPackageArn=arn, CustomerMetadataProperties={"b": "3", "c": "4"}, CustomerMetadataPropertiesToRemove=["a"]
    )
    after = sagemaker.describe_model_package(ModelPackageName=arn)
    assert after["CustomerMetadataProperties"] == {"b": "3", "c": "4"}
    changed = {name for name in after if after[name] != before.get(name)} - {"ResponseMetadata"}
    assert changed == {"CustomerMetadataProperties", "LastModifiedTime", "LastModifiedBy"}


def test_approval_is_a_status_with_a_reason(sagemaker: Any, group: str) -> None:
    arn = create(sagemaker, group)
    assert sagemaker.describe_model_package(ModelPackageName=arn)["ModelApprovalStatus"] == "PendingManualApproval"
    sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Rejected", ApprovalDescription="too slow")
    described = sagemaker.describe_model_package(ModelPackageName=arn)
    assert (described["ModelApprovalStatus"], described["ApprovalDescription"]) == ("Rejected", "too slow")


def test_versions_are_numbered_and_a_number_is_not_given_twice(sagemaker: Any, group: str) -> None:
    arns = [create(sagemaker, group) for _ in range(3)]
    assert [arn.rpartition("/")[2] for arn in arns] == ["1", "2", "3"]
    sagemaker.delete_model_package(ModelPackageName=arns[2])
    assert create(sagemaker, group).endswith("/4")
    listed = sagemaker.list_model_packages(ModelPackageGroupName=group, SortBy="CreationTime", SortOrder="Descending")
    assert [package["ModelPackageVersion"] for package in listed["ModelPackageSummaryList"]] == [4, 2, 1]
    paginator = sagemaker.get_paginator("list_model_packages")
    pages = list(paginator.paginate(ModelPackageGroupName=group, PaginationConfig={"PageSize": 2}))
    assert [len(page["ModelPackageSummaryList"]) for page in pages] == [2, 1]


def test_the_latest_approved_version_can_be_asked_for(sagemaker: Any, group: str) -> None:
    create(sagemaker, group, ModelApprovalStatus="Approved")
    create(sagemaker, group)
    listed = sagemaker.list_model_packages(ModelPackageGroupName=group, ModelApprovalStatus="Approved", MaxResults=1)
    assert [package["ModelPackageVersion"] for package in listed["ModelPackageSummaryList"]] == [1]


def test_a_client_token_makes_creation_idempotent(sagemaker: Any, group: str) -> None:
    token = uuid.uuid4().hex
    assert create(sagemaker, group, ClientToken=token) == create(sagemaker, group, ClientToken=token)


def test_a_group_with_versions_cannot_be_deleted(sagemaker: Any, group: str) -> None:
    arn = create(sagemaker, group)
    with pytest.raises(ClientError, match="ConflictException"):
        sagemaker.delete_model_package_group(ModelPackageGroupName=group)
    sagemaker.delete_model_package(ModelPackageName=arn)
    sagemaker.delete_model_package_group(ModelPackageGroupName=group)
    with pytest.raises(ClientError, match="does not exist"):
        sagemaker.describe_model_package_group(ModelPackageGroupName=group)


def test_wrong_requests_are_refused_as_the_service_refuses_them(sagemaker: Any, group: str, server: Any) -> None:
    with pytest.raises(ClientError, match="does not exist"):
        create(sagemaker, "no-such-group")
    with pytest.raises(ClientError, match="already exists"):
        sagemaker.create_model_package_group(ModelPackageGroupName=group)
    from botocore.config import Config

    unchecked = server.client("sagemaker", config=Config(parameter_validation=False))
    with pytest.raises(ClientError) as caught:
        unchecked.update_model_package(
            ModelPackageArn="arn:aws:sagemaker:us-east-1:123456789012:model-package/x/1", ModelApprovalStatus="Maybe"
        )
    assert caught.value.response["Error"]["Message"] == (
        "1 validation error detected: Value 'Maybe' at 'modelApprovalStatus' failed to satisfy constraint: "
        "Member must satisfy enum value set: [Approved, Rejected, PendingManualApproval]"
    )
    with pytest.raises(ClientError) as caught:
        unchecked.describe_model_package()
    assert "Value null at 'modelPackageName'" in caught.value.response["Error"]["Message"]
