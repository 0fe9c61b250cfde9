"""Endpoints as the steps use them: made from a deployment, updated, awaited, deleted. What a deployment is, `delivery.endpoint.deployment` says.

Every change is idempotent: making what is there, deleting what is gone and updating to what is under way change nothing, so that a step
that was killed runs again. SageMaker's refusal of an endpoint that is changing just now is transient: it is asked again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from delivery.aws.client_errors import is_absent, is_taken, translate_client_errors
from delivery.aws.clock import ServiceClock
from delivery.endpoint.deployment import Deployment
from delivery.errors import DeliveryError
from delivery.names import EXECUTION_TAG, VERSION_TAG

if TYPE_CHECKING:
    from types_boto3_logs.client import CloudWatchLogsClient
    from types_boto3_sagemaker.client import SageMakerClient
    from types_boto3_sagemaker.type_defs import DeploymentConfigTypeDef, DescribeEndpointConfigOutputTypeDef

logger = logging.getLogger(__name__)

_LOG_GROUP = "/aws/sagemaker/Endpoints"
_LOG_LINES = 20
_POLL_S = 10.0
_QUICK_POLL_S = 0.25
_QUICK_FOR_S = 60.0
_DELETE_TIMEOUT_S = 1800.0
_OF_METRICS = ("MetricsConfig", "DetailedObservability", "detailed observability", "MetricPublishFrequency")
_BUSY = {"Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"}


@dataclass(frozen=True)
class EndpointState:
    """An endpoint as it is now."""

    arn: str
    status: str
    config: str
    """The endpoint config that it serves; empty before it ever served one."""
    failure: str
    images: tuple[str, ...] = ()
    """What its instances run, as SageMaker resolved it: REPOSITORY@DIGEST on AWS."""
    pending: str = ""
    """The endpoint config that it is being given; empty when none is."""
    created: datetime | None = None
    """When it was made: tells it from another one of its name."""

    @property
    def is_busy(self) -> bool:
        """Whether it is changing just now."""
        return self.status in _BUSY

    @property
    def has_failed(self) -> bool:
        """Whether it serves nobody and can only be deleted (API reference of DescribeEndpoint, EndpointStatus)."""
        return self.status == "Failed"


class Hosting:
    """Endpoints of one account and region."""

    def __init__(self, sagemaker: SageMakerClient, logs: CloudWatchLogsClient) -> None:
        """`sagemaker` and `logs` are boto3 clients."""
        self._sagemaker = sagemaker
        self._logs = logs
        self.clock = ServiceClock()
        """SageMaker's, as of the last look at an endpoint."""

    def state(self, endpoint: str) -> EndpointState | None:
        """Look at the endpoint.

        Args:
            endpoint: Its name.

        Returns:
            The endpoint as it is now; None when there is none.

        Raises:
            DeliveryError: SageMaker refused, or could not be reached. So do all methods of this class.
        """
        with translate_client_errors(f"look at the endpoint {endpoint}"):
            asked_at = time.monotonic()
            try:
                found = self._sagemaker.describe_endpoint(EndpointName=endpoint)
                self.clock.note(found, asked_at)
            except ClientError as error:
                self.clock.note(error.response, asked_at)
                if is_absent(error):
                    return None
                raise
        images = [image for variant in found.get("ProductionVariants", []) for image in variant.get("DeployedImages", [])]
        return EndpointState(
            found["EndpointArn"],
            found["EndpointStatus"],
            found.get("EndpointConfigName", ""),
            found.get("FailureReason", ""),
            tuple(image["ResolvedImage"] for image in images if "ResolvedImage" in image),
            found.get("PendingDeploymentSummary", {}).get("EndpointConfigName", ""),
            found.get("CreationTime"),
        )

    def tags(self, arn: str) -> dict[str, str]:
        """Read the tags of a resource."""
        with translate_client_errors(f"read the tags of {arn}"):
            listed = self._sagemaker.list_tags(ResourceArn=arn)["Tags"]
        return {tag["Key"]: tag["Value"] for tag in listed}

    def create(self, endpoint: str, deployment: Deployment) -> None:
        """Start the endpoint. Idempotent: nothing happens where the same execution made it (an earlier try, or one whose answer got lost).

        Args:
            endpoint: Its name.
            deployment: What it is to serve.

        Raises:
            DeliveryError: SageMaker refused, or somebody else has made an endpoint of this name.
        """
        self.define(deployment)
        with translate_client_errors(f"create the endpoint {endpoint}"):
            try:
                self._sagemaker.create_endpoint(EndpointName=endpoint, EndpointConfigName=deployment.name, Tags=deployment.tags)
            except ClientError as error:
                if not is_taken(error):
                    raise
                self._check_maker(endpoint, deployment)
            except BotoCoreError:
                if not self._is_made(endpoint, deployment):  # else each answer got lost, and the request did not
                    raise

    def switch(
        self, endpoint: str, config: str, policy: dict[str, Any], *, keep_counts: bool, before_each_try: Callable[[], None]
    ) -> None:
        """Start to give the endpoint another config. Idempotent: an update that was accepted and whose answer got lost is not asked for again.

        While something else changes the endpoint (autoscaling), it asks again.

        Args:
            endpoint: Its name.
            config: The endpoint config that it is to serve.
            policy: How, a boto3 DeploymentConfig.
            keep_counts: Keep as many instances as it has, whatever the config says: autoscaling chose them.
            before_each_try: Called before each request; what it raises goes through.

        Raises:
            DeliveryError: SageMaker refused, or something else changed the endpoint for more than half an hour.
        """
        started = time.monotonic()
        with translate_client_errors(f"update the endpoint {endpoint}"):
            while True:
                before_each_try()
                try:
                    self._sagemaker.update_endpoint(
                        EndpointName=endpoint,
                        EndpointConfigName=config,
                        DeploymentConfig=cast("DeploymentConfigTypeDef", policy),
                        RetainAllVariantProperties=keep_counts,
                    )
                    return
                except ClientError as error:
                    if not is_busy(error) or time.monotonic() - started > _DELETE_TIMEOUT_S:
                        raise
                state = self.state(endpoint)
                if state is not None and config in {state.config, state.pending}:
                    return  # boto3 sends a request again whose answer got lost: what is in progress is this very update
                _pause(started)

    def config(self, name: str) -> DescribeEndpointConfigOutputTypeDef | None:
        """Read an endpoint config; None when there is no such config."""
        with translate_client_errors(f"look at the endpoint config {name}"):
            try:
                found = self._sagemaker.describe_endpoint_config(EndpointConfigName=name)
            except ClientError as error:
                if is_absent(error):
                    return None
                raise
        return found

    def config_tags(self, name: str) -> dict[str, str]:
        """Read the tags of an endpoint config; none when there is no such config."""
        found = self.config(name)
        return self.tags(found["EndpointConfigArn"]) if found else {}

    def version_of(self, config: str) -> int | None:
        """Return the version that an endpoint config serves, by its tag; None for one that this project did not make."""
        version = self.config_tags(config).get(VERSION_TAG)
        return int(version) if version else None

    def definitions(self, prefix: str) -> set[str]:
        """List the names of all endpoint configs and models that begin so."""
        found: set[str] = set()
        with translate_client_errors(f"list the endpoint configs and models called {prefix}…"):
            for configs in self._sagemaker.get_paginator("list_endpoint_configs").paginate(NameContains=prefix):
                found |= {config["EndpointConfigName"] for config in configs["EndpointConfigs"]}
            for models in self._sagemaker.get_paginator("list_models").paginate(NameContains=prefix):
                found |= {model["ModelName"] for model in models["Models"]}
        return {name for name in found if name.startswith(prefix)}

    def model_tags(self, name: str) -> dict[str, str]:
        """Read the tags of a model; none when there is no such model."""
        with translate_client_errors(f"look at the model {name}"):
            try:
                arn = self._sagemaker.describe_model(ModelName=name)["ModelArn"]
            except ClientError as error:
                if is_absent(error):
                    return {}
                raise
        return self.tags(arn)

    def tag(self, arn: str, deployment: Deployment) -> None:
        """Give a resource the tags of the deployment."""
        with translate_client_errors(f"tag {arn}"):
            self._sagemaker.add_tags(ResourceArn=arn, Tags=deployment.tags)

    def wait(
        self,
        endpoint: str,
        timeout_s: float,
        on_progress: Callable[[str], None],
        on_poll: Callable[[], None] = lambda: None,
    ) -> EndpointState:
        """Wait until the endpoint is no longer busy.

        Args:
            endpoint: Its name.
            timeout_s: How long.
            on_progress: Told how long it has been what it is, at most once a second.
            on_poll: Called at each look at it; what it raises goes through.

        Returns:
            The endpoint, InService.

        Raises:
            DeliveryError: It failed, is gone, or is still busy; with the last lines of its container's log.
        """
        started = time.monotonic()
        said_s = -1
        while True:
            on_poll()
            state = self.state(endpoint)
            elapsed = time.monotonic() - started
            if state is None:
                raise DeliveryError(f"the endpoint {endpoint} is gone; somebody deleted it")
            if state.status == "InService":
                return state
            if state.status not in _BUSY:
                raise DeliveryError(f"the endpoint {endpoint} is {state.status}: {state.failure}{self.recent_logs(endpoint)}")
            if elapsed > timeout_s:
                raise DeliveryError(
                    f"the endpoint {endpoint} is still {state.status} after {elapsed:.0f} s{self.recent_logs(endpoint)}"
                )
            if int(elapsed) > said_s:
                said_s = int(elapsed)
                on_progress(f"{endpoint} is {state.status}, {said_s} s")
            _pause(started)

    def delete(self, endpoint: str, *, before_each_try: Callable[[], None] = lambda: None) -> None:
        """Delete the endpoint; what is behind it stays. Idempotent: what is gone already is no error.

        While something changes the endpoint, it asks again.

        Args:
            endpoint: Its name.
            before_each_try: Called before each request; what it raises goes through.

        Raises:
            DeliveryError: SageMaker refused, or something changed the endpoint for more than half an hour.
        """
        if self.state(endpoint) is not None:
            self._delete_when_allowed(endpoint, before_each_try)

    def remove(self, name: str) -> None:
        """Delete the endpoint, the config and the model that share this name: those that are there."""
        if self.state(name) is not None:
            self._delete_when_allowed(name)
        self.undefine(name)

    def undefine(self, name: str) -> None:
        """Delete the config and the model of a deployment: those that are there, since a role that may delete by tag may not delete what is not."""
        if name not in self.delete_config(name) and self._has_model(name):
            self.delete_model(name)

    def wait_gone(self, endpoint: str) -> None:
        """Wait until a deleted endpoint is no longer there, so that its name is free. DeliveryError when it stays."""
        started = time.monotonic()
        while self.state(endpoint) is not None:
            if time.monotonic() - started > _DELETE_TIMEOUT_S:
                raise DeliveryError(
                    f"the endpoint {endpoint} is still being deleted after {_DELETE_TIMEOUT_S:.0f} s; try again later"
                )
            _pause(started)

    def delete_model(self, model: str) -> None:
        """Delete a model; one that is gone already is no error."""
        with translate_client_errors(f"delete the model {model}"), _if_present():
            self._sagemaker.delete_model(ModelName=model)

    def delete_config(self, config: str) -> list[str]:
        """Delete an endpoint config and its models; returns the models' names, none where the config is gone already.

        What is gone has no tags: a role that may delete by tag is refused there, so that nothing is deleted twice.
        """
        models: list[str] = []
        with translate_client_errors(f"delete the endpoint config {config}"), _if_present():
            variants = self._sagemaker.describe_endpoint_config(EndpointConfigName=config)["ProductionVariants"]
            models = [variant["ModelName"] for variant in variants]
            self._sagemaker.delete_endpoint_config(EndpointConfigName=config)
        for model in models:
            self.delete_model(model)
        return models

    def _delete_when_allowed(self, endpoint: str, before_each_try: Callable[[], None] = lambda: None) -> None:
        """Ask SageMaker to delete an endpoint until it does: it refuses while the endpoint changes."""
        started = time.monotonic()
        with translate_client_errors(f"delete the endpoint {endpoint}"), _if_present():
            while True:
                before_each_try()
                try:
                    self._sagemaker.delete_endpoint(EndpointName=endpoint)
                    return
                except ClientError as error:
                    if not is_busy(error) or time.monotonic() - started > _DELETE_TIMEOUT_S:
                        raise
                _pause(started)

    def _check_maker(self, endpoint: str, deployment: Deployment) -> None:
        """Raise a DeliveryError unless the endpoint was made by the execution that the deployment is of."""
        state = self.state(endpoint)
        if state is None:
            raise DeliveryError(f"somebody made the endpoint {endpoint} and deleted it again at the same moment; start again")
        maker = self.tags(state.arn).get(EXECUTION_TAG)
        if maker != deployment.execution:
            raise DeliveryError(
                f"the endpoint {endpoint} was made at the same moment by {maker or 'somebody else'}, not by {deployment.execution}; "
                "delete it if nobody needs it, then start again"
            )

    def _is_made(self, endpoint: str, deployment: Deployment) -> bool:
        """Tell whether the endpoint is there and made by the deployment's execution; False where nobody says."""
        try:
            self._check_maker(endpoint, deployment)
        except DeliveryError:
            return False
        return True

    def _has_model(self, model: str) -> bool:
        with translate_client_errors(f"look at the model {model}"):
            try:
                self._sagemaker.describe_model(ModelName=model)
            except ClientError as error:
                if is_absent(error):
                    return False
                raise
        return True

    def log_tail(self, endpoint: str, lines: int = _LOG_LINES) -> list[str]:
        """Read the last lines that the endpoint's newest container wrote; none when none wrote any."""
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
        except (ClientError, BotoCoreError):
            return []  # no log group: no container ever started; or the logs cannot be had, which hides no reason
        return [event["message"].rstrip("\n") for event in events][-lines:]

    def define(self, deployment: Deployment) -> None:
        """Make the model and the endpoint config of a deployment; what is there already is an earlier try's and stays."""
        with translate_client_errors(f"create the model {deployment.name}"), _if_absent():
            self._sagemaker.create_model(**deployment.model_request())
        with translate_client_errors(f"create the endpoint config {deployment.name}"), _if_absent():
            self._create_config(deployment.config_request())

    def _create_config(self, request: dict[str, Any]) -> None:
        """Create an endpoint config; where its metrics are refused, by a Region or a botocore that has none, without: they decide nothing."""
        try:
            self._sagemaker.create_endpoint_config(**request)
        except (ClientError, ParamValidationError) as error:
            if "MetricsConfig" not in request or not any(word in str(error) for word in _OF_METRICS):
                raise
            logger.warning(f"{request['EndpointConfigName']} has no detailed observability: {error}")
            self._create_config({name: value for name, value in request.items() if name != "MetricsConfig"})

    def recent_logs(self, endpoint: str) -> str:
        """Return the end of its container's log, ready to be put behind an error message."""
        lines = self.log_tail(endpoint)
        return "".join(f"\n  | {line}" for line in lines) if lines else "; its container wrote nothing"


def is_busy(error: BaseException) -> bool:
    """Tell whether SageMaker refuses because the endpoint is changing just now: a transient refusal.

    Example:
        >>> is_busy(Exception("Cannot update in-progress endpoint"))
        True
    """
    return "in-progress" in str(error)


def _pause(started: float) -> None:
    """Pause between two looks: short in the first minute since `started` (time.monotonic()), longer after it, for SageMaker's sake."""
    time.sleep(_QUICK_POLL_S if time.monotonic() - started < _QUICK_FOR_S else _POLL_S)


@contextmanager
def _if_absent() -> Iterator[None]:
    """Let what is there already be no error: an earlier try of the same step made it under the same name."""
    try:
        yield
    except ClientError as error:
        if not is_taken(error):
            raise


@contextmanager
def _if_present() -> Iterator[None]:
    """Let what is gone already be no error."""
    try:
        yield
    except ClientError as error:
        if not is_absent(error):
            raise
