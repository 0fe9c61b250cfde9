"""The production endpoint as SageMaker and CloudWatch know it now, in whichever account it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import ClientError

from config.environment import Environment
from delivery.aws import client_errors
from delivery.names import VERSION_TAG
from pipelines.status.statuses import ProductionStatus, VariantStatus

if TYPE_CHECKING:  # the stubs are a dev dependency
    from types_boto3_sagemaker import SageMakerClient
    from types_boto3_sagemaker.type_defs import DescribeEndpointOutputTypeDef


class ProductionEndpoint:
    """The production endpoint, asked with the credentials of its account."""

    def __init__(self, session: boto3.Session, environment: Environment, endpoint: str) -> None:
        self._sagemaker = session.client("sagemaker")
        self._cloudwatch = session.client("cloudwatch")
        self._environment, self._endpoint = environment, endpoint

    def status(self) -> ProductionStatus:
        """Read the endpoint, what it serves and its alarms. ClientError where the credentials do not suffice."""
        account = self._environment.for_production.account_id
        try:
            found = self._sagemaker.describe_endpoint(EndpointName=self._endpoint)
        except ClientError as error:
            if not client_errors.is_absent(error):
                raise
            return ProductionStatus(self._endpoint, account, "absent")
        config = found.get("EndpointConfigName", "")
        return ProductionStatus(
            endpoint=self._endpoint,
            account_id=account,
            status=found["EndpointStatus"],
            version=self._version_of(config),
            config=config,
            variants=[
                VariantStatus(
                    variant["VariantName"],
                    int(variant.get("CurrentInstanceCount", 0)),
                    int(variant.get("DesiredInstanceCount", 0)),
                    float(variant.get("CurrentWeight", 1)),
                )
                for variant in found.get("ProductionVariants", [])
            ],
            alarms=self._alarms(config, found),
        )

    def _version_of(self, config: str) -> int | None:
        try:
            arn = self._sagemaker.describe_endpoint_config(EndpointConfigName=config)["EndpointConfigArn"]
        except ClientError as error:
            if not client_errors.is_absent(error):
                raise
            return None
        version = read_tags(self._sagemaker, arn).get(VERSION_TAG)
        return int(version) if version else None

    def _alarms(self, config: str, endpoint: DescribeEndpointOutputTypeDef) -> dict[str, str]:
        """Read the alarms that the project makes for what is served, and those that guarded the last update."""
        last = endpoint.get("LastDeploymentConfig") or {}
        guarded = [alarm["AlarmName"] for alarm in (last.get("AutoRollbackConfiguration") or {}).get("Alarms", [])]
        named = [*guarded, f"{self._endpoint}-no-instance"]
        found = self._cloudwatch.describe_alarms(AlarmNames=named)["MetricAlarms"]
        found += self._cloudwatch.describe_alarms(AlarmNamePrefix=f"{config}-")["MetricAlarms"] if config else []
        return dict.fromkeys(guarded, "absent") | {alarm["AlarmName"]: alarm["StateValue"] for alarm in found}


def read_tags(sagemaker: SageMakerClient, arn: str) -> dict[str, str]:
    """Read a resource's tags; none where it went away meanwhile."""
    try:
        return {
            tag["Key"]: tag["Value"]
            for page in sagemaker.get_paginator("list_tags").paginate(ResourceArn=arn)
            for tag in page["Tags"]
        }
    except ClientError as error:
        if client_errors.is_absent(error):
            return {}
        raise
