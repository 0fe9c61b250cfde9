"""SageMaker's Model Registry."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tests.support.fake_aws.shapes import FakeService, arn, client_error

_DECIDED = ("ModelApprovalStatus", "ApprovalDescription")


class FakeRegistry(FakeService):
    """Model package groups and their versions."""

    SERVICE = "sagemaker"

    def __init__(self) -> None:
        self._groups: dict[str, int] = {}
        """The last version's number of each."""
        self._packages: dict[str, dict[str, Any]] = {}

    def _create_model_package_group(self, ModelPackageGroupName: str, **_: Any) -> dict[str, Any]:
        made = arn("sagemaker", f"model-package-group/{ModelPackageGroupName}")
        if ModelPackageGroupName in self._groups:
            message = f"ModelPackageGroup already exists: {made}"
            raise client_error("CreateModelPackageGroup", "ValidationException", message)
        self._groups[ModelPackageGroupName] = 0
        return {"ModelPackageGroupArn": made}

    def _describe_model_package_group(self, ModelPackageGroupName: str) -> dict[str, Any]:
        made = arn("sagemaker", f"model-package-group/{ModelPackageGroupName}")
        if ModelPackageGroupName not in self._groups:
            raise client_error("DescribeModelPackageGroup", "ValidationException", f"ModelPackageGroup {made} does not exist.")
        return {"ModelPackageGroupName": ModelPackageGroupName, "ModelPackageGroupArn": made}

    def _list_model_package_groups(self, NameContains: str = "", **_: Any) -> dict[str, Any]:
        return {
            "ModelPackageGroupSummaryList": [{"ModelPackageGroupName": name} for name in self._groups if NameContains in name]
        }

    def _list_pipeline_executions(self, **_: Any) -> dict[str, Any]:
        return {"PipelineExecutionSummaries": []}  # tests run the steps themselves

    def _create_model_package(self, **request: Any) -> dict[str, Any]:
        group = request["ModelPackageGroupName"]
        self._groups[group] = version = self._groups[group] + 1
        made = arn("sagemaker", f"model-package/{group}/{version}")
        self._packages[made] = {
            **request,
            "ModelPackageArn": made,
            "ModelPackageVersion": version,
            "CreationTime": datetime.now(UTC),
            "ModelApprovalStatus": request.get("ModelApprovalStatus", "PendingManualApproval"),
        }
        return {"ModelPackageArn": made}

    def _describe_model_package(self, ModelPackageName: str) -> dict[str, Any]:
        return dict(self.package(ModelPackageName))

    def _list_model_packages(self, ModelPackageGroupName: str, **_: Any) -> dict[str, Any]:
        found = [package for package in self._packages.values() if package["ModelPackageGroupName"] == ModelPackageGroupName]
        return {"ModelPackageSummaryList": found}

    def _update_model_package(
        self, ModelPackageArn: str, CustomerMetadataProperties: dict[str, str] | None = None, **changes: Any
    ) -> dict[str, Any]:
        package = self.package(ModelPackageArn)
        package |= {name: value for name, value in changes.items() if name in _DECIDED}
        package["CustomerMetadataProperties"] = {
            **package.get("CustomerMetadataProperties", {}),
            **(CustomerMetadataProperties or {}),
        }
        return {"ModelPackageArn": ModelPackageArn}

    def _delete_model_package(self, ModelPackageName: str) -> dict[str, Any]:
        self.package(ModelPackageName)
        del self._packages[ModelPackageName]
        return {}

    def package(self, name: str) -> dict[str, Any]:
        """One by its ARN."""
        if name not in self._packages:
            raise client_error("DescribeModelPackage", "ValidationException", f"ModelPackage {name} does not exist.")
        return self._packages[name]
