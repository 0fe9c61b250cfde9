"""What must hold before a version may reach production: approved now, evaluated, passed, and still the same bytes.

`verify_approval` asks it for the promotion pipeline, `promote` asks it again right before it touches production.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

from steps import s3
from steps.names import Fact
from steps.registry import ModelPackage


def refusals(package: ModelPackage, client: s3.S3Client) -> list[str]:
    """Why the version must not be promoted, one sentence a reason; empty when it may. StepError when S3 cannot be asked."""
    return [*_approval(package), *_evaluation(package, client), *_weights(package, client)]


def _approval(package: ModelPackage) -> Iterator[str]:
    if package.approval_status != "Approved":
        yield f"approval: the version is {package.approval_status} now, not Approved; approve it in the Model Registry"


def _evaluation(package: ModelPackage, client: s3.S3Client) -> Iterator[str]:
    """The report that the registry names is there, is the one that was stored, and says passed."""
    location = package.facts.get(Fact.EVALUATION_REPORT)
    expected = package.facts.get(Fact.EVALUATION_SHA256)
    if not location or not expected:
        yield "evaluation: the version was never evaluated; release the model file again"
        return
    report = s3.read(client, s3.S3Uri.parse(location))
    if report is None:
        yield f"evaluation: {location} is gone; release the model file again"
        return
    actual = hashlib.sha256(report).hexdigest()
    if actual != expected:
        yield f"evaluation: {location} was changed after it was stored (sha256 {actual}, registered {expected}); evaluate again"
        return
    verdict = json.loads(report)["verdict"]
    if verdict != "passed":
        yield f"evaluation: the verdict in {location} is {verdict!r}, not passed"


def _weights(package: ModelPackage, client: s3.S3Client) -> Iterator[str]:
    """The manifest is the one that was registered. It lists every file's digest, so a manifest that is the same means the same weights."""
    prefix = package.facts.get(Fact.WEIGHTS_PREFIX, "")
    expected = package.facts.get(Fact.WEIGHTS_MANIFEST_SHA256)
    location = s3.S3Uri.parse(prefix) / "manifest.json" if prefix else None
    manifest = s3.read(client, location) if location else None
    if manifest is None:
        yield f"weights: there is no manifest at {location or 'the prefix that the version names'}; release the model file again"
        return
    actual = hashlib.sha256(manifest).hexdigest()
    if actual != expected:
        yield f"weights: {location} is not the one that was evaluated (sha256 {actual}, registered {expected}); release again"
