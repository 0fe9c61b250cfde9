"""VerifyApproval: every reason against the version, and its release file for the steps that follow."""

from __future__ import annotations

import hashlib
from pathlib import Path

import boto3

from config.schema import Release
from steps import registry, s3, verification
from steps.errors import InputError
from steps.job import say
from steps.names import APPROVAL_FILE, RELEASE_FILE, Fact
from steps.verify_approval.models import Approval


def run(model_package: str, output: Path) -> Approval:
    """Write OUTPUT/approval.json and OUTPUT/release.json. InputError when the version names no release file that is intact."""
    region = model_package.split(":")[3]
    client = s3.client(region)
    package = registry.read(boto3.client("sagemaker", region_name=region), model_package)
    release = _release_file(package, client)
    Release.model_validate_json(release)
    against = verification.refusals(package, client)
    approval = Approval(
        model_package=model_package,
        approved=not against,
        reason="; ".join(against) or f"version {package.version} is approved, passed its evaluation, and is unchanged since",
    )
    output.mkdir(parents=True, exist_ok=True)
    (output / RELEASE_FILE).write_bytes(release)
    (output / APPROVAL_FILE).write_text(approval.model_dump_json(indent=2) + "\n", encoding="utf-8")
    say(approval.reason)
    return approval


def _release_file(package: registry.ModelPackage, client: s3.S3Client) -> bytes:
    """The release file that the version was registered from. Its folder is named by its digest, so it cannot have been changed unseen."""
    location = package.facts.get(Fact.RELEASE_FILE)
    if not location:
        raise InputError(f"{package.arn} was not registered by this pipeline: it has no {Fact.RELEASE_FILE}")
    body = s3.read(client, s3.S3Uri.parse(location))
    if body is None:
        raise InputError(f"{location}, which {package.arn} was released from, is gone; release the model file again")
    digest = hashlib.sha256(body).hexdigest()
    if digest not in location.split("/"):
        raise InputError(
            f"{location} was changed after {package.arn} was registered (its sha256 is {digest}); release the model file again"
        )
    return body
