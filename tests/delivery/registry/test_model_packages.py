"""The Model Registry: what is read of a version, and what is written on it."""

from __future__ import annotations

from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from delivery.errors import DeliveryError, InputError
from delivery.registry import model_packages
from delivery.registry.model_packages import ModelPackage

ARN = "arn:aws:sagemaker:us-west-2:111122223333:model-package/release-chat/3"
LEAST = {"ModelPackageArn": ARN, "ModelPackageGroupName": "release-chat", "ModelPackageVersion": 3}


class Registry:
    """A SageMaker client that describes this, or refuses with that; updates are put on record."""

    def __init__(self, described: dict[str, Any] | None = None, refusal: str = "") -> None:
        self._described, self._refusal = described, refusal
        self.updates: list[dict[str, Any]] = []

    @property
    def client(self) -> Any:
        return cast(Any, self)

    def describe_model_package(self, *, ModelPackageName: str) -> dict[str, Any]:
        assert ModelPackageName == ARN
        if self._refusal:
            raise ClientError({"Error": {"Code": "ValidationException", "Message": self._refusal}}, "DescribeModelPackage")
        return self._described or LEAST

    def update_model_package(self, **update: Any) -> None:
        self.updates.append(update)


def test_a_version_is_read_whole() -> None:
    described = {
        **LEAST,
        "ModelApprovalStatus": "Approved",
        "CustomerMetadataProperties": {"release:file": "s3://b/k"},
        "InferenceSpecification": {"Containers": [{"Image": "i"}, {"Image": "another"}]},
        "ApprovalDescription": "good",
        "LastModifiedBy": {"IamIdentity": {"Arn": "arn:aws:iam::111122223333:user/ana"}, "UserProfileArn": "profile"},
    }
    assert model_packages.read(Registry(described).client, ARN) == ModelPackage(
        arn=ARN,
        group="release-chat",
        version=3,
        approval_status="Approved",
        facts={"release:file": "s3://b/k"},
        container={"Image": "i"},
        approval_description="good",
        changed_by="arn:aws:iam::111122223333:user/ana",
    )


def test_a_version_that_says_nothing_waits() -> None:
    found = model_packages.read(Registry().client, ARN)
    assert found == ModelPackage(ARN, "release-chat", 3, "PendingManualApproval", {}, {}, "", "")


def test_a_user_of_studio_is_who_changed_it() -> None:
    found = model_packages.read(Registry({**LEAST, "LastModifiedBy": {"UserProfileArn": "profile/ana"}}).client, ARN)
    assert found.changed_by == "profile/ana"


@pytest.mark.parametrize("words", ["ModelPackage X does not exist.", "Could not find X"])
def test_a_version_that_is_gone_can_never_work(words: str) -> None:
    with pytest.raises(InputError, match=r"the Model Registry has no .*/release-chat/3; it was deleted, or"):
        model_packages.read(Registry(refusal=words).client, ARN)


def test_another_refusal_may_pass() -> None:
    with pytest.raises(DeliveryError) as caught:
        model_packages.read(Registry(refusal="slow down").client, ARN)
    assert not isinstance(caught.value, InputError)


def test_facts_are_noted_in_one_update() -> None:
    registry = Registry()
    model_packages.annotate(registry.client, ARN, {"evaluation:verdict": "passed", "note": "x" * 256})
    assert registry.updates == [
        {"ModelPackageArn": ARN, "CustomerMetadataProperties": {"evaluation:verdict": "passed", "note": "x" * 256}}
    ]


def test_a_fact_that_is_too_long_is_refused_before_anything_is_written() -> None:
    registry = Registry()
    with pytest.raises(DeliveryError, match=r"note cannot be noted on .*: it has more than 256 characters: xxx"):
        model_packages.annotate(registry.client, ARN, {"evaluation:verdict": "passed", "note": "x" * 257})
    assert registry.updates == []


@pytest.mark.parametrize(
    ("decide", "status"),
    [
        (model_packages.approve, "Approved"),
        (model_packages.reject, "Rejected"),
        (model_packages.reopen, "PendingManualApproval"),
    ],
)
def test_a_decision_is_a_status_with_its_reason_on_one_line(decide: Any, status: str) -> None:
    registry = Registry()
    decide(registry.client, ARN, "because\n  of  this " + "x" * 2000)
    [update] = registry.updates
    assert (update["ModelPackageArn"], update["ModelApprovalStatus"]) == (ARN, status)
    assert update["ApprovalDescription"].startswith("because of this xxx")
    assert len(update["ApprovalDescription"]) == 1024
