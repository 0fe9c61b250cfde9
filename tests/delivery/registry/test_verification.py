"""Verification: each reason against a version, in one sentence. (Against a whole SageMaker: tests/steps/promote/test_verification.py.)"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from config.loader import load_environment, load_model
from config.schema import Release
from delivery.names import Fact
from delivery.registry import verification
from delivery.registry.model_packages import ModelPackage
from tests.delivery.fake_s3 import FakeS3

ARN = "arn:aws:sagemaker:us-west-2:111122223333:model-package/release-qwen3-32b/3"
IMAGE = "111122223333.dkr.ecr.us-west-2.amazonaws.com/release-serving:v1"
DIGEST = "sha256:" + "a" * 64
REPORT = "s3://release/evaluations/e1/evaluation.json"


@pytest.fixture(scope="module")
def release() -> Release:
    name, model = load_model("qwen3-32b")
    return Release(name=name, model=model, environment=load_environment("aws"), serving_image=IMAGE)


@pytest.fixture(autouse=True)
def weights(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is wrong with the weights."""
    found: list[str] = []
    monkeypatch.setattr("delivery.weights.stored_weights.differences", lambda *_: found)
    return found


class Version:
    """A version against which nothing speaks, and its report in S3; tests change one thing of it."""

    def __init__(self) -> None:
        self.s3 = FakeS3()
        self.status = "Approved"
        self.digest: str | None = DIGEST
        self.facts = {
            Fact.EVALUATION_REPORT: REPORT,
            Fact.WEIGHTS_PREFIX: "s3://release/weights/qwen/",
            Fact.WEIGHTS_MANIFEST_SHA256: "0" * 64,
            Fact.IMAGE_DIGEST: DIGEST,
        }
        self.report: dict[str, Any] = {"verdict": "passed", "model_package": ARN, "evaluated_at": datetime.now(UTC).isoformat()}
        self.store()

    def store(self) -> None:
        """Store the report as it is now, and register it."""
        body = json.dumps(self.report).encode()
        self.s3.objects["evaluations/e1/evaluation.json"] = body
        self.facts[Fact.EVALUATION_SHA256] = hashlib.sha256(body).hexdigest()

    def change_report(self, **changes: Any) -> None:
        self.report |= changes
        self.store()

    def refusals(self, release: Release, ask: Callable[..., list[str]] = verification.refusals) -> list[str]:
        facts = {str(key): value for key, value in self.facts.items()}
        package = ModelPackage(ARN, "release-qwen3-32b", 3, self.status, facts, {"Image": IMAGE})

        def describe(**_: Any) -> Any:
            return {"imageDetails": [{"imageDigest": self.digest}]}

        registry: Any = type("Registry", (), {"describe_images": staticmethod(describe)})
        return ask(package, release, self.s3.client, lambda _: registry)


def test_nothing_speaks_against_it(release: Release) -> None:
    assert Version().refusals(release) == []


@pytest.mark.parametrize("status", ["PendingManualApproval", "Rejected"])
def test_it_is_approved_now(release: Release, status: str) -> None:
    version = Version()
    version.status = status
    assert version.refusals(release) == [f"approval: the version is {status} now, not Approved; approve it in the Model Registry"]


@pytest.mark.parametrize("fact", [Fact.EVALUATION_REPORT, Fact.EVALUATION_SHA256])
def test_it_was_evaluated(release: Release, fact: Fact) -> None:
    version = Version()
    del version.facts[fact]
    assert version.refusals(release) == ["evaluation: the version was never evaluated; release the model file again"]


def test_its_report_is_there(release: Release) -> None:
    version = Version()
    version.s3.objects.clear()
    assert version.refusals(release) == [f"evaluation: {REPORT} is gone; release the model file again"]


def test_its_report_is_the_one_that_was_stored(release: Release) -> None:
    version = Version()
    expected = version.facts[Fact.EVALUATION_SHA256]
    version.s3.objects["evaluations/e1/evaluation.json"] = b"{}"
    assert version.refusals(release) == [
        f"evaluation: {REPORT} was changed after it was stored (sha256 {hashlib.sha256(b'{}').hexdigest()}, "
        f"registered {expected}); evaluate again"
    ]


def test_its_report_is_one(release: Release) -> None:
    version = Version()
    version.report = {"verdict": "passed"}
    version.store()
    [refusal] = version.refusals(release)
    assert refusal.startswith(f"evaluation: {REPORT} is not an evaluation: ")


def test_its_report_is_its_own(release: Release) -> None:
    version = Version()
    version.change_report(model_package="another")
    assert version.refusals(release) == [f"evaluation: {REPORT} is of another, not of this version; release the model file again"]


@pytest.mark.parametrize("verdict", ["failed", "invalid"])
def test_it_passed_or_somebody_waived_the_gate(release: Release, verdict: str) -> None:
    version = Version()
    version.change_report(verdict=verdict)
    assert version.refusals(release) == [f"evaluation: the verdict in {REPORT} is {verdict!r}, not passed"]
    version.facts[Fact.GATE_WAIVED_BY] = "ana"
    assert version.refusals(release) == []


@pytest.mark.parametrize(("days", "refused"), [(0.0, False), (29.9, False), (30.1, True)])
def test_its_evaluation_is_recent(release: Release, days: float, refused: bool) -> None:
    assert release.model.production.evaluation_max_age_days == 30
    version = Version()
    version.change_report(evaluated_at=(datetime.now(UTC) - timedelta(days=days)).isoformat())
    expected = [
        f"evaluation: it is {days:.1f} days old, and production.evaluation_max_age_days is 30; release the model file again"
    ]
    assert version.refusals(release) == (expected if refused else [])


def test_its_weights_are_those_that_were_evaluated(release: Release, weights: list[str]) -> None:
    weights += ["a is gone; fetch again", "b is gone; fetch again"]
    assert Version().refusals(release) == ["weights: a is gone; fetch again", "weights: b is gone; fetch again"]
    weights.clear()
    version = Version()
    del version.facts[Fact.WEIGHTS_PREFIX]
    assert version.refusals(release) == ["weights: the version does not say where they are; release the model file again"]


def test_its_tag_means_the_image_that_was_evaluated(release: Release) -> None:
    version = Version()
    version.digest = "sha256:" + "b" * 64
    assert version.refusals(release) == [
        f"image: {IMAGE} is {version.digest} now, but {DIGEST} was evaluated: the tag was moved; release again"
    ]
    del version.facts[Fact.IMAGE_DIGEST]
    assert version.refusals(release) == [
        f"image: which image {IMAGE} meant when the version was evaluated is not known; release the model file again"
    ]


def test_a_rollback_asks_only_whether_it_is_unchanged(release: Release, weights: list[str]) -> None:
    version = Version()
    version.status = "Rejected"
    version.s3.objects.clear()
    assert version.refusals(release, verification.unchanged) == []
    weights.append("a is gone; fetch again")
    version.digest = "sha256:" + "b" * 64
    assert [refusal.split(":")[0] for refusal in version.refusals(release, verification.unchanged)] == ["weights", "image"]


def test_every_reason_is_named_at_once(release: Release, weights: list[str]) -> None:
    version = Version()
    version.status = "Rejected"
    version.change_report(verdict="failed", model_package="another")
    weights.append("a is gone")
    version.digest = "sha256:" + "b" * 64
    named = [refusal.split(":")[0] for refusal in version.refusals(release)]
    assert named == ["approval", "evaluation", "evaluation", "weights", "image"]


@pytest.mark.parametrize(("version", "serving", "refused"), [(3, None, False), (3, 2, False), (3, 3, False), (3, 4, True)])
def test_production_does_not_serve_a_newer_one(version: int, serving: int | None, refused: bool) -> None:
    expected = ["order: production serves version 4, which is newer than 3; to go back, use rollback"]
    assert verification.older(version, serving) == (expected if refused else [])
