"""Objects of S3, brought to where a job's container expects them."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sagemaker_local.errors import InputError, UnsafeNameError
from sagemaker_local.received_files import ReceivedFiles

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_IN_ONE_GET_BYTES = 8 * 1024 * 1024  # smaller objects: one plain GET, without the transfer manager's threads


@dataclass(frozen=True)
class _S3Object:
    """An object to fetch, and its path below the input's LocalPath."""

    bucket: str
    key: str
    relative: str
    size_bytes: int


@dataclass(frozen=True)
class S3Source:
    """Where an input comes from, in the words that processing inputs and training channels share."""

    name: str
    uri: str
    data_type: str = "S3Prefix"
    """``S3Prefix`` or ``ManifestFile``."""
    distribution: str = "FullyReplicated"
    """``FullyReplicated`` or ``ShardedByS3Key``."""


def bring(s3: Any, source: S3Source, folders: Sequence[Path], *, may_be_empty: bool = False) -> None:
    """Fetch a source into each instance's folder: whole (FullyReplicated) or its share of the keys (ShardedByS3Key).

    Args:
        s3: a client with the job's role.
        source: what and where.
        folders: one an instance; made here.
        may_be_empty: nothing at the address is no error.

    Raises:
        InputError: there is nothing at the address, S3 refuses it, or a key cannot be a file of the folder.
    """
    objects = list(_objects(s3, source))
    if not objects and not may_be_empty:
        raise InputError(
            f'ClientError: Failed to download data. No S3 objects found under S3 URL "{source.uri}" given in input '
            f"{source.name!r}."
        )
    sharded = source.distribution == "ShardedByS3Key"
    for index, folder in enumerate(folders):
        folder.mkdir(parents=True, exist_ok=True)
        files = ReceivedFiles(folder)
        for entry in objects[index :: len(folders)] if sharded else objects:
            _fetch(s3, entry, files)


def split_uri(uri: str) -> tuple[str, str]:
    """Return the bucket and the key (or prefix) of an ``s3://`` address.

    >>> split_uri("s3://weights/chat/model.safetensors")
    ('weights', 'chat/model.safetensors')
    """
    parts = urlsplit(uri, allow_fragments=False)
    query = f"?{parts.query}" if parts.query else ""
    return parts.netloc, parts.path.lstrip("/") + query


def _objects(s3: Any, source: S3Source) -> Iterator[_S3Object]:
    bucket, prefix = split_uri(source.uri)
    try:
        if source.data_type == "ManifestFile":
            yield from _manifest_objects(s3, bucket, prefix)
        else:
            yield from _prefix_objects(s3, bucket, prefix)
    except s3.exceptions.ClientError as error:
        detail = error.response.get("Error", {})
        raise InputError(
            f"ClientError: Failed to download data. {detail.get('Code')} for {source.uri}: {detail.get('Message')}"
        ) from error


def _prefix_objects(s3: Any, bucket: str, prefix: str) -> Iterator[_S3Object]:
    """Yield the objects below a prefix, in key order, each with its path relative to the folder that the prefix names."""
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", ()):
            key, size = entry["Key"], entry["Size"]
            if key.endswith("/"):  # the marker that the console creates for an empty folder
                continue
            yield _S3Object(bucket, key, _relative(prefix, key), size)


def _relative(prefix: str, key: str) -> str:
    if key == prefix:
        return PurePosixPath(key).name
    rest = key[len(prefix) :]
    if not prefix or prefix.endswith("/") or rest.startswith("/"):
        return rest.lstrip("/")
    return key[prefix.rfind("/") + 1 :]  # a prefix that ends inside a name


def _manifest_objects(s3: Any, bucket: str, key: str) -> Iterator[_S3Object]:
    """Yield the objects of a manifest: ``[{"prefix": "s3://BUCKET/FOLDER/"}, "RELATIVE", …]`` (API reference, S3DataSource)."""
    try:
        first, *names = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        target_bucket, prefix = split_uri(first["prefix"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise InputError(f'ClientError: The manifest s3://{bucket}/{key} does not start with {{"prefix": "s3://…"}}.') from None
    for relative in names:
        if not isinstance(relative, str):
            raise InputError(f"ClientError: The manifest s3://{bucket}/{key} names {relative!r}, which is no key.")
        head = s3.head_object(Bucket=target_bucket, Key=prefix + relative)
        yield _S3Object(target_bucket, prefix + relative, relative, head["ContentLength"])


def _fetch(s3: Any, entry: _S3Object, files: ReceivedFiles) -> None:
    try:
        with files.writing(entry.relative) as path:
            if entry.size_bytes > _IN_ONE_GET_BYTES:
                s3.download_file(entry.bucket, entry.key, str(path))
                return
            with path.open("wb") as file:
                shutil.copyfileobj(s3.get_object(Bucket=entry.bucket, Key=entry.key)["Body"], file)
    except UnsafeNameError as error:
        raise InputError(f"ClientError: Failed to download data. Of the keys in s3://{entry.bucket}, {error}.") from error
    except s3.exceptions.ClientError as error:
        raise InputError(f"ClientError: Failed to download data. s3://{entry.bucket}/{entry.key}: {error}") from error
