"""Which image an address means: its digest, or none where no registry has it."""

from __future__ import annotations

from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from delivery.errors import DeliveryError
from delivery.registry import images
from delivery.registry.model_packages import ModelPackage

REPOSITORY = "111122223333.dkr.ecr.us-west-2.amazonaws.com/release-serving"
DIGEST = "sha256:" + "a" * 64


class Registry:
    """ECR clients by region. Each call is put on record."""

    def __init__(self, refusal: str = "") -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self._refusal = refusal

    def __call__(self, region: str) -> Any:
        self._region = region
        return self

    def describe_images(self, **asked: Any) -> dict[str, Any]:
        self.calls.append((self._region, asked))
        if self._refusal:
            raise ClientError({"Error": {"Code": self._refusal, "Message": "no"}}, "DescribeImages")
        return {"imageDetails": [{"imageDigest": DIGEST}]}


@pytest.mark.parametrize(("address", "tag"), [(f"{REPOSITORY}:v1", "v1"), (REPOSITORY, "latest")])
def test_a_tag_is_looked_up_where_it_is(address: str, tag: str) -> None:
    registry = Registry()
    assert images.digest_of(address, registry, "aws") == DIGEST
    asked = {"registryId": "111122223333", "repositoryName": "release-serving", "imageIds": [{"imageTag": tag}]}
    assert registry.calls == [("us-west-2", asked)]


def test_china_has_addresses_of_its_own() -> None:
    registry = Registry()
    assert images.digest_of("111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn/a/b:v1", registry, "aws") == DIGEST
    assert [(region, asked["repositoryName"]) for region, asked in registry.calls] == [("cn-north-1", "a/b")]


@pytest.mark.parametrize("address", [f"{REPOSITORY}@{DIGEST}", f"{REPOSITORY}:v1@{DIGEST}"])
def test_a_digest_says_it_itself(address: str) -> None:
    registry = Registry()
    assert images.digest_of(address, registry, "aws") == DIGEST
    assert registry.calls == []


@pytest.mark.parametrize("address", ["", "lmsysorg/sglang:v0.5", "ghcr.io/a/b:c", f"{REPOSITORY}:v1@sha256:short"])
def test_what_is_not_in_ecr_has_none(address: str) -> None:
    registry = Registry()
    assert images.digest_of(address, registry, "aws") is None
    assert registry.calls == []


@pytest.mark.parametrize("code", ["ImageNotFoundException", "RepositoryNotFoundException"])
def test_an_image_that_is_gone_is_an_error_on_aws(code: str) -> None:
    with pytest.raises(DeliveryError) as caught:
        images.digest_of(f"{REPOSITORY}:v1", Registry(code), "aws")
    assert str(caught.value) == f"there is no image {REPOSITORY}:v1 in ECR any more ({code}); push it, or release again"


def test_on_this_machine_images_need_no_repository_but_a_repository_needs_its_image() -> None:
    assert images.digest_of(f"{REPOSITORY}:v1", Registry("RepositoryNotFoundException"), "local") is None
    with pytest.raises(DeliveryError, match="ImageNotFoundException"):
        images.digest_of(f"{REPOSITORY}:v1", Registry("ImageNotFoundException"), "local")


def test_a_registry_that_denies_says_which_permission_is_needed() -> None:
    with pytest.raises(DeliveryError, match="give the step's role ecr:DescribeImages on its repository"):
        images.digest_of(f"{REPOSITORY}:v1", Registry("AccessDeniedException"), "aws")


@pytest.mark.parametrize(
    ("image", "noted"), [(f"{REPOSITORY}:v1", {"image:digest": DIGEST}), ("lmsysorg/sglang:v0.5", {}), (None, {})]
)
def test_what_is_noted_on_a_version(image: str | None, noted: dict[str, str]) -> None:
    package = ModelPackage("arn", "release-chat", 1, "Approved", {}, {"Image": image} if image else {})
    assert images.fact(package, cast(Any, Registry()), "aws") == noted
