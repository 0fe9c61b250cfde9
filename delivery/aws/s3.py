"""S3 as the steps use it: addresses, a client with every limit named, small JSON documents, conditional writes, listings."""

from __future__ import annotations

import base64
import hashlib
import re
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from delivery.aws import client_errors
from delivery.errors import InputError

if TYPE_CHECKING:  # a stub, installed for development only
    from botocore.config import _S3Dict
    from types_boto3_s3.client import S3Client

_AWS_HOST = re.compile(r"\.amazonaws\.com(\.cn)?$")
_UNSIGNED: _S3Dict = {"payload_signing_enabled": False}


@dataclass(frozen=True)
class S3Uri:
    """`s3://BUCKET/KEY`; a key that ends in a slash is a prefix."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address.

        Args:
            text: `s3://BUCKET/KEY`.

        Returns:
            The address.

        Raises:
            InputError: It is anything else.

        Example:
            >>> S3Uri.parse("s3://release/weights/") / "config.json"
            S3Uri(bucket='release', key='weights/config.json')
        """
        parts = urlsplit(text)
        if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment:
            raise InputError(f"{text!r} is not an S3 address; expected s3://BUCKET/KEY")
        return cls(parts.netloc, parts.path.removeprefix("/"))

    def __truediv__(self, path: str) -> Self:
        """Return the address of `path` below this prefix."""
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
    """Make an S3 client with every limit named.

    Bodies are not signed: the checksum that goes with every upload is, and hashing each byte a second time would cost a core. Presigned
    addresses are the region's own.

    Args:
        region: The AWS region.
        bucket_owner: An account id; every call fails on a bucket of another account.
        connections: How many sockets are kept.
        attempts: How often a call is tried, with exponential backoff and jitter (botocore's standard mode).
        connect_timeout_s: How long a connection may take to be made.
        read_timeout_s: How long a connection may be silent.

    Returns:
        The client, safe to share between threads.
    """
    import boto3  # deferred: with botocore.config 0.3 s, and the command's --help imports this module
    from botocore.config import Config

    config = Config(
        max_pool_connections=connections,
        retries={"mode": "standard", "total_max_attempts": attempts},
        connect_timeout=connect_timeout_s,
        read_timeout=read_timeout_s,
        tcp_keepalive=True,
        signature_version="s3v4",
        s3=_UNSIGNED,
    )
    s3 = boto3.client("s3", region_name=region, config=config)
    if _AWS_HOST.search(s3.meta.endpoint_url):
        # boto3 presigns for the global s3.amazonaws.com unless it must put the bucket into the host's name (`_should_use_global_endpoint`
        # in botocore.signers). That host redirects (307) for a bucket's first hours, refuses regions that opened after 2019-03-20
        # ("Virtual hosting of buckets", S3 user guide), and is not behind a VPC's endpoint for S3. An S3 of one's own wants the path.
        named = Config(s3={**_UNSIGNED, "addressing_style": "virtual"})
        s3 = boto3.client("s3", region_name=region, config=config.merge(named))
    if bucket_owner:

        def with_owner(params: dict[str, Any], **_: Any) -> dict[str, Any]:
            return {**params, "ExpectedBucketOwner": bucket_owner}

        # The stub says that a hook returns nothing; what this one returns are the call's parameters (botocore.client).
        s3.meta.events.register("provide-client-params.s3", with_owner)  # type: ignore[arg-type]
    return s3


def error_code(error: BaseException) -> str:
    """Return AWS's code of a ClientError, as in NoSuchKey or 404; empty for anything else."""
    response: Any = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def translate_client_errors(action: str) -> AbstractContextManager[None]:
    """Translate errors as `client_errors` does; where S3 denies, the bucket and its key are what to look at."""
    return client_errors.translate_client_errors(action, "that permission on the bucket (and on its KMS key)")


def read(s3: S3Client, uri: S3Uri) -> bytes | None:
    """Read an object. botocore checks the bytes against the object's own checksum where it has one.

    Args:
        s3: The client.
        uri: Where it is.

    Returns:
        Its bytes; None when there is none.

    Raises:
        DeliveryError: S3 refused, or could not be reached.
    """
    with translate_client_errors(f"read {uri}"):
        try:
            return bytes(s3.get_object(Bucket=uri.bucket, Key=uri.key, ChecksumMode="ENABLED")["Body"].read())
        except ClientError as error:
            if error_code(error) == "NoSuchKey":
                return None
            raise


def write_json(s3: S3Client, uri: S3Uri, body: bytes, *, only_if_absent: bool = False, **options: Any) -> bool:
    """Write a JSON document with its SHA-256 as checksum.

    Args:
        s3: The client.
        uri: Where to.
        body: The document.
        only_if_absent: Write it only where nothing is there (If-None-Match: *).
        options: Further parameters of PutObject (ServerSideEncryption and the like).

    Returns:
        Whether it was written: with `only_if_absent`, False means that somebody else's document is there, or being written.

    Raises:
        DeliveryError: S3 refused, or could not be reached.
    """
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
    """List everything under a prefix.

    Args:
        s3: The client.
        prefix: Its key ends in a slash.

    Returns:
        Each object, by its path below the prefix.

    Raises:
        DeliveryError: S3 refused, or could not be reached.
    """
    found: dict[str, ListedObject] = {}
    with translate_client_errors(f"list {prefix}"):
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=prefix.bucket, Prefix=prefix.key):
            for item in page.get("Contents", []):
                path = item["Key"].removeprefix(prefix.key)
                found[path] = ListedObject(path, item["Size"], item["ETag"], item["LastModified"].timestamp())
    return found
