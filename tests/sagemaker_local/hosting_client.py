"""Short forms of the hosting calls that tests make."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from tests.support.waiting import wait_until

ROLE = "arn:aws:iam::123456789012:role/tests"


@dataclass
class HostingClient:
    sagemaker: Any
    image: str
    endpoints: list[str] = field(default_factory=list)

    def config(
        self,
        instances: int = 1,
        container: dict[str, Any] | None = None,
        variant: dict[str, Any] | None = None,
        metrics: dict[str, Any] | None = None,
        **environment: str,
    ) -> str:
        """A model and an endpoint config of one variant; returns the name of both."""
        name = f"test-{uuid.uuid4().hex[:10]}"
        container = container or {"Image": self.image}
        container = {**container, "Environment": {**container.get("Environment", {}), **environment}}
        self.sagemaker.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE)
        production = {
            "VariantName": "AllTraffic", "ModelName": name, "InitialInstanceCount": instances, "InstanceType": "ml.g5.xlarge",
            **(variant or {}),
        }  # fmt: skip
        production = {member: value for member, value in production.items() if value is not None}
        more = {"MetricsConfig": metrics} if metrics else {}
        self.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[production], **more)
        return name

    def begin(self, config: str) -> str:
        """Create an endpoint; does not wait."""
        name = f"test-{uuid.uuid4().hex[:10]}"
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
        self.endpoints.append(name)
        return name

    def endpoint(self, **settings: Any) -> str:
        """An endpoint InService; ``settings`` are ``config``'s."""
        name = self.begin(self.config(**settings))
        self.settled(name, "InService")
        return name

    def settled(self, name: str, status: str) -> dict[str, Any]:
        """Wait until an endpoint is no longer busy; it must have this status then."""

        def at_rest() -> dict[str, Any] | None:
            described: dict[str, Any] = self.sagemaker.describe_endpoint(EndpointName=name)
            return (
                None
                if described["EndpointStatus"] in ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")
                else described
            )

        described: dict[str, Any] = wait_until(at_rest, f"{name} at rest")
        assert described["EndpointStatus"] == status, described.get("FailureReason")
        return described

    def gone(self, name: str) -> None:
        """Delete an endpoint and wait until it is gone."""
        self.sagemaker.delete_endpoint(EndpointName=name)
        wait_until(lambda: name not in self._names(), f"{name} is deleted")
        self.endpoints.remove(name)

    def clean_up(self) -> None:
        """Delete what is left."""
        for name in list(self.endpoints):
            self.settled_at_all(name)
            self.gone(name)

    def settled_at_all(self, name: str) -> None:
        """Wait until an endpoint is no longer busy."""
        busy = ("Creating", "Updating", "RollingBack")
        wait_until(lambda: self.sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] not in busy, f"{name} at rest")

    def _names(self) -> list[str]:
        return [endpoint["EndpointName"] for endpoint in self.sagemaker.list_endpoints(MaxResults=100)["Endpoints"]]
