"""RegisterModel registers one version, however often the step runs and whatever answer gets lost."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from sagemaker_local.errors import AwsError, StepFailed, ValidationError
from sagemaker_local.pipelines.steps.resources import run_register_model


class Registry:
    """A registry whose packages know their client tokens."""

    def __init__(self) -> None:
        self.groups: set[str] = set()
        self.packages: dict[str, dict[str, Any]] = {}
        self.describe_lies = False
        """Whether the first look at a group is one moment too early."""

    def invoke(self, _region: str, action: str, request: dict[str, Any], _role: str) -> dict[str, Any]:
        return getattr(self, action)(**request) or {}

    def DescribeModelPackageGroup(self, ModelPackageGroupName: str) -> None:
        if self.describe_lies or ModelPackageGroupName not in self.groups:
            self.describe_lies = False
            raise ValidationError("does not exist.")

    def CreateModelPackageGroup(self, ModelPackageGroupName: str) -> None:
        if ModelPackageGroupName in self.groups:
            raise ValidationError("Model Package Group already exists: arn")
        self.groups.add(ModelPackageGroupName)

    def CreateModelPackage(self, ClientToken: str, **_: Any) -> dict[str, Any]:
        return self.packages.setdefault(ClientToken, {"ModelPackageArn": f"arn/{len(self.packages) + 1}"})

    def DescribeModelPackage(self, ModelPackageName: str) -> dict[str, Any]:
        return {"ModelPackageStatus": "Completed", "ModelPackageArn": ModelPackageName}


def step(registry: Registry, name: str = "Register", execution: str = "e1", **arguments: Any) -> Any:
    """One run of the step."""

    def call(action: str, request: dict[str, Any]) -> dict[str, Any]:
        try:
            return registry.invoke("r", action, request, "role")
        except AwsError as error:
            raise StepFailed(error.message) from error

    return SimpleNamespace(
        arguments={"ModelPackageGroupName": "release-chat", **arguments},
        execution=SimpleNamespace(arn=execution, role_arn="role"),
        spec=SimpleNamespace(name=name),
        region="r",
        context=registry,
        call=call,
        report=lambda _: None,
    )


def test_a_step_that_runs_again_registers_no_second_version() -> None:
    registry = Registry()
    first, again = (run_register_model(step(registry)) for _ in range(2))
    assert first == again
    assert len(registry.packages) == 1


@pytest.mark.parametrize("other", [{"name": "Another"}, {"execution": "e2"}, {"ModelPackageDescription": "another"}])
def test_what_is_another_version_is_registered(other: dict[str, Any]) -> None:
    registry = Registry()
    run_register_model(step(registry))
    run_register_model(step(registry, **other))
    assert len(registry.packages) == 2
    assert all(len(token) <= 36 for token in registry.packages), "API reference of CreateModelPackage, ClientToken"


def test_two_first_releases_at_once_both_have_the_group() -> None:
    registry = Registry()
    registry.groups.add("release-chat")
    registry.describe_lies = True
    run_register_model(step(registry))
    assert len(registry.packages) == 1
