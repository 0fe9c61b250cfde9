"""What a job is given: objects of S3 brought to the places in its sandbox where the container expects them."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sagemaker_local.errors import NotImplementedHere

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sagemaker_local.processing.layout import InstanceLayout

_IN_ONE_GET_BYTES = 8 * 1024 * 1024  # smaller objects: one plain GET, without the transfer manager's threads


class InputError(Exception):
    """An input that could not be brought: the message becomes the job's FailureReason."""


@dataclass(frozen=True)
class _Object:
    """An object to fetch, and its path below the input's LocalPath."""

    bucket: str
    key: str
    relative: str
    size_bytes: int


def refuse_unsupported(inputs: Sequence[Mapping[str, Any]]) -> None:
    """Refuse, by name, what processing inputs can ask for on AWS and not here.

    Raises:
        NotImplementedHere: a DatasetDefinition, Pipe mode, or an S3Input without a LocalPath.
    """
    for item in inputs:
        name = item.get("InputName", "?")
        if "DatasetDefinition" in item:
            raise NotImplementedHere(f"ProcessingInput {name!r}: DatasetDefinition (Athena, Redshift) is not emulated.")
        source = item.get("S3Input") or {}
        if source.get("S3InputMode") == "Pipe":
            raise NotImplementedHere(f"ProcessingInput {name!r}: S3InputMode Pipe is not emulated, use File.")


def bring(s3: Any, inputs: Sequence[Mapping[str, Any]], layouts: Sequence[InstanceLayout]) -> None:
    """Fetch every input for every instance: whole (FullyReplicated) or its share of the keys (ShardedByS3Key).

    Raises:
        InputError: there is nothing at an address, or S3 refuses it.
    """
    for item in inputs:
        source = item.get("S3Input")
        if source is None or item.get("AppManaged"):
            continue
        objects = list(_objects(s3, source))
        if not objects:
            raise InputError(
                f'ClientError: Failed to download data. No S3 objects found under S3 URL "{source["S3Uri"]}" '
                f"given in input {item['InputName']!r}."
            )
        sharded = source.get("S3DataDistributionType") == "ShardedByS3Key"
        for index, layout in enumerate(layouts):
            target = layout.local(source["LocalPath"])
            target.mkdir(parents=True, exist_ok=True)
            for entry in objects[index :: len(layouts)] if sharded else objects:
                _fetch(s3, entry, target)


def split_uri(uri: str) -> tuple[str, str]:
    """The bucket and the key (or prefix) of an ``s3://`` address."""
    parts = urlsplit(uri, allow_fragments=False)
    query = f"?{parts.query}" if parts.query else ""
    return parts.netloc, parts.path.lstrip("/") + query


def _objects(s3: Any, source: Mapping[str, Any]) -> Iterator[_Object]:
    bucket, prefix = split_uri(source["S3Uri"])
    try:
        if source.get("S3DataType", "S3Prefix") == "ManifestFile":
            yield from _manifest_objects(s3, bucket, prefix)
        else:
            yield from _prefix_objects(s3, bucket, prefix)
    except s3.exceptions.ClientError as error:
        detail = error.response.get("Error", {})
        raise InputError(
            f"ClientError: Failed to download data. {detail.get('Code')} for {source['S3Uri']}: {detail.get('Message')}"
        ) from error


def _prefix_objects(s3: Any, bucket: str, prefix: str) -> Iterator[_Object]:
    """The objects below a prefix, in key order, each with its path relative to the folder that the prefix names."""
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", ()):
            key, size = entry["Key"], entry["Size"]
            if key.endswith("/"):  # the marker that the console creates for an empty folder
                continue
            yield _Object(bucket, key, _relative(prefix, key), size)


def _relative(prefix: str, key: str) -> str:
    if key == prefix:
        return PurePosixPath(key).name
    rest = key[len(prefix) :]
    if not prefix or prefix.endswith("/") or rest.startswith("/"):
        return rest.lstrip("/")
    return key[prefix.rfind("/") + 1 :]  # a prefix that ends inside a name


def _manifest_objects(s3: Any, bucket: str, key: str) -> Iterator[_Object]:
    """The objects of a manifest: ``[{"prefix": "s3://BUCKET/FOLDER/"}, "RELATIVE", …]`` (API reference, S3DataSource)."""
    entries = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    if not entries or not isinstance(entries[0], dict) or "prefix" not in entries[0]:
        raise InputError(f'ClientError: The manifest s3://{bucket}/{key} does not start with {{"prefix": "s3://…"}}.')
    target_bucket, prefix = split_uri(entries[0]["prefix"])
    for relative in entries[1:]:
        head = s3.head_object(Bucket=target_bucket, Key=prefix + relative)
        yield _Object(target_bucket, prefix + relative, relative, head["ContentLength"])


def _fetch(s3: Any, entry: _Object, target: Path) -> None:
    path = target / entry.relative
    if not path.resolve().is_relative_to(target.resolve()):
        raise InputError(f"ClientError: S3 key {entry.key!r} would leave the input's folder.")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        if entry.size_bytes > _IN_ONE_GET_BYTES:
            s3.download_file(entry.bucket, entry.key, str(path))
            return
        with path.open("wb") as file:
            shutil.copyfileobj(s3.get_object(Bucket=entry.bucket, Key=entry.key)["Body"], file)
    except s3.exceptions.ClientError as error:
        raise InputError(f"ClientError: Failed to download data. s3://{entry.bucket}/{entry.key}: {error}") from error
