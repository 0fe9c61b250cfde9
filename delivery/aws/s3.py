"""S3 as the steps use it: addresses, a client with every limit named, small JSON documents, conditional writes, listings."""

from __future__ import annotations

import base64
import hashlib
import re
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

from delivery.aws import client_errors
from delivery.errors import InputError

_AWS_HOST = re.compile(r"\.amazonaws\.com(\.cn)?$")

S3Client = Any
"""boto3's S3 client (boto3 publishes no types)."""


@dataclass(frozen=True)
class S3Uri:
    """`s3://BUCKET/KEY`; a key that ends in a slash is a prefix."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `s3://BUCKET/KEY`; InputError when it is anything else."""
        parts = urlsplit(text)
        if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment:
            raise InputError(f"{text!r} is not an S3 address; expected s3://BUCKET/KEY")
        return cls(parts.netloc, parts.path.removeprefix("/"))

    def __truediv__(self, path: str) -> Self:
        """The address of `path` below this prefix."""
        return type(self)(self.bucket, f"{self.key.removesuffix('/')}/{path}" if self.key else path)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class ListedObject:
    """One object of a listing: its key below the listed prefix, size in bytes, entity tag and time of writing (epoch seconds)."""

    path: str
    size: int
    etag: str
    modified_at: float


def client(
    region: str,
    *,
    bucket_owner: str | None = None,
    connections: int = 16,
    attempts: int = 8,
    connect_timeout_s: float = 10,
    read_timeout_s: float = 60,
) -> S3Client:
    """An S3 client: `connections` sockets kept, every call tried `attempts` times with growing pauses (botocore's standard mode).

    With `bucket_owner` (an account id) every call fails on a bucket of another account. Bodies are not signed: the checksum that goes
    with every upload is, and hashing each byte a second time would cost a core. Presigned addresses are the region's own.
    """
    import boto3
    from botocore.config import Config

    config = Config(
        max_pool_connections=connections,
        retries={"mode": "standard", "total_max_attempts": attempts},
        connect_timeout=connect_timeout_s,
        read_timeout=read_timeout_s,
        tcp_keepalive=True,
        signature_version="s3v4",
        s3={"payload_signing_enabled": False},
    )
    s3: S3Client = boto3.client("s3", region_name=region, config=config)
    if _AWS_HOST.search(s3.meta.endpoint_url):
        # boto3 presigns for the global s3.amazonaws.com unless it must put the bucket into the host's name (`_should_use_global_endpoint`
        # in botocore.signers). That host redirects (307) for a bucket's first hours, refuses regions that opened after 2019-03-20
        # ("Virtual hosting of buckets", S3 user guide), and is not behind a VPC's endpoint for S3. An S3 of one's own wants the path.
        named = Config(s3={**config.s3, "addressing_style": "virtual"})
        s3 = boto3.client("s3", region_name=region, config=config.merge(named))
    if bucket_owner:
        s3.meta.events.register("provide-client-params.s3", lambda params, **_: {**params, "ExpectedBucketOwner": bucket_owner})
    return s3


def error_code(error: BaseException) -> str:
    """AWS's code of a ClientError, as in NoSuchKey or 404; empty for anything else."""
    response: Any = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def translate_client_errors(action: str) -> AbstractContextManager[None]:
    """`delivery.aws.client_errors.translate_client_errors` for what S3 does: where it denies, the bucket and its key are what to look at."""
    return client_errors.translate_client_errors(action, "that permission on the bucket (and on its KMS key)")


def read(s3: S3Client, uri: S3Uri) -> bytes | None:
    """The object's bytes, None when there is none. botocore checks them against the object's own checksum where it has one."""
    from botocore.exceptions import ClientError

    with translate_client_errors(f"read {uri}"):
        try:
            return bytes(s3.get_object(Bucket=uri.bucket, Key=uri.key, ChecksumMode="ENABLED")["Body"].read())
        except ClientError as error:
            if error_code(error) == "NoSuchKey":
                return None
            raise


def write_json(s3: S3Client, uri: S3Uri, body: bytes, *, only_if_absent: bool = False, **options: Any) -> bool:
    """Write a JSON document with its SHA-256 as checksum; True when written.

    With `only_if_absent` (If-None-Match: *) False means that somebody else's document is there. `options` go to PutObject.
    """
    from botocore.exceptions import ClientError

    if only_if_absent:
        options["IfNoneMatch"] = "*"
    with translate_client_errors(f"write {uri}"):
        try:
            s3.put_object(
                Bucket=uri.bucket,
                Key=uri.key,
                Body=body,
                ContentType="application/json",
                ChecksumSHA256=base64.b64encode(hashlib.sha256(body).digest()).decode(),
                **options,
            )
        except ClientError as error:
            if only_if_absent and error_code(error) in {"PreconditionFailed", "ConditionalRequestConflict", "412"}:
                return False
            raise
    return True


def list_objects(s3: S3Client, prefix: S3Uri) -> dict[str, ListedObject]:
    """Everything under a prefix, by path below it."""
    found: dict[str, ListedObject] = {}
    with translate_client_errors(f"list {prefix}"):
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=prefix.bucket, Prefix=prefix.key):
            for item in page.get("Contents", []):
                path = item["Key"].removeprefix(prefix.key)
                found[path] = ListedObject(path, item["Size"], item["ETag"], item["LastModified"].timestamp())
    return found
