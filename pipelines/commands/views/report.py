"""`report`: a version's evaluation, brought from S3 to a folder of this machine, where a browser opens it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from delivery.aws import s3
from delivery.names import REPORT_PAGE, Fact
from delivery.registry import model_packages
from pipelines.errors import CommandError, UsageError
from pipelines.released_model import ReleasedModel, open_model

if TYPE_CHECKING:  # the stubs are a dev dependency
    from types_boto3_s3 import S3Client

FOLDER = Path("build/reports")
"""Where reports go that are sent nowhere else; git ignores it."""


def report(name: str, env: str, version: int | None, folder: Path | None) -> Path:
    """Bring a version's evaluation here: the page, evaluation.json, the table of requests, the data docs.

    Args:
        name: The model's name or file.
        env: A name in config/environments, or a path.
        version: Its number in the Model Registry; None: the newest that was evaluated.
        folder: Where to; None: build/reports/MODEL/VERSION.

    Returns:
        The page's path.

    Raises:
        UsageError: There is no such version, or it was not evaluated.
        CommandError: evaluation.json is not what the registry knows.
    """
    model = open_model(name, env)
    package = model.version(version) if version else _newest_evaluated(model)
    stored = package.facts.get(Fact.EVALUATION_REPORT)
    if stored is None:
        raise UsageError(f"version {package.version} of {model.name} was not evaluated: it has no report")
    evaluation = s3.S3Uri.parse(stored)
    body = s3.read(model.s3, evaluation)
    if body is None or hashlib.sha256(body).hexdigest() != package.facts.get(Fact.EVALUATION_SHA256):
        raise CommandError(f"{stored} is gone, or not what was registered; look at the versions of that object in the bucket")
    target = folder or FOLDER / model.name / str(package.version)
    _download(model.s3, s3.S3Uri(evaluation.bucket, evaluation.key.rsplit("/", 1)[0] + "/"), target)
    return target / REPORT_PAGE


def _newest_evaluated(model: ReleasedModel) -> model_packages.ModelPackage:
    for listed in model.versions():
        package = model_packages.read(model.sagemaker, listed.arn)
        if Fact.EVALUATION_REPORT in package.facts:
            return package
    raise UsageError(f"no version of {model.name} was evaluated yet")


def _download(client: S3Client, prefix: s3.S3Uri, folder: Path) -> None:
    for path in s3.list_objects(client, prefix):
        file = folder / path
        if not file.resolve().is_relative_to(folder.resolve()):
            raise CommandError(f"{prefix}{path} would leave {folder}; nobody but an evaluation should write there")
        file.parent.mkdir(parents=True, exist_ok=True)
        client.download_file(prefix.bucket, prefix.key + path, str(file))
