"""What an account has before the first release, on this machine: bucket, EventBridge rules, secret. In AWS, infra/ makes them."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import boto3

from config.environment import Environment
from config.schema import PACKAGE_GROUP_PREFIX
from delivery.names import PROMOTION_PIPELINE, REAP_PIPELINE

if TYPE_CHECKING:  # the stubs are a dev dependency
    from types_boto3_events.type_defs import TargetTypeDef
    from types_boto3_s3.literals import BucketLocationConstraintType
    from types_boto3_s3.type_defs import CreateBucketRequestTypeDef

APPROVAL_RULE = "release-approved"
"""The EventBridge rule that an approval in the registry meets, here as in infra/delivery.yaml."""
REAP_RULE = "release-reap"
"""The EventBridge rule that starts the reaper every hour, likewise."""


def prepare(environment: Environment) -> None:
    """Make what infra/ makes in an AWS account: bucket, rules, and the secret with the Hub's token if the user has one. Idempotent."""
    approved = {
        "source": ["aws.sagemaker"],
        "detail-type": ["SageMaker Model Package State Change"],
        "detail": {"ModelPackageGroupName": [{"prefix": PACKAGE_GROUP_PREFIX}], "ModelApprovalStatus": ["Approved"]},
    }
    version = {"PipelineParameterList": [{"Name": "ModelPackageArn", "Value": "$.detail.ModelPackageArn"}]}
    _put_rule(
        environment,
        APPROVAL_RULE,
        PROMOTION_PIPELINE,
        {"EventPattern": json.dumps(approved)},
        {"SageMakerPipelineParameters": version},
    )
    _put_rule(environment, REAP_RULE, REAP_PIPELINE, {"ScheduleExpression": "rate(1 hour)"}, {})

    s3 = boto3.client("s3", region_name=environment.region)
    if environment.bucket not in {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}:
        request: CreateBucketRequestTypeDef = {"Bucket": environment.bucket}
        if environment.region != "us-east-1":
            request["CreateBucketConfiguration"] = {
                "LocationConstraint": cast("BucketLocationConstraintType", environment.region)
            }
        with suppress(s3.exceptions.BucketAlreadyOwnedByYou):  # made by a request whose answer got lost
            s3.create_bucket(**request)
    token = os.environ.get("HF_TOKEN")
    if token and environment.hub_token_secret:
        secrets = boto3.client("secretsmanager", region_name=environment.region)
        try:
            secrets.create_secret(Name=environment.hub_token_secret, SecretString=token)
        except secrets.exceptions.ResourceExistsException:
            secrets.put_secret_value(SecretId=environment.hub_token_secret, SecretString=token)


def _put_rule(environment: Environment, name: str, pipeline: str, when: dict[str, str], more: dict[str, Any]) -> None:
    """Put a rule of infra/delivery.yaml, which starts a pipeline: `when` it does, and what `more` its target has.

    One that is there already is left as it is, disabled if somebody disabled it, unless it starts nothing: whoever made it was ended too early.
    """
    events = boto3.client("events", region_name=environment.region)
    try:
        events.describe_rule(Name=name)
        if events.list_targets_by_rule(Rule=name)["Targets"]:
            return
    except events.exceptions.ResourceNotFoundException:
        events.put_rule(Name=name, State="ENABLED", **cast("Any", when))
    target = {
        "Id": pipeline,
        "Arn": f"arn:aws:sagemaker:{environment.region}:{environment.account_id}:pipeline/{pipeline}",
        "RoleArn": f"arn:aws:iam::{environment.account_id}:role/release-events",
    }
    events.put_targets(Rule=name, Targets=[cast("TargetTypeDef", target | more)])
