"""Endpoints as the steps use them: made from a model package, updated, awaited, asked, deleted.

A deployment is three SageMaker resources with one name each: a model, an endpoint config, and the endpoint. The first two are never
changed: a new version gets new ones, named by model, version and execution, so that a step that died and runs again finds its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from config.environment import Purpose
from config.schema import Release
from steps.aws import explained, is_absent
from steps.errors import StepError
from steps.registry import ModelPackage, SageMakerClient

VARIANT = "AllTraffic"
_VERSION_TAG = "release:version"
EXPIRES_TAG = "release:expires-at"
MODEL_TAG = "release:model"
EXECUTION_TAG = "release:execution"
_LOG_GROUP = "/aws/sagemaker/Endpoints"
_LOG_LINES = 20
_POLL_S = 10.0
_QUICK_POLL_S = 0.25
_QUICK_FOR_S = 60.0
_DELETE_TIMEOUT_S = 1800.0
_BUSY = {"Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"}


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

    @property
    def name(self) -> str:
        """The name of the model and of the endpoint config: 63 characters at most, the same each time the step runs."""
        return f"{self.purpose}-{self.release.name[:36]}-v{self.package.version}-{self.execution[-8:]}".lower()

    @property
    def tags(self) -> list[dict[str, str]]:
        """The tags of everything it is made of."""
        tags = {
            MODEL_TAG: self.release.name,
            _VERSION_TAG: str(self.package.version),
            EXECUTION_TAG: self.execution,
        }
        if self.expires_at:
            tags[EXPIRES_TAG] = self.expires_at
        tags |= self.release.environment.tags
        return [{"Key": key, "Value": value} for key, value in tags.items()]


@dataclass(frozen=True)
class EndpointState:
    """An endpoint as it is now."""

    arn: str
    status: str
    config: str
    failure: str


class Hosting:
    """Endpoints of one account and region."""

    def __init__(self, sagemaker: SageMakerClient, logs: Any) -> None:
        """`sagemaker` and `logs` are boto3 clients."""
        self._sagemaker = sagemaker
        self._logs = logs

    def state(self, endpoint: str) -> EndpointState | None:
        """The endpoint as it is now, None when there is none."""
        from botocore.exceptions import ClientError

        with explained(f"look at the endpoint {endpoint}"):
            try:
                found = self._sagemaker.describe_endpoint(EndpointName=endpoint)
            except ClientError as error:
                if is_absent(error):
                    return None
                raise
        return EndpointState(
            found["EndpointArn"], found["EndpointStatus"], found.get("EndpointConfigName", ""), found.get("FailureReason", "")
        )

    def tags(self, arn: str) -> dict[str, str]:
        """The tags of a resource."""
        with explained(f"read the tags of {arn}"):
            listed = self._sagemaker.list_tags(ResourceArn=arn)["Tags"]
        return {tag["Key"]: tag["Value"] for tag in listed}

    def create(self, endpoint: str, deployment: Deployment) -> None:
        """Start the endpoint; does nothing where it is there already with this deployment (an earlier try of the same step)."""
        self._define(deployment)
        with explained(f"create the endpoint {endpoint}"), _if_absent():
            self._sagemaker.create_endpoint(EndpointName=endpoint, EndpointConfigName=deployment.name, Tags=deployment.tags)

    def update(self, endpoint: str, deployment: Deployment) -> None:
        """Start to replace what the endpoint serves, the way that the model file says."""
        self._define(deployment)
        production = deployment.release.model.production
        policy = production.update.deployment_config()
        if production.alarms:
            policy["AutoRollbackConfiguration"] = {"Alarms": [{"AlarmName": name} for name in production.alarms]}
        self._switch(endpoint, deployment.name, policy)

    def return_to(self, endpoint: str, config: str) -> None:
        """Start to give the endpoint back a config that it had before, all at once."""
        self._switch(endpoint, config, None)

    def version_of(self, config: str) -> int | None:
        """The version that an endpoint config serves, by its tag; None for one that this project did not make."""
        with explained(f"look at the endpoint config {config}"):
            arn = self._sagemaker.describe_endpoint_config(EndpointConfigName=config)["EndpointConfigArn"]
        version = self.tags(arn).get(_VERSION_TAG)
        return int(version) if version else None

    def tag(self, arn: str, deployment: Deployment) -> None:
        """Give a resource the tags of the deployment."""
        with explained(f"tag {arn}"):
            self._sagemaker.add_tags(ResourceArn=arn, Tags=deployment.tags)

    def wait(self, endpoint: str, timeout_s: float, on_progress: Callable[[str], None]) -> EndpointState:
        """Wait until the endpoint is no longer busy; returns it InService.

        StepError, with the last lines of the container's log, when it failed, is gone, or is still busy after `timeout_s`.
        """
        started = time.monotonic()
        said_s = -1
        while True:
            state = self.state(endpoint)
            elapsed = time.monotonic() - started
            if state is None:
                raise StepError(f"the endpoint {endpoint} is gone; somebody deleted it")
            if state.status == "InService":
                return state
            if state.status not in _BUSY:
                raise StepError(f"the endpoint {endpoint} is {state.status}: {state.failure}{self.last_words(endpoint)}")
            if elapsed > timeout_s:
                raise StepError(
                    f"the endpoint {endpoint} is still {state.status} after {elapsed:.0f} s{self.last_words(endpoint)}"
                )
            if int(elapsed) > said_s:
                said_s = int(elapsed)
                on_progress(f"{endpoint} is {state.status}, {said_s} s")
            time.sleep(_QUICK_POLL_S if elapsed < _QUICK_FOR_S else _POLL_S)

    def delete(self, endpoint: str) -> None:
        """Delete the endpoint and the config and models behind it; what is gone already is no error."""
        state = self.state(endpoint)
        if state is None:
            return
        self._delete_when_allowed(endpoint)
        if state.config:
            self.delete_config(state.config)

    def remove(self, name: str) -> None:
        """Delete the endpoint, the config and the model that share this name, each whether or not the others are there."""
        if self.state(name) is not None:
            self._delete_when_allowed(name)
        self.delete_config(name)
        self.delete_model(name)

    def wait_gone(self, endpoint: str) -> None:
        """Wait until a deleted endpoint is no longer there, so that its name is free. StepError when it stays."""
        deadline = time.monotonic() + _DELETE_TIMEOUT_S
        while self.state(endpoint) is not None:
            if time.monotonic() > deadline:
                raise StepError(
                    f"the endpoint {endpoint} is still being deleted after {_DELETE_TIMEOUT_S:.0f} s; try again later"
                )
            time.sleep(_QUICK_POLL_S)

    def delete_model(self, model: str) -> None:
        """Delete a model; one that is gone already is no error."""
        with explained(f"delete the model {model}"), _if_present():
            self._sagemaker.delete_model(ModelName=model)

    def delete_config(self, config: str) -> None:
        """Delete an endpoint config and its models."""
        models: list[str] = []
        with explained(f"delete the endpoint config {config}"), _if_present():
            variants = self._sagemaker.describe_endpoint_config(EndpointConfigName=config)["ProductionVariants"]
            models = [variant["ModelName"] for variant in variants]
            self._sagemaker.delete_endpoint_config(EndpointConfigName=config)
        for model in models:
            self.delete_model(model)

    def _delete_when_allowed(self, endpoint: str) -> None:
        """SageMaker refuses to delete an endpoint while it changes: ask again until it does not."""
        from botocore.exceptions import ClientError

        deadline = time.monotonic() + _DELETE_TIMEOUT_S
        with explained(f"delete the endpoint {endpoint}"), _if_present():
            while True:
                try:
                    self._sagemaker.delete_endpoint(EndpointName=endpoint)
                    return
                except ClientError as error:
                    if not is_busy(error) or time.monotonic() > deadline:
                        raise
                time.sleep(_QUICK_POLL_S)

    def log_tail(self, endpoint: str, lines: int = _LOG_LINES) -> list[str]:
        """The last lines that the endpoint's newest container wrote; empty when none wrote any."""
        from botocore.exceptions import ClientError

        group = f"{_LOG_GROUP}/{endpoint}"
        try:
            streams = self._logs.describe_log_streams(logGroupName=group, orderBy="LastEventTime", descending=True, limit=1)[
                "logStreams"
            ]
            if not streams:
                return []
            events = self._logs.get_log_events(
                logGroupName=group, logStreamName=streams[0]["logStreamName"], limit=lines, startFromHead=False
            )["events"]
        except ClientError:
            return []  # no log group: no container ever started
        return [event["message"].rstrip("\n") for event in events][-lines:]

    def _define(self, deployment: Deployment) -> None:
        """The model and the endpoint config of a deployment."""
        release = deployment.release
        environment, serving = release.environment, release.model.serving
        reservation = environment.reservation(serving.instance_type, deployment.purpose)
        model: dict[str, Any] = {
            "ModelName": deployment.name,
            "PrimaryContainer": _container(deployment),
            "ExecutionRoleArn": environment.roles.serve,
            "EnableNetworkIsolation": True,
            "Tags": deployment.tags,
        }
        if environment.subnets:
            model["VpcConfig"] = {"Subnets": environment.subnets, "SecurityGroupIds": environment.security_groups}
        variant: dict[str, Any] = {
            "VariantName": VARIANT,
            "ModelName": deployment.name,
            "InitialInstanceCount": deployment.instance_count,
            **serving.capacity(reservation.arn if reservation else None, may_fall_back=deployment.purpose == "production"),
            "RoutingConfig": {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"},
        }
        if environment.inference_ami_version:
            variant["InferenceAmiVersion"] = environment.inference_ami_version
        config: dict[str, Any] = {"EndpointConfigName": deployment.name, "ProductionVariants": [variant], "Tags": deployment.tags}
        if environment.kms_key:
            config["KmsKeyId"] = environment.kms_key
        with explained(f"create the model {deployment.name}"), _if_absent():
            self._sagemaker.create_model(**model)
        with explained(f"create the endpoint config {deployment.name}"), _if_absent():
            self._sagemaker.create_endpoint_config(**config)

    def _switch(self, endpoint: str, config: str, policy: dict[str, Any] | None) -> None:
        request = {"EndpointName": endpoint, "EndpointConfigName": config}
        with explained(f"update the endpoint {endpoint}"):
            self._sagemaker.update_endpoint(**request, **({"DeploymentConfig": policy} if policy else {}))

    def last_words(self, endpoint: str) -> str:
        """The end of its container's log, ready to be put behind an error message."""
        lines = self.log_tail(endpoint)
        return "".join(f"\n  | {line}" for line in lines) if lines else "; its container wrote nothing"


def _container(deployment: Deployment) -> dict[str, Any]:
    """What the model runs. SageMaker deploys approved versions only (API reference of CreateModelPackage, ModelApprovalStatus), and
    staging is where a version is before that: there its container is spelt out, the same image, environment and weights."""
    package = deployment.package
    if deployment.purpose == "production":
        return {"ModelPackageName": package.arn}
    return {name: package.container[name] for name in ("Image", "Environment", "ModelDataSource") if name in package.container}


def is_busy(error: BaseException) -> bool:
    """Whether SageMaker refuses because the endpoint is changing just now."""
    return "in-progress" in str(error)


@contextmanager
def _if_absent() -> Iterator[None]:
    """Creating what is there already is no error: an earlier try of the same step made it under the same name."""
    from botocore.exceptions import ClientError

    try:
        yield
    except ClientError as error:
        if "already exist" not in str(error):
            raise


@contextmanager
def _if_present() -> Iterator[None]:
    """Deleting what is gone is no error."""
    from botocore.exceptions import ClientError

    try:
        yield
    except ClientError as error:
        if not is_absent(error):
            raise
