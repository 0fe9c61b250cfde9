"""S3: objects with the checksums that they were uploaded with, and conditional writes."""

from __future__ import annotations

import base64
import hashlib
import io
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from threading import Lock
from typing import Any

from awscrt import checksums

from tests.support.fake_aws.shapes import FakeService, client_error


def crc64nvme(body: bytes) -> str:
    """The checksum as S3 writes it."""
    return base64.b64encode(checksums.crc64nvme(body).to_bytes(8, "big")).decode()


@dataclass(frozen=True)
class _Stored:
    body: bytes
    crc64nvme: str | None
    """None where it was uploaded with another checksum: boto3's own choice is CRC32."""
    modified: datetime = field(default_factory=lambda: datetime.now(UTC))

    @cached_property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.body, usedforsecurity=False).hexdigest()}"'


class _Body(io.BytesIO):
    def iter_chunks(self, size: int) -> Any:
        return iter(lambda: self.read(size), b"")


class FakeS3(FakeService):
    """The buckets of the account, all of them there."""

    SERVICE = "s3"

    def __init__(self) -> None:
        self._objects: dict[tuple[str, str], _Stored] = {}
        self._lock = Lock()

    def _get_object(self, Bucket: str, Key: str, IfMatch: str | None = None, **_: Any) -> dict[str, Any]:
        found = self._objects.get((Bucket, Key))
        if found is None:
            raise client_error("GetObject", "NoSuchKey", "The specified key does not exist.")
        if IfMatch not in (None, found.etag):
            raise client_error("GetObject", "PreconditionFailed")
        return {"Body": _Body(found.body), "ETag": found.etag, "ContentLength": len(found.body)}

    def _head_object(self, Bucket: str, Key: str, **_: Any) -> dict[str, Any]:
        found = self._objects.get((Bucket, Key))
        if found is None:
            raise client_error("HeadObject", "404", "Not Found")
        kept = {"ChecksumCRC64NVME": found.crc64nvme, "ChecksumType": "FULL_OBJECT"} if found.crc64nvme else {}
        return {"ETag": found.etag, "ContentLength": len(found.body), **kept}

    def _put_object(self, Bucket: str, Key: str, Body: bytes = b"", **more: Any) -> dict[str, Any]:
        body = Body if isinstance(Body, bytes) else Body.encode()
        for member, actual in {
            "ChecksumCRC64NVME": crc64nvme(body),
            "ChecksumSHA256": base64.b64encode(hashlib.sha256(body).digest()).decode(),
        }.items():
            if more.get(member, actual) != actual:
                raise client_error("PutObject", "BadDigest", f"The {member} you specified did not match what we received.")
        wants_crc64nvme = "ChecksumCRC64NVME" in more or more.get("ChecksumAlgorithm") == "CRC64NVME"
        stored = _Stored(body, crc64nvme(body) if wants_crc64nvme else None)
        with self._lock:
            there = self._objects.get((Bucket, Key))
            if "IfMatch" in more and there is None:
                raise client_error("PutObject", "NoSuchKey")
            if (more.get("IfNoneMatch") and there) or ("IfMatch" in more and there and more["IfMatch"] != there.etag):
                raise client_error(
                    "PutObject", "PreconditionFailed", "At least one of the pre-conditions you specified did not hold"
                )
            self._objects[Bucket, Key] = stored
        return {"ETag": stored.etag}

    def _delete_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        self._objects.pop((Bucket, Key), None)
        return {}

    def _list_multipart_uploads(self, **_: Any) -> dict[str, Any]:
        return {"Uploads": []}  # small objects are written in one piece

    def _list_objects_v2(
        self, Bucket: str, Prefix: str = "", Delimiter: str | None = None, StartAfter: str = "", **_: Any
    ) -> dict[str, Any]:
        found = sorted((key, one) for (bucket, key), one in self._objects.items() if bucket == Bucket and key.startswith(Prefix))
        found = [(key, one) for key, one in found if key > StartAfter]
        found = [(key, one) for key, one in found if Delimiter is None or Delimiter not in key.removeprefix(Prefix)]
        listed = [{"Key": key, "Size": len(one.body), "ETag": one.etag, "LastModified": one.modified} for key, one in found]
        return {"Contents": listed}
