"""A model that was released: by its name, whether or not its file is still there, with its versions in the Model Registry."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import boto3

from config.environment import Environment
from config.errors import ConfigError
from config.loader import load_environment, load_model, model_names
from config.schema import PACKAGE_GROUP_PREFIX, ModelFile
from delivery.aws import s3
from delivery.history.ledger import Ledger
from delivery.registry import model_packages
from pipelines.errors import UsageError
from pipelines.resolution import attach

if TYPE_CHECKING:  # the stubs are a dev dependency
    from types_boto3_s3 import S3Client
    from types_boto3_sagemaker import SageMakerClient
    from types_boto3_sagemaker.type_defs import ModelPackageSummaryTypeDef


@dataclass(frozen=True)
class RegisteredVersion:
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
    sagemaker: SageMakerClient
    """Of the registry's and pipelines' account."""
    s3: S3Client

    @property
    def package_group(self) -> str:
        """Its model package group."""
        return f"{PACKAGE_GROUP_PREFIX}{self.name}"

    @property
    def ledger(self) -> Ledger:
        """What happened to its versions."""
        return Ledger(self.s3, self.environment.bucket, self.name)

    def versions(self) -> list[RegisteredVersion]:
        """List its versions, newest first; empty when it was never registered."""
        found: list[RegisteredVersion] = []
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
        """Tell whether a release was ever started: its package group is made first and stays when the fetch fails, or the ledger has events."""
        try:
            self.sagemaker.describe_model_package_group(ModelPackageGroupName=self.package_group)
        except self.sagemaker.exceptions.ClientError as error:
            if error.response["Error"]["Code"] not in {"ValidationException", "ResourceNotFound"}:
                raise
            return bool(self.ledger.events())
        return True

    def version(self, number: int) -> model_packages.ModelPackage:
        """Read the version of that number. UsageError, naming those that there are, when there is none."""
        versions = self.versions()
        for version in versions:
            if version.number == number:
                return model_packages.read(self.sagemaker, version.arn)
        known = ", ".join(str(version.number) for version in versions[:10])
        raise UsageError(f"{self.name} has no version {number} in the Model Registry; it has {known or 'none'}")


def open_model(model: str, env: str) -> ReleasedModel:
    """Find a model by its name or file, with clients to ask about it.

    Args:
        model: A name or the path of a model file. Without a file it must have been released, with whatever success.
        env: A name in config/environments, or a path.

    Raises:
        ConfigError: There is no such model, or a file is wrong.
        UsageError: The environment is local, and its services do not run.
    """
    environment = load_environment(env)
    attach(environment)
    try:
        name, content = load_model(model)
        return _open(name, env, environment, content)
    except ConfigError:
        if "/" in model or model.endswith((".yaml", ".yml")):
            raise
        without_file = _open(model, env, environment, None)
        if without_file.was_released():
            return without_file
        raise


def known_names(env: str) -> list[str]:
    """List the models of an environment: those that have a file or a package group."""
    environment = load_environment(env)
    attach(environment)
    sagemaker = boto3.client("sagemaker", region_name=environment.region)
    pages = sagemaker.get_paginator("list_model_package_groups").paginate(NameContains=PACKAGE_GROUP_PREFIX)
    groups = [group["ModelPackageGroupName"] for page in pages for group in page["ModelPackageGroupSummaryList"]]
    released = {group.removeprefix(PACKAGE_GROUP_PREFIX) for group in groups if group.startswith(PACKAGE_GROUP_PREFIX)}
    return sorted(released | set(model_names()))


def caller(environment: Environment) -> str:
    """Return the ARN of who runs this command."""
    return boto3.client("sts", region_name=environment.region).get_caller_identity()["Arn"]


def _open(name: str, env: str, environment: Environment, file: ModelFile | None) -> ReleasedModel:
    sagemaker = boto3.client("sagemaker", region_name=environment.region)
    return ReleasedModel(name, env, environment, file, sagemaker, s3.client(environment.region))


def _version(listed: ModelPackageSummaryTypeDef) -> RegisteredVersion:
    return RegisteredVersion(
        listed["ModelPackageVersion"],
        listed["ModelPackageArn"],
        listed.get("ModelApprovalStatus", "PendingManualApproval"),
        listed["CreationTime"],
    )
