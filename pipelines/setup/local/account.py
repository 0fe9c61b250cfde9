"""What an account has before the first release, on this machine: bucket, EventBridge rule, secret. In AWS, infra/ makes them."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, cast

import boto3

from config.environment import Environment
from config.schema import PACKAGE_GROUP_PREFIX
from delivery.names import PROMOTION_PIPELINE

if TYPE_CHECKING:  # the stubs are a dev dependency
    from types_boto3_events.type_defs import TargetTypeDef
    from types_boto3_s3.literals import BucketLocationConstraintType
    from types_boto3_s3.type_defs import CreateBucketRequestTypeDef

APPROVAL_RULE = "release-approved"
"""The EventBridge rule that an approval in the registry meets, here as in infra/delivery.yaml."""


def prepare(environment: Environment) -> None:
    """Make what infra/ makes in an AWS account: the bucket, the rule for approvals, and the Hub's token if the user has one. Idempotent."""
    _put_approval_rule(environment)

    s3 = boto3.client("s3", region_name=environment.region)
    if environment.bucket not in {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}:
        request: CreateBucketRequestTypeDef = {"Bucket": environment.bucket}
        if environment.region != "us-east-1":
            request["CreateBucketConfiguration"] = {
                "LocationConstraint": cast("BucketLocationConstraintType", environment.region)
            }
        s3.create_bucket(**request)
    token = os.environ.get("HF_TOKEN")
    if token and environment.hub_token_secret:
        secrets = boto3.client("secretsmanager", region_name=environment.region)
        try:
            secrets.create_secret(Name=environment.hub_token_secret, SecretString=token)
        except secrets.exceptions.ResourceExistsException:
            secrets.put_secret_value(SecretId=environment.hub_token_secret, SecretString=token)


def _put_approval_rule(environment: Environment) -> None:
    """Put the EventBridge rule of infra/delivery.yaml: a version that is approved in the registry starts the promotion pipeline.

    One that is there already is left as it is, disabled if somebody disabled it.
    """
    events = boto3.client("events", region_name=environment.region)
    try:
        events.describe_rule(Name=APPROVAL_RULE)
        return
    except events.exceptions.ResourceNotFoundException:
        pattern = {
            "source": ["aws.sagemaker"],
            "detail-type": ["SageMaker Model Package State Change"],
            "detail": {"ModelPackageGroupName": [{"prefix": PACKAGE_GROUP_PREFIX}], "ModelApprovalStatus": ["Approved"]},
        }
        events.put_rule(Name=APPROVAL_RULE, EventPattern=json.dumps(pattern), State="ENABLED")
    pipeline = f"arn:aws:sagemaker:{environment.region}:{environment.account_id}:pipeline/{PROMOTION_PIPELINE}"
    target: TargetTypeDef = {
        "Id": "promotion",
        "Arn": pipeline,
        "RoleArn": f"arn:aws:iam::{environment.account_id}:role/release-events",
        "SageMakerPipelineParameters": {
            "PipelineParameterList": [{"Name": "ModelPackageArn", "Value": "$.detail.ModelPackageArn"}]
        },
    }
    events.put_targets(Rule=APPROVAL_RULE, Targets=[target])
