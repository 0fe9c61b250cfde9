"""SageMaker's endpoints: what they serve changes at the second look after a request, to what the engine of the new config would do."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from tests.support.fake_aws.monitoring import FakeCloudWatch, FakeLogs, FakeScaling
from tests.support.fake_aws.registry import FakeRegistry
from tests.support.fake_aws.s3 import FakeS3
from tests.support.fake_aws.shapes import FakeService, arn, client_error, in_words

_UNHEALTHY = (
    "The primary container for production variant AllTraffic did not pass the ping health check. "
    "Please check CloudWatch logs for this endpoint."
)
_PATIENCE = 5
_BUSY = ("Creating", "Updating", "Deleting")


@dataclass
class _Endpoint:
    name: str
    pending: str
    """The config that it is being given; empty when none is."""
    status: str = "Creating"
    config: str = ""
    failure: str = ""
    counts: int = 0
    policy: dict[str, Any] = field(default_factory=dict)
    keep_counts: bool = False
    engine: dict[str, Any] = field(default_factory=dict)
    """The settings of what it runs."""
    looks: int = 0
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    modified: datetime = field(default_factory=lambda: datetime.now(UTC))


class FakeSageMaker(FakeRegistry):
    """The registry, and models, endpoint configs and endpoints."""

    def __init__(self, s3: FakeS3, cloudwatch: FakeCloudWatch, scaling: FakeScaling, logs: FakeLogs) -> None:
        super().__init__()
        self._s3, self._cloudwatch, self._scaling, self._logs = s3, cloudwatch, scaling, logs
        self._made: dict[str, dict[str, dict[str, Any]]] = {"model": {}, "endpoint-config": {}}
        self._containers: dict[str, dict[str, Any]] = {}
        """What each model runs, whatever becomes of the version that it was made from."""
        self._endpoints: dict[str, _Endpoint] = {}
        self._tags: dict[str, dict[str, str]] = {}

    def _create_model(self, ModelName: str, Tags: list[dict[str, str]], **request: Any) -> dict[str, Any]:
        container = request["PrimaryContainer"]
        if package := container.get("ModelPackageName"):
            if (status := self.package(package)["ModelApprovalStatus"]) != "Approved":
                message = f"ModelPackage {package} is {status}; only an approved version can be deployed."
                raise client_error("CreateModel", "ValidationException", message)
            [container] = self.package(package)["InferenceSpecification"]["Containers"]
        made = self._make("model", ModelName, request, Tags)
        self._containers[ModelName] = container
        return {"ModelArn": made}

    def _create_endpoint_config(self, EndpointConfigName: str, Tags: list[dict[str, str]], **request: Any) -> dict[str, Any]:
        return {"EndpointConfigArn": self._make("endpoint-config", EndpointConfigName, request, Tags)}

    def _make(self, kind: str, name: str, request: dict[str, Any], tags: list[dict[str, str]]) -> str:
        made = arn("sagemaker", f"{kind}/{name}")
        if name in self._made[kind]:
            raise client_error("Create", "ValidationException", f'Cannot create already existing {kind} "{made}".')
        self._made[kind][name] = request
        self._tag(made, tags)
        return made

    def _described(self, kind: str, name: str) -> dict[str, Any]:
        found = self._made[kind].get(name)
        if found is None:
            raise client_error(
                "Describe", "ValidationException", f'Could not find {kind} "{arn("sagemaker", f"{kind}/{name}")}".'
            )
        return found

    def _describe_model(self, ModelName: str) -> dict[str, Any]:
        found = self._described("model", ModelName)
        return {**found, "ModelName": ModelName, "ModelArn": arn("sagemaker", f"model/{ModelName}")}

    def _describe_endpoint_config(self, EndpointConfigName: str) -> dict[str, Any]:
        found = self._described("endpoint-config", EndpointConfigName)
        made = arn("sagemaker", f"endpoint-config/{EndpointConfigName}")
        return {**found, "EndpointConfigName": EndpointConfigName, "EndpointConfigArn": made}

    def _delete_model(self, ModelName: str) -> dict[str, Any]:
        self._described("model", ModelName)
        del self._made["model"][ModelName]
        return {}

    def _delete_endpoint_config(self, EndpointConfigName: str) -> dict[str, Any]:
        self._described("endpoint-config", EndpointConfigName)
        del self._made["endpoint-config"][EndpointConfigName]
        return {}

    def _list_models(self, NameContains: str = "", **_: Any) -> dict[str, Any]:
        found = [name for name in self._made["model"] if NameContains in name]
        return {"Models": [{"ModelName": name, "ModelArn": arn("sagemaker", f"model/{name}")} for name in found]}

    def _list_endpoint_configs(self, NameContains: str = "", **_: Any) -> dict[str, Any]:
        found = [name for name in self._made["endpoint-config"] if NameContains in name]
        return {
            "EndpointConfigs": [
                {"EndpointConfigName": name, "EndpointConfigArn": arn("sagemaker", f"endpoint-config/{name}")} for name in found
            ]
        }

    def _list_endpoints(self, NameContains: str = "", **_: Any) -> dict[str, Any]:
        found = [name for name in self._endpoints if NameContains in name]
        return {"Endpoints": [{"EndpointName": name, "EndpointArn": arn("sagemaker", f"endpoint/{name}")} for name in found]}

    def _describe_pipeline_execution(self, PipelineExecutionArn: str) -> dict[str, Any]:
        raise client_error("DescribePipelineExecution", "ResourceNotFound", f"{PipelineExecutionArn} does not exist.")

    def _create_endpoint(self, EndpointName: str, EndpointConfigName: str, Tags: list[dict[str, str]]) -> dict[str, Any]:
        made = arn("sagemaker", f"endpoint/{EndpointName}")
        if EndpointName in self._endpoints:
            raise client_error("CreateEndpoint", "ValidationException", f'Cannot create already existing endpoint "{made}".')
        self._described("endpoint-config", EndpointConfigName)
        self._endpoints[EndpointName] = _Endpoint(EndpointName, EndpointConfigName)
        self._tag(made, Tags)
        return {"EndpointArn": made}

    def _update_endpoint(
        self, EndpointName: str, EndpointConfigName: str, DeploymentConfig: dict[str, Any], RetainAllVariantProperties: bool
    ) -> dict[str, Any]:
        endpoint = self._at_rest("update", EndpointName)
        before, after = (self._capacity(config) for config in (endpoint.config, EndpointConfigName))
        if before != after and self._scaling.follows(EndpointName):
            message = "The instance type of a variant that is a scalable target cannot be changed."
            raise client_error("UpdateEndpoint", "ValidationException", message)
        endpoint.pending, endpoint.policy, endpoint.keep_counts = EndpointConfigName, DeploymentConfig, RetainAllVariantProperties
        endpoint.status, endpoint.looks, endpoint.modified = "Updating", 0, datetime.now(UTC)
        return {"EndpointArn": arn("sagemaker", f"endpoint/{EndpointName}")}

    def _capacity(self, config: str) -> list[Any]:
        variants = self._made["endpoint-config"].get(config, {}).get("ProductionVariants", [])
        return [(variant.get("InstanceType"), variant.get("InstancePools")) for variant in variants]

    def _delete_endpoint(self, EndpointName: str) -> dict[str, Any]:
        endpoint = self._at_rest("delete", EndpointName)
        endpoint.status, endpoint.looks = "Deleting", 0
        return {}

    def _at_rest(self, verb: str, name: str) -> _Endpoint:
        endpoint = self._endpoint(name)
        if endpoint.status in _BUSY:
            endpoint.looks += 1
            if endpoint.looks > _PATIENCE:  # whoever only asks again sees it end, too
                self._finish(endpoint)
            message = f'Cannot {verb} in-progress endpoint "{arn("sagemaker", f"endpoint/{name}")}".'
            raise client_error(verb, "ValidationException", message)
        return endpoint

    def _endpoint(self, name: str) -> _Endpoint:
        if name not in self._endpoints:
            message = f'Could not find endpoint "{arn("sagemaker", f"endpoint/{name}")}".'
            raise client_error("DescribeEndpoint", "ValidationException", message)
        return self._endpoints[name]

    def _describe_endpoint(self, EndpointName: str) -> dict[str, Any]:
        endpoint = self._endpoint(EndpointName)
        endpoint.looks += 1
        if endpoint.status in _BUSY and endpoint.looks > 1:
            self._finish(endpoint)
            self._endpoint(EndpointName)  # gone, where it was to be deleted
        counts = {"CurrentInstanceCount": endpoint.counts, "DesiredInstanceCount": endpoint.counts}
        described: dict[str, Any] = {
            "EndpointName": EndpointName,
            "EndpointArn": arn("sagemaker", f"endpoint/{EndpointName}"),
            "EndpointStatus": endpoint.status,
            "ProductionVariants": [{"VariantName": "AllTraffic", **counts}],
            "CreationTime": endpoint.created,
            "LastModifiedTime": endpoint.modified,
            "LastDeploymentConfig": endpoint.policy,
        }
        if endpoint.config:
            described["EndpointConfigName"] = endpoint.config
        if endpoint.failure:
            described["FailureReason"] = endpoint.failure
        if endpoint.pending and endpoint.config:
            described["PendingDeploymentSummary"] = {"EndpointConfigName": endpoint.pending}
        return described

    def _finish(self, endpoint: _Endpoint) -> None:
        """What was begun comes to its end."""
        if endpoint.status == "Deleting":
            del self._endpoints[endpoint.name]
            return
        endpoint.failure = self._why_not(endpoint)
        if not endpoint.failure:
            count = self._made["endpoint-config"][endpoint.pending]["ProductionVariants"][0]["InitialInstanceCount"]
            endpoint.counts = endpoint.counts if endpoint.keep_counts else count
        is_first = not endpoint.config
        if is_first or not endpoint.failure:
            endpoint.config, endpoint.engine = endpoint.pending, self._engine(endpoint.pending)
        endpoint.status = "Failed" if is_first and endpoint.failure else "InService"
        endpoint.pending, endpoint.modified = "", datetime.now(UTC)

    def _why_not(self, endpoint: _Endpoint) -> str:
        """Why its new config does not come into service; empty if it does."""
        settings = self._engine(endpoint.pending)
        if settings.get("crash_at_start") or settings.get("never_healthy"):
            self._logs.lines[f"/aws/sagemaker/Endpoints/{endpoint.name}"] = ["simulated: crash_at_start"]
            return _UNHEALTHY
        watched = [alarm["AlarmName"] for alarm in endpoint.policy.get("AutoRollbackConfiguration", {}).get("Alarms", [])]
        ringing = self._cloudwatch.in_alarm(watched)
        return f"The alarms {', '.join(ringing)} are in ALARM." if ringing else ""

    def _engine(self, config: str) -> dict[str, Any]:
        """The settings of the engine behind an endpoint config: simulated.json among its weights; without weights none comes up."""
        container = self._containers[self._made["endpoint-config"][config]["ProductionVariants"][0]["ModelName"]]
        prefix = urlsplit(container["ModelDataSource"]["S3DataSource"]["S3Uri"])
        try:
            stored = self._s3._get_object(prefix.netloc, prefix.path.removeprefix("/") + "simulated.json")
        except ClientError:
            return {"never_healthy": True}
        settings: dict[str, Any] = json.loads(stored["Body"].read())
        return settings

    def serving(self, name: str) -> dict[str, Any]:
        """The settings of the engine that an endpoint runs."""
        return self._endpoint(name).engine

    def _list_tags(self, ResourceArn: str) -> dict[str, Any]:
        return {"Tags": in_words(self._tags.get(ResourceArn, {}))}

    def _add_tags(self, ResourceArn: str, Tags: list[dict[str, str]]) -> dict[str, Any]:
        self._tag(ResourceArn, Tags)
        return self._list_tags(ResourceArn)

    def _tag(self, made: str, tags: list[dict[str, str]]) -> None:
        self._tags[made] = self._tags.get(made, {}) | {tag["Key"]: tag["Value"] for tag in tags}


class FakeRuntime(FakeService):
    """Answers of what endpoints serve."""

    SERVICE = "sagemaker-runtime"

    def __init__(self, sagemaker: FakeSageMaker) -> None:
        self._sagemaker = sagemaker

    def _invoke_endpoint(self, EndpointName: str, Body: bytes, **_: Any) -> dict[str, Any]:
        prompt = json.loads(Body)["messages"][-1]["content"]
        answers = self._sagemaker.serving(EndpointName).get("answers", {})
        content = next((answer for part, answer in answers.items() if part in prompt), "")
        return {"Body": io.BytesIO(json.dumps({"choices": [{"message": {"content": content}}]}).encode())}
