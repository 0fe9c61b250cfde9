"""`report`: a version's evaluation, brought from S3 to a folder of this machine, where a browser opens it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from delivery.aws import s3
from delivery.names import REPORT_PAGE, Fact
from delivery.registry import model_packages
from pipelines.errors import CommandError, UsageError
from pipelines.released_model import ReleasedModel, subject

FOLDER = Path("build/reports")
"""Where reports go that are sent nowhere else; git ignores it."""


def report(model: str, env: str, version: int | None, folder: Path | None) -> Path:
    """Bring a version's evaluation here: the page, evaluation.json, the table of requests, the data docs; returns the page's path.

    Without `version`: the newest that was evaluated. Without `folder`: build/reports/MODEL/VERSION. UsageError when there is no such version,
    or it was not evaluated; CommandError when evaluation.json is not what the registry knows.
    """
    about = subject(model, env)
    package = about.version(version) if version else _newest_evaluated(about)
    stored = package.facts.get(Fact.EVALUATION_REPORT)
    if stored is None:
        raise UsageError(f"version {package.version} of {about.name} was not evaluated: it has no report")
    evaluation = s3.S3Uri.parse(stored)
    body = s3.read(about.s3, evaluation)
    if body is None or hashlib.sha256(body).hexdigest() != package.facts.get(Fact.EVALUATION_SHA256):
        raise CommandError(f"{stored} is gone, or not what was registered; look at the versions of that object in the bucket")
    target = folder or FOLDER / about.name / str(package.version)
    _bring(about.s3, s3.S3Uri(evaluation.bucket, evaluation.key.rsplit("/", 1)[0] + "/"), target)
    return target / REPORT_PAGE


def _newest_evaluated(about: ReleasedModel) -> model_packages.ModelPackage:
    for listed in about.versions():
        package = model_packages.read(about.sagemaker, listed.arn)
        if Fact.EVALUATION_REPORT in package.facts:
            return package
    raise UsageError(f"no version of {about.name} was evaluated yet")


def _bring(client: s3.S3Client, prefix: s3.S3Uri, folder: Path) -> None:
    for path in s3.list_objects(client, prefix):
        file = folder / path
        if not file.resolve().is_relative_to(folder.resolve()):
            raise CommandError(f"{prefix}{path} would leave {folder}; nobody but an evaluation should write there")
        file.parent.mkdir(parents=True, exist_ok=True)
        client.download_file(prefix.bucket, prefix.key + path, str(file))
