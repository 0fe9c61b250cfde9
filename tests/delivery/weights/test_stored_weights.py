"""Drift of the weights: every way in which a prefix may differ from its manifest, in one sentence each."""

from __future__ import annotations

import base64
import io
from typing import Any

import pytest
from awscrt import checksums

from config.loader import load_model
from delivery.aws import s3
from delivery.weights import stored_weights
from delivery.weights.manifest import Manifest, ManifestFile
from tests.delivery.fake_s3 import FakeS3

PREFIX = s3.S3Uri("release", "weights/qwen/")
FILES = {"config.json": b"{}", "model-00001.safetensors": b"1" * 40, "model-00002.safetensors": b"2" * 40}


def crc64nvme(body: bytes) -> str:
    return base64.b64encode(checksums.crc64nvme(body).to_bytes(8, "big")).decode()


class Weights(FakeS3):
    """A prefix as a finished fetch leaves it. S3 keeps no checksum of what is in `unknown`, and one of parts of what is in `composite`."""

    def __init__(self) -> None:
        super().__init__()
        self.unknown: set[str] = set()
        self.composite: set[str] = set()
        self.read: list[str] = []
        listed = [
            ManifestFile(path=path, size=len(body), sha256="a" * 64, crc64nvme=crc64nvme(body), crc64nvme_confirmed_by_s3=True)
            for path, body in FILES.items()
        ]
        self.manifest = Manifest.of(load_model("qwen3-32b")[1].weights, listed)
        for path, body in {**FILES, "manifest.json": self.manifest.to_json()}.items():
            self.objects[PREFIX.key + path] = body

    def head_object(self, *, Key: str, **_: Any) -> dict[str, Any]:
        found = {"ETag": self._etag(Key), "ChecksumCRC64NVME": crc64nvme(self.objects[Key]), "ChecksumType": "FULL_OBJECT"}
        path = Key.removeprefix(PREFIX.key)
        if path in self.unknown:
            del found["ChecksumCRC64NVME"]
        if path in self.composite:
            found |= {"ChecksumCRC64NVME": "AAAAAAAAAAA=-2", "ChecksumType": "COMPOSITE"}
        return found

    def get_object(self, *, Key: str, **given: Any) -> dict[str, Any]:
        found = super().get_object(Key=Key, **given)
        if "IfMatch" in given:
            assert given["IfMatch"] == self._etag(Key)
            self.read.append(Key.removeprefix(PREFIX.key))
            body = found["Body"].read()
            found["Body"] = type("Body", (io.BytesIO,), {"iter_chunks": lambda one, size: iter(lambda: one.read(7), b"")})(body)
        return found

    def differences(self) -> list[str]:
        return stored_weights.differences(self.client, PREFIX, self.manifest.sha256)


@pytest.fixture
def weights() -> Weights:
    return Weights()


def test_nothing_is_read_where_s3_has_the_checksums(weights: Weights) -> None:
    assert weights.differences() == []
    assert weights.read == []


def test_a_prefix_without_a_manifest_is_no_finished_fetch(weights: Weights) -> None:
    del weights.objects[PREFIX.key + "manifest.json"]
    assert weights.differences() == ["there is no s3://release/weights/qwen/manifest.json; release the model file again"]


def test_another_manifest_is_not_the_one_that_was_evaluated(weights: Weights) -> None:
    weights.objects[PREFIX.key + "manifest.json"] += b" "
    [found] = weights.differences()
    assert found.startswith("s3://release/weights/qwen/manifest.json is not the one that was evaluated (sha256 ")
    assert found.endswith(f", registered {weights.manifest.sha256}); release again")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (None, "s3://release/weights/qwen/config.json is gone; fetch again"),
        (b"{ }", "s3://release/weights/qwen/config.json has 3 bytes, 2 were evaluated; fetch again"),
        (
            b"[]",
            f"s3://release/weights/qwen/config.json is not what was evaluated (CRC64NVME {crc64nvme(b'[]')}, "
            f"evaluated {crc64nvme(b'{}')}); fetch again",
        ),
    ],
)
def test_what_changed_is_named(weights: Weights, change: bytes | None, says: str) -> None:
    if change is None:
        del weights.objects[PREFIX.key + "config.json"]
    else:
        weights.objects[PREFIX.key + "config.json"] = change
    assert weights.differences() == [says]


def test_what_was_added_is_served_too(weights: Weights) -> None:
    weights.objects[PREFIX.key + "model.py"] = b"import os"
    assert weights.differences() == [
        "s3://release/weights/qwen/model.py was not evaluated: the manifest does not list it; delete it"
    ]


def test_of_many_differences_five_are_named(weights: Weights) -> None:
    for number in range(7):
        weights.objects[f"{PREFIX.key}more-{number}"] = b""
    found = weights.differences()
    assert len(found) == 6
    assert found[-1] == "and 2 more"
    for number in range(5, 7):
        del weights.objects[f"{PREFIX.key}more-{number}"]
    assert len(weights.differences()) == 5


def test_what_s3_has_no_checksum_of_the_whole_of_is_read(weights: Weights) -> None:
    weights.unknown = {"config.json"}
    weights.composite = {"model-00001.safetensors"}
    assert weights.differences() == []
    assert sorted(weights.read) == ["config.json", "model-00001.safetensors"]
    weights.objects[PREFIX.key + "model-00001.safetensors"] = b"1" * 39 + b"2"
    [found] = weights.differences()
    assert "model-00001.safetensors is not what was evaluated" in found
