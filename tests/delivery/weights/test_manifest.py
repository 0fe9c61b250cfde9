"""The manifest under a prefix: written once, and read as nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from delivery.aws import s3
from delivery.errors import DeliveryError
from delivery.weights import manifest
from delivery.weights.manifest import Manifest, ManifestFile
from tests.support.worlds import fetching

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

GIVEN = fetching.release("acme/manifest")
PREFIX = s3.S3Uri.parse(GIVEN.weights_prefix)


def content(*paths: str) -> Manifest:
    digests = {"sha256": "a" * 64, "crc64nvme": "A" * 11 + "=", "crc64nvme_confirmed_by_s3": True}
    return Manifest.of(GIVEN.model.weights, [ManifestFile.model_validate({"path": p, "size": 1, **digests}) for p in paths])


@pytest.fixture
def client(seaweed: str) -> Iterator[S3Client]:
    found = fetching.client(seaweed)
    yield found
    found.delete_object(Bucket=PREFIX.bucket, Key=(PREFIX / "manifest.json").key)


def test_who_comes_second_with_the_same_files_agrees(client: S3Client) -> None:
    first = manifest.write(client, PREFIX, content("b", "a"))
    assert manifest.write(client, PREFIX, content("a", "b")) == first
    found = manifest.read(client, PREFIX)
    assert found == (content("a", "b"), first)


def test_who_comes_second_with_other_files_is_refused_and_the_first_stays(client: S3Client) -> None:
    first = manifest.write(client, PREFIX, content("a"))
    with pytest.raises(DeliveryError, match="lists other files"):
        manifest.write(client, PREFIX, content("a", "b"))
    assert manifest.read(client, PREFIX) == (content("a"), first)


def test_what_is_no_manifest_is_named(client: S3Client) -> None:
    assert manifest.read(client, PREFIX) is None
    client.put_object(Bucket=PREFIX.bucket, Key=(PREFIX / "manifest.json").key, Body=b'{"files": []}')
    with pytest.raises(DeliveryError, match=r"acme/manifest/.*manifest\.json is not a manifest"):
        manifest.read(client, PREFIX)


def test_a_manifest_that_does_not_add_up_cannot_be_made() -> None:
    good = content("a", "b").model_dump()
    with pytest.raises(ValueError, match="not the files' sum"):
        Manifest.model_validate({**good, "total_bytes": 3})
    with pytest.raises(ValueError, match="sorted by path"):
        Manifest.model_validate({**good, "files": good["files"][::-1]})
