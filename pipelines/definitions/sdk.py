"""The parts of the SageMaker SDK that definitions are written with, imported in one place because importing them takes seconds.

Only the three definitions import this. The SDK's own `ProcessingStep` and `ModelStep` run their job's code to learn its arguments (a session,
S3 uploads, environment variables of their own); the step classes here hold a boto3-shaped request and emit exactly that, so that a
definition is a value: no network, no account, the same bytes every time (docs/decisions/0002).
"""

from __future__ import annotations

import logging
import os
from typing import Any

os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")  # sagemaker.mlops raises NoRegionError on import without one

import boto3
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.workflow.conditions import (
    ConditionEquals,
    ConditionGreaterThanOrEqualTo,
    ConditionLessThanOrEqualTo,
)
from sagemaker.core.workflow.execution_variables import ExecutionVariables
from sagemaker.core.workflow.functions import Join, JsonGet
from sagemaker.core.workflow.parameters import ParameterString
from sagemaker.core.workflow.properties import Properties, PropertyFile
from sagemaker.mlops.workflow.condition_step import ConditionStep
from sagemaker.mlops.workflow.fail_step import FailStep
from sagemaker.mlops.workflow.pipeline import Pipeline
from sagemaker.mlops.workflow.retry import (
    RetryPolicy,
    SageMakerJobExceptionTypeEnum,
    SageMakerJobStepRetryPolicy,
    StepExceptionTypeEnum,
    StepRetryPolicy,
)
from sagemaker.mlops.workflow.steps import CacheConfig, ConfigurableRetryStep, StepTypeEnum

for _name in ("sagemaker", "sagemaker.config", "botocore", "boto3", "httpx2"):  # the SDK turns INFO on for all of these
    logging.getLogger(_name).setLevel(logging.WARNING)

__all__ = [
    "CacheConfig",
    "ConditionEquals",
    "ConditionGreaterThanOrEqualTo",
    "ConditionLessThanOrEqualTo",
    "ConditionStep",
    "ExecutionVariables",
    "FailStep",
    "Join",
    "JsonGet",
    "ParameterString",
    "Pipeline",
    "Processing",
    "PropertyFile",
    "RegisterModel",
    "offline_pipeline",
]


def _retry_policies() -> list[RetryPolicy]:
    """Wait out a lack of capacity for up to six hours, a service error for a few minutes; a step's own failure is never retried."""
    return [
        StepRetryPolicy(
            exception_types=[StepExceptionTypeEnum.SERVICE_FAULT, StepExceptionTypeEnum.THROTTLING],
            interval_seconds=10,
            backoff_rate=2.0,
            max_attempts=5,
        ),
        SageMakerJobStepRetryPolicy(
            exception_types=[SageMakerJobExceptionTypeEnum.RESOURCE_LIMIT, SageMakerJobExceptionTypeEnum.CAPACITY_ERROR],
            interval_seconds=120,
            backoff_rate=1.5,
            expire_after_mins=360,
        ),
        SageMakerJobStepRetryPolicy(
            failure_reason_types=[SageMakerJobExceptionTypeEnum.INTERNAL_ERROR],
            interval_seconds=30,
            backoff_rate=2.0,
            max_attempts=3,
        ),
    ]


class _RequestStep(ConfigurableRetryStep):  # type: ignore[misc]  # the SDK has no type hints
    """A step whose `Arguments` are the request it was given."""

    step_kind: StepTypeEnum
    described_by: str

    def __init__(
        self,
        name: str,
        request: dict[str, Any],
        *,
        description: str,
        depends_on: list[Any] | None = None,
        retry_policies: list[RetryPolicy] | None = None,
    ) -> None:
        super().__init__(
            name, self.step_kind, description=description, depends_on=depends_on, retry_policies=retry_policies or []
        )
        self._request = request
        self._properties = Properties(step_name=name, step=self, shape_name=self.described_by)

    @property
    def arguments(self) -> dict[str, Any]:
        """The request."""
        return self._request

    @property
    def properties(self) -> Any:
        """What later steps may refer to."""
        return self._properties


class Processing(_RequestStep):
    """A processing job. `request` is a CreateProcessingJob request without the job's name."""

    step_kind = StepTypeEnum.PROCESSING
    described_by = "DescribeProcessingJobResponse"

    def __init__(
        self,
        name: str,
        request: dict[str, Any],
        *,
        description: str,
        property_files: list[PropertyFile] | None = None,
        depends_on: list[Any] | None = None,
        cache: CacheConfig | None = None,
    ) -> None:
        super().__init__(name, request, description=description, depends_on=depends_on, retry_policies=_retry_policies())
        self.property_files = property_files or []
        self._cache = cache

    def to_request(self) -> dict[str, Any]:
        """Return the step as it stands in the definition."""
        step: dict[str, Any] = super().to_request()
        if self._cache is not None:
            step.update(self._cache.config)
        if self.property_files:
            step["PropertyFiles"] = [file.expr for file in self.property_files]
        return step


class RegisterModel(_RequestStep):
    """A new version in the Model Registry. `request` is a CreateModelPackage request."""

    step_kind = StepTypeEnum.REGISTER_MODEL
    described_by = "DescribeModelPackageOutput"


def offline_pipeline(name: str, region: str, parameters: list[Any], steps: list[Any]) -> Pipeline:
    """Make a pipeline that needs neither credentials nor network until somebody sends it."""
    session = Session(boto_session=boto3.Session(region_name=region), default_bucket="unused")
    return Pipeline(name, parameters=parameters, steps=steps, sagemaker_session=session, pipeline_experiment_config=None)
