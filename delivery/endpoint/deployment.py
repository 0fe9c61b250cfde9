"""A version as one endpoint serves it, and the SageMaker requests that make it so: a model and an endpoint config of the same name.

Both are never changed: a new version gets new ones, named by model, version and execution, so that a step that died and runs again
finds its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from config.environment import Environment, Purpose
from config.production import DataCapture
from config.schema import Release
from delivery.names import ENDPOINT_TAG, EXECUTION_TAG, EXPIRES_TAG, MODEL_TAG, PREVIOUS_TAG, VERSION_TAG
from delivery.registry.model_packages import ModelPackage

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import TagTypeDef

VARIANT = "AllTraffic"
STAGING_METRICS_S = 10
"""How often SageMaker publishes what a staging endpoint's engine says of itself: the shortest that MetricsConfig takes. Seconds."""
_CAPTURED = {"input": ["Input"], "output": ["Output"], "both": ["Input", "Output"]}
_CONTAINER_MEMBERS = ("Image", "Environment", "ModelDataSource")


@dataclass(frozen=True)
class Deployment:
    """A version as one endpoint serves it."""

    release: Release
    package: ModelPackage
    purpose: Purpose
    """`staging` or `production`: the first word of the model's and the config's names."""
    execution: str
    """The pipeline execution that made it."""
    instance_count: int
    expires_at: str | None = None
    """ISO 8601 UTC, for what must not outlive its run; the reaper deletes what is past it."""
    previous: str | None = None
    """The endpoint config that production served before: what it goes back to when this one fails its prompt checks."""
    spelt_out: bool = False
    """Whether the container is spelt out and not named: for a version that the registry may not have any more. Staging always is."""
    is_baseline: bool = False
    """Whether it is on staging to be compared with: its names are others than those of the version that is evaluated, which may be the same."""

    @property
    def name(self) -> str:
        """The name of the model and of the endpoint config: 63 characters at most, the same each time the step runs."""
        begin = prefix(self.purpose, self.release)
        return f"{f'{begin[:-1]}b' if self.is_baseline else begin}{self.package.version}-{self.execution[-8:]}".lower()

    @property
    def tags(self) -> list[TagTypeDef]:
        """The tags of everything it is made of."""
        tags = {
            MODEL_TAG: self.release.name,
            VERSION_TAG: str(self.package.version),
            EXECUTION_TAG: self.execution,
        }
        if self.purpose == "production":
            tags[ENDPOINT_TAG] = self.release.model.production.endpoint
        if self.expires_at:
            tags[EXPIRES_TAG] = self.expires_at
        if self.previous:
            tags[PREVIOUS_TAG] = self.previous
        tags |= self.release.environment.tags
        return [{"Key": key, "Value": value} for key, value in tags.items()]

    @property
    def environment(self) -> Environment:
        """The environment that its endpoint is in: production may be in another account."""
        environment = self.release.environment
        return environment.for_production if self.purpose == "production" else environment

    def model_request(self) -> dict[str, Any]:
        """Make the CreateModel request."""
        environment = self.environment
        request: dict[str, Any] = {
            "ModelName": self.name,
            "PrimaryContainer": self._container(),
            "ExecutionRoleArn": environment.roles.serve,
            "EnableNetworkIsolation": True,
            "Tags": self.tags,
        }
        if environment.subnets:
            request["VpcConfig"] = {"Subnets": environment.subnets, "SecurityGroupIds": environment.security_groups}
        return request

    def config_request(self) -> dict[str, Any]:
        """Make the CreateEndpointConfig request."""
        environment, model = self.environment, self.release.model
        reservation = environment.reservation(model.serving.instance_type, self.purpose)
        variant: dict[str, Any] = {
            "VariantName": VARIANT,
            "ModelName": self.name,
            "InitialInstanceCount": self.instance_count,
            **model.serving.capacity(reservation.arn if reservation else None, may_fall_back=self.purpose == "production"),
            "RoutingConfig": model.production.routing.routing_config(),
        }
        if environment.inference_ami_version:
            variant["InferenceAmiVersion"] = environment.inference_ami_version
        request: dict[str, Any] = {"EndpointConfigName": self.name, "ProductionVariants": [variant], "Tags": self.tags}
        if environment.kms_key:
            request["KmsKeyId"] = environment.kms_key
        if self.purpose == "staging" and model.serving.sglang.get("enable-metrics"):  # else the engine has nothing to say
            request["MetricsConfig"] = {"EnableDetailedObservability": True, "MetricPublishFrequencyInSeconds": STAGING_METRICS_S}
        capture = model.production.data_capture
        if capture and self.purpose == "production":
            request["DataCaptureConfig"] = self._data_capture(capture)
        return request

    def _container(self) -> dict[str, Any]:
        """Describe what the model runs.

        SageMaker deploys approved versions only (API reference of CreateModelPackage, ModelApprovalStatus), and staging is where a version is
        before that: there its container is spelt out, the same image, environment and weights.
        """
        if self.purpose == "production" and not self.spelt_out:
            return {"ModelPackageName": self.package.arn}
        return {name: self.package.container[name] for name in _CONTAINER_MEMBERS if name in self.package.container}

    def _data_capture(self, capture: DataCapture) -> dict[str, Any]:
        config: dict[str, Any] = {
            "EnableCapture": True,
            "InitialSamplingPercentage": capture.percent,
            "DestinationS3Uri": f"s3://{self.release.environment.bucket}/capture/{self.release.model.production.endpoint}",
            "CaptureOptions": [{"CaptureMode": mode} for mode in _CAPTURED[capture.content]],
            "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
        }
        if self.release.environment.kms_key:
            config["KmsKeyId"] = self.release.environment.kms_key
        return config


def prefix(purpose: Purpose, release: Release) -> str:
    """Return what the names of a model's deployments begin with.

    Args:
        purpose: `staging` or `production`.
        release: The resolved model file.
    """
    return f"{purpose}-{release.name[:36]}-v"
