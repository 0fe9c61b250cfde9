"""What a command is about: a model by its name, whether or not its file is still there, and its versions in the registry."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from config.environment import Environment
from config.errors import ConfigError
from config.loader import load_environment, load_model
from config.schema import PACKAGE_GROUP_PREFIX, ModelFile, Release
from delivery.aws import s3
from delivery.history.ledger import Ledger
from delivery.names import Fact
from delivery.registry import model_packages
from pipelines.errors import UsageError


@dataclass(frozen=True)
class Version:
    """One version in the registry, as a listing gives it."""

    number: int
    arn: str
    approval_status: str
    created: datetime


@dataclass(frozen=True)
class ReleasedModel:
    """A model in an environment, and the clients to ask about it."""

    name: str
    env: str
    """The environment's name or file, as it was given to the command."""
    environment: Environment
    file: ModelFile | None
    """The model file; None when it was deleted, or moved away, since the model was released."""
    sagemaker: Any
    """boto3's client of the registry's and pipelines' account."""
    s3: Any

    @property
    def package_group(self) -> str:
        """Its model package group."""
        return f"{PACKAGE_GROUP_PREFIX}{self.name}"

    @property
    def ledger(self) -> Ledger:
        """What happened to its versions."""
        return Ledger(self.s3, self.environment.bucket, self.name)

    def versions(self) -> list[Version]:
        """Its versions, newest first; empty when it was never registered."""
        found: list[Version] = []
        try:
            for page in self.sagemaker.get_paginator("list_model_packages").paginate(
                ModelPackageGroupName=self.package_group, SortBy="CreationTime", SortOrder="Descending"
            ):
                found += [_version(listed) for listed in page["ModelPackageSummaryList"]]
        except self.sagemaker.exceptions.ClientError as error:
            if error.response["Error"]["Code"] not in {"ValidationException", "ResourceNotFound"}:
                raise
        return sorted(found, key=lambda version: version.number, reverse=True)

    def was_released(self) -> bool:
        """Whether a release of it was started: its package group is made first, and stays when the fetch fails. Or its ledger remembers it."""
        try:
            self.sagemaker.describe_model_package_group(ModelPackageGroupName=self.package_group)
        except self.sagemaker.exceptions.ClientError as error:
            if error.response["Error"]["Code"] not in {"ValidationException", "ResourceNotFound"}:
                raise
            return bool(self.ledger.events())
        return True

    def version(self, number: int) -> model_packages.ModelPackage:
        """The version of that number; UsageError, naming those that there are, when there is none."""
        versions = self.versions()
        for version in versions:
            if version.number == number:
                return model_packages.read(self.sagemaker, version.arn)
        known = ", ".join(str(version.number) for version in versions[:10])
        raise UsageError(f"{self.name} has no version {number} in the Model Registry; it has {known or 'none'}")

    def release_of(self, package: model_packages.ModelPackage) -> Release | None:
        """The release file that a version was registered from; None when it names none, or it is gone."""
        location = package.facts.get(Fact.RELEASE_FILE)
        body = s3.read(self.s3, s3.S3Uri.parse(location)) if location else None
        return Release.model_validate_json(body) if body else None


def subject(model: str, env: str) -> ReleasedModel:
    """The model of that name or file. Without a file it must have been released, with whatever success; ConfigError otherwise.

    On this machine its services must be running.
    """
    from pipelines.resolution import attach

    environment = load_environment(env)
    attach(environment)
    try:
        name, content = load_model(model)
        return _opened(name, env, environment, content)
    except ConfigError:
        if "/" in model or model.endswith((".yaml", ".yml")):
            raise
        without_file = _opened(model, env, environment, None)
        if without_file.was_released():
            return without_file
        raise


def known_names(env: str) -> list[str]:
    """The models of an environment: those that have a file or a package group."""
    import boto3

    from config.loader import model_names
    from pipelines.resolution import attach

    environment = load_environment(env)
    attach(environment)
    sagemaker = boto3.client("sagemaker", region_name=environment.region)
    pages = sagemaker.get_paginator("list_model_package_groups").paginate(NameContains=PACKAGE_GROUP_PREFIX)
    groups = [group["ModelPackageGroupName"] for page in pages for group in page["ModelPackageGroupSummaryList"]]
    released = {group.removeprefix(PACKAGE_GROUP_PREFIX) for group in groups if group.startswith(PACKAGE_GROUP_PREFIX)}
    return sorted(released | set(model_names()))


def caller(environment: Environment) -> str:
    """The ARN of who runs this command."""
    import boto3

    return str(boto3.client("sts", region_name=environment.region).get_caller_identity()["Arn"])


def _opened(name: str, env: str, environment: Environment, file: ModelFile | None) -> ReleasedModel:
    import boto3

    return ReleasedModel(
        name, env, environment, file, boto3.client("sagemaker", region_name=environment.region), s3.client(environment.region)
    )


def _version(listed: dict[str, Any]) -> Version:
    return Version(
        int(listed["ModelPackageVersion"]),
        listed["ModelPackageArn"],
        listed.get("ModelApprovalStatus", "PendingManualApproval"),
        listed["CreationTime"],
    )
