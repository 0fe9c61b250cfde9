"""An S3 in memory, with conditional writes and a clock of its own, for tests of what happens when an answer gets lost."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client


_PAGE = 1000


class FakeS3:
    """Objects by key. `before_write` and `after_write` are called around each write that is about to happen, or has: they may raise."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.before_write: Callable[[str], None] = lambda _: None
        self.after_write: Callable[[str], None] = lambda _: None
        self.writes: list[str] = []
        self.requests: list[tuple[str, str]] = []
        """Each request so far: what it was, and of which key or prefix."""

    @property
    def client(self) -> S3Client:
        """It, as code under test takes it."""
        return cast("S3Client", self)

    def get_object(self, *, Key: str, **_: Any) -> dict[str, Any]:
        self.requests.append(("get", Key))
        if Key not in self.objects:
            raise self.error("NoSuchKey", "GetObject")
        return {"Body": io.BytesIO(self.objects[Key]), "ETag": self._etag(Key), "ResponseMetadata": self._metadata()}

    def put_object(self, *, Key: str, Body: bytes, **options: Any) -> dict[str, Any]:
        self.requests.append(("put", Key))
        self.before_write(Key)
        if options.get("IfNoneMatch") == "*" and Key in self.objects:
            raise self.error("PreconditionFailed", "PutObject")
        if "IfMatch" in options and (Key not in self.objects or self._etag(Key) != options["IfMatch"]):
            raise self.error("PreconditionFailed" if Key in self.objects else "NoSuchKey", "PutObject")
        self.objects[Key] = Body
        self.writes.append(Key)
        self.after_write(Key)
        return {"ETag": self._etag(Key), "ResponseMetadata": self._metadata()}

    def get_paginator(self, _: str) -> Any:
        return self

    def paginate(self, *, Prefix: str, StartAfter: str = "", Delimiter: str | None = None, **_: Any) -> Iterator[dict[str, Any]]:
        """List in pages of a thousand, as S3 does: what is below a delimiter counts once, as one of its common prefixes."""
        keys = sorted(key for key in self.objects if key.startswith(Prefix) and key > StartAfter)
        rows = dict.fromkeys(self._row(key, Prefix, Delimiter) for key in keys)
        names = [name for name in rows if name > StartAfter]
        for start in range(0, max(len(names), 1), _PAGE):
            self.requests.append(("list", Prefix))
            yield {
                "Contents": [
                    {"Key": key, "Size": len(self.objects[key]), "ETag": self._etag(key), "LastModified": self.now}
                    for key in names[start : start + _PAGE]
                    if key in self.objects
                ]
            }

    @staticmethod
    def _row(key: str, prefix: str, delimiter: str | None) -> str:
        """Return what a listing shows of a key: the key, or what it has in common with others up to the delimiter."""
        if delimiter is None or delimiter not in key.removeprefix(prefix):
            return key
        return prefix + key.removeprefix(prefix).split(delimiter)[0] + delimiter

    def error(self, code: str, operation: str = "PutObject") -> ClientError:
        """Make the error that AWS sends with this code."""
        response: Any = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": self._metadata()}
        return ClientError(response, operation)

    def _etag(self, key: str) -> str:
        return f'"{hashlib.md5(self.objects[key], usedforsecurity=False).hexdigest()}"'

    def _metadata(self) -> dict[str, Any]:
        return {"HTTPHeaders": {"date": format_datetime(self.now, usegmt=True)}}
