"""The AWS clients of a promotion: the registry's account, and the account that production is in, which may be another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import boto3
from botocore.config import Config

from config.environment import Environment
from delivery.aws import s3
from delivery.aws.accounts import production_session
from delivery.endpoint.hosting import Hosting
from steps.promote.endpoint.alarms import Alarms
from steps.promote.endpoint.autoscaling import EndpointAutoscaling

if TYPE_CHECKING:
    from types_boto3_ecr.client import ECRClient
    from types_boto3_s3.client import S3Client
    from types_boto3_sagemaker.client import SageMakerClient
    from types_boto3_sagemaker_runtime.client import SageMakerRuntimeClient

_PATIENT = Config(retries={"mode": "standard", "total_max_attempts": 10})
"""A throttled call in the middle of an update must not end the step: it is tried for minutes."""


@dataclass(frozen=True)
class PromotionClients:
    """Everything that a promotion talks to."""

    registry: SageMakerClient
    """SageMaker of the environment's own account, where the versions are."""
    s3: S3Client
    """Of the environment's own account, where the bucket is."""
    make_ecr: Callable[[str], ECRClient]
    """Gives an ECR client of a region."""
    hosting: Hosting
    """Endpoints of production's account; so is what follows."""
    runtime: SageMakerRuntimeClient
    alarms: Alarms
    scaling: EndpointAutoscaling

    @classmethod
    def of(cls, environment: Environment, endpoint: str, execution: str) -> Self:
        """Make the clients for promotions to this endpoint; `execution` names the session in production's account."""
        region = environment.region
        there = production_session(environment, execution)
        return cls(
            boto3.client("sagemaker", region_name=region, config=_PATIENT),
            s3.client(region),
            lambda ecr_region: boto3.client("ecr", region_name=ecr_region, config=_PATIENT),
            Hosting(there.client("sagemaker", config=_PATIENT), there.client("logs", config=_PATIENT)),
            there.client("sagemaker-runtime", config=_PATIENT),
            Alarms(there.client("cloudwatch", config=_PATIENT), endpoint),
            EndpointAutoscaling(there.client("application-autoscaling", config=_PATIENT), endpoint),
        )
