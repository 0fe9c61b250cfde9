"""Model data from S3 into a container's ``/opt/ml``: copied once, then hard-linked to every instance that uses it."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import threading
import time
import uuid
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import AwsError, DownloadError, UnsafeNameError
from sagemaker_local.identity.identities import Caller
from sagemaker_local.received_files import ReceivedFiles, extract
from sagemaker_local.s3.front import open_object

if TYPE_CHECKING:
    from sagemaker_local.context import Context
    from sagemaker_local.hosting.instances.containers import ModelData

_BLOCK_BYTES = 4 << 20
_Listed = tuple[str, str, str, int]
"""An object: path below the destination, key, ETag, size."""


@dataclass
class ModelDataCache:
    """Folders under the state directory, one for each distinct content of model data."""

    context: Context
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def root(self) -> Path:
        """Where the folders are."""
        return self.context.state_dir / "model-data"

    def provide(self, data: ModelData, region: str, role_arn: str | None, destination: Path, until: float = float("inf")) -> None:
        """Put model data, read with a role, at ``destination``, as read-only hard links where the file system can.

        Args:
            data: what and where.
            region: whose S3.
            role_arn: the model's execution role.
            destination: a folder, made here.
            until: when it must be there, on the monotonic clock.

        Raises:
            DownloadError: there is nothing at the address, an archive is broken, or it takes too long.
        """
        bucket, _, prefix = data.uri.removeprefix("s3://").partition("/")
        objects = self._objects(data, bucket, prefix, region, role_arn)
        digest = hashlib.sha256(repr((data.compression, objects)).encode()).hexdigest()[:32]
        caller = Caller(self.context.account_id, role_arn)
        left_s = min(threading.TIMEOUT_MAX, max(0.0, until - time.monotonic()))
        if not self._lock.acquire(timeout=left_s):  # one download at a time: the second instance finds the first one's
            raise _too_slow(data)
        try:
            folder = self.root / digest
            if not folder.is_dir():
                partial = self.root / f"{digest}.{uuid.uuid4().hex[:8]}.partial"
                partial.mkdir(parents=True)
                try:
                    self._fetch_all(bucket, objects, ReceivedFiles(partial), data, caller, until)
                    partial.rename(folder)
                except BaseException:
                    shutil.rmtree(partial, ignore_errors=True)
                    raise
            _link_tree(folder, destination)
        finally:
            self._lock.release()

    def prune(self) -> None:
        """Remove content that no instance uses: no file in it has a second link."""
        with self._lock:
            for folder in self.root.glob("*"):
                files = [file for file in folder.rglob("*") if file.is_file()]
                if all(file.stat().st_nlink == 1 for file in files):
                    shutil.rmtree(folder, ignore_errors=True)

    def _objects(self, data: ModelData, bucket: str, prefix: str, region: str, role_arn: str | None) -> list[_Listed]:
        """List every object.

        ``S3Prefix`` takes every key below the prefix; a prefix is a folder here, as it must end with a slash there.
        """
        s3 = self.context.client("s3", region, role_arn)
        folder = prefix if prefix.endswith("/") or data.data_type == "S3Object" or not prefix else f"{prefix}/"
        found: list[_Listed] = []
        try:
            for listing in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=folder):
                found += [_entry(data, folder, item) for item in listing.get("Contents", []) if not item["Key"].endswith("/")]
        except s3.exceptions.ClientError as error:
            raise _missing(data) from error
        if data.data_type == "S3Object":
            found = [entry for entry in found if entry[1] == prefix]
        if not found:
            raise _missing(data)
        return found

    def _fetch_all(
        self, bucket: str, objects: list[_Listed], files: ReceivedFiles, data: ModelData, caller: Caller, until: float
    ) -> None:
        try:
            for relative, name, _, _ in objects:
                self.context.calls.made(caller, "s3", "GetObject", {"Bucket": bucket, "Key": name})
                with files.writing(relative) as path:
                    self._fetch(bucket, name, path, data, until)
        except UnsafeNameError as error:
            raise _unsafe(data, error) from error

    def _fetch(self, bucket: str, name: str, destination: Path, data: ModelData, until: float) -> None:
        try:
            source = open_object(self.context.moto, bucket, name)
        except AwsError as error:
            raise _missing(data) from error
        try:
            with destination.open("wb") as file:
                for start in range(0, source.size, _BLOCK_BYTES):
                    if time.monotonic() > until:
                        raise _too_slow(data)
                    file.write(source.read(start, _BLOCK_BYTES))
        finally:
            source.close()
        if data.compression == "Gzip":
            _extract(destination, data)


def _entry(data: ModelData, folder: str, item: dict[str, Any]) -> _Listed:
    key = item["Key"]
    relative = key.rpartition("/")[2] if data.data_type == "S3Object" else key.removeprefix(folder)
    return relative, key, item["ETag"], item["Size"]


def _extract(archive: Path, data: ModelData) -> None:
    """Replace a .tar.gz by its content, which may have a file of the archive's own name."""
    packed = archive.rename(archive.with_name(f"{uuid.uuid4().hex}.archive"))
    try:
        extract(packed, archive.parent)
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise DownloadError(
            f'Failed to extract model data archive from URL: "{data.uri}". The model data archive is malformed: {error}. '
            "Please ensure that it is a valid archive of type tar.gz."
        ) from error
    packed.unlink()


def _missing(data: ModelData) -> DownloadError:
    return DownloadError(
        f'Failed to download model data for container "container_1" from URL: "{data.uri}". Please ensure that there is an object '
        "located at the URL and that the role passed to CreateModel has permissions to download the object."
    )


def _unsafe(data: ModelData, error: UnsafeNameError) -> DownloadError:
    return DownloadError(
        f'Failed to download model data for container "container_1" from URL: "{data.uri}". Of the files there, {error}. Please '
        "ensure that each of them is a file below that URL or in that archive, by a name of its own."
    )


def _too_slow(data: ModelData) -> DownloadError:
    return DownloadError(
        f'Failed to download model data for container "container_1" from URL: "{data.uri}" within ModelDataDownloadTimeoutInSeconds. '
        "Please increase the timeout."
    )


def _link_tree(source: Path, destination: Path) -> None:
    for file in source.rglob("*"):
        target = destination / file.relative_to(source)
        if file.is_dir():
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file, target)
        except OSError:  # another file system, or one without links
            shutil.copyfile(file, target)
    destination.mkdir(parents=True, exist_ok=True)
