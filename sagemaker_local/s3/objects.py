"""S3 objects as files under the state directory, in place of moto's anonymous temporary files, so that they survive a restart.

A deleted or replaced object's file stays until the snapshot that no longer has it is on disk: a killed server goes back to its
last snapshot, which must not find its objects empty. A multipart upload's parts become one object block by block; moto joins
them in memory, three times.
"""

from __future__ import annotations

import gc
import hashlib
import logging
import os
import shutil
import threading
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from sagemaker_local.moto_bridge.bridge import backends
from sagemaker_local.moto_bridge.patching import replace_method
from sagemaker_local.s3.upload import S3Checksum

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moto.s3.models import FakeBucket, FakeDeleteMarker, FakeKey, FakeMultipart

_BLOCK_BYTES = 1 << 20
_LOGGER = logging.getLogger(__name__)
_saving = threading.local()
_deleted: list[Path] = []


@contextmanager
def _whole_or_none(path: Path) -> Iterator[None]:
    """While a file is written: on a full disk a piece of an object only takes room."""
    try:
        yield
    except OSError:
        path.unlink(missing_ok=True)
        raise


class JoinedBody(bytes):
    """The value of an object made of parts, already in a file: what moto measures and writes as if it were bytes."""

    path: Path
    parts: list[ObjectFile]
    sizes: list[int]

    @classmethod
    def of(cls, path: Path, parts: list[ObjectFile]) -> JoinedBody:
        """Return the value of these parts, to be written to this file."""
        self = cls()
        self.path, self.parts, self.sizes = path, parts, [part.size for part in parts]
        return self

    def __len__(self) -> int:
        return sum(self.sizes)

    def become(self, path: Path) -> None:
        """Be the object's file, and the parts stretches of it."""
        self.path.replace(path)
        start = 0
        for part, size in zip(self.parts, self.sizes, strict=True):
            part.be_stretch(path, start, size)
            start += size


class UploadedBody(bytes):
    """A large body that stays in its file: what moto measures and writes as if it were bytes, of which it has none in memory."""

    file: IO[bytes]
    length: int

    @classmethod
    def of(cls, file: IO[bytes], length: int) -> UploadedBody:
        """Return the body that is in this file, which stays the caller's."""
        self = cls()
        self.file, self.length = file, length
        return self

    def __len__(self) -> int:
        return self.length

    def become(self, path: Path) -> None:
        """Be the object's file."""
        self.file.seek(0)
        with _whole_or_none(path), path.open("wb") as target:
            shutil.copyfileobj(self.file, target, _BLOCK_BYTES)


@dataclass(frozen=True)
class UploadedBodyInput:
    """A WSGI input whose ``read`` gives the whole body as an ``UploadedBody``."""

    body: UploadedBody

    def read(self, _size: int = -1) -> UploadedBody:
        """Return the whole body."""
        return self.body


class ObjectFile:
    """A file with the few methods that moto's FakeKey calls. It is opened for each call, so that objects cost no descriptors.

    ``length`` set: a part of a finished upload, which is this stretch of the whole object's file.
    """

    def __init__(self, path: Path, start: int = 0, length: int | None = None) -> None:
        self.path = path
        self._start, self._length = start, length
        self._position = 0
        self._closed = False

    @property
    def size(self) -> int:
        """Its bytes."""
        return self.path.stat().st_size if self._length is None else self._length

    @property
    def stretch(self) -> tuple[int, int]:
        """(start, length) in its file."""
        return self._start, self.size

    @property
    def state(self) -> tuple[str, int, int | None]:
        """What makes it again, beside the folder it is in."""
        return self.path.name, self._start, self._length

    def seek(self, position: int) -> None:
        """Go to a place, counted from the beginning."""
        self._position = position

    def truncate(self) -> None:
        """Cut the file here."""
        os.truncate(self.path, self._position)

    def write(self, data: bytes) -> None:
        """Write here and go on behind it."""
        if isinstance(data, JoinedBody | UploadedBody):
            data.become(self.path)
            return
        with _whole_or_none(self.path), self.path.open("r+b") as file:
            file.seek(self._position)
            file.write(data)
            self._position = file.tell()

    def be_stretch(self, path: Path, start: int, length: int) -> None:
        """Be a part of another file. moto has closed it by then, and its own file is gone."""
        self.path, self._start, self._length, self._closed = path, start, length, False

    def read(self, length: int = -1) -> bytes:
        """Read from here, to the end by default.

        Raises:
            ValueError: the object was deleted.
        """
        if self._closed:
            raise ValueError("I/O operation on closed file")
        with self.path.open("rb") as file:
            file.seek(self._start + self._position)
            left = self.size - self._position
            data = file.read(left if length < 0 else min(length, left))
            self._position += len(data)
            return data

    def blocks(self) -> Iterator[bytes]:
        """Yield all of it, block by block."""
        with self.path.open("rb") as file:
            file.seek(self._start)
            left = self.size
            while left and (block := file.read(min(left, _BLOCK_BYTES))):
                left -= len(block)
                yield block

    def open(self) -> int:
        """Return a descriptor for reading, the caller's to close; it stays good when the object is deleted."""
        return os.open(self.path, os.O_RDONLY)

    def close(self) -> None:
        """Let go of a deleted object. Its file goes with ``deletions_kept``."""
        self._closed = True
        if self._length is None:
            _deleted.append(self.path)


def file_of(key: FakeKey) -> ObjectFile:
    """Return the file of an object of moto's, which `install` has put in place of a temporary one."""
    buffer: object = key._value_buffer
    assert isinstance(buffer, ObjectFile)  # noqa: S101 -- every object is made after `install`
    return buffer


def complete(multipart: FakeMultipart, listed: Iterator[tuple[int, str]]) -> tuple[JoinedBody, str, tuple[str, str, int]]:
    """Do what FakeMultipart.complete does, without the parts in memory: the value, the ETag, and (type, checksum, parts) of the checksum.

    Raises:
        InvalidPart, EntityTooSmall, MalformedXML: moto's, as CompleteMultipartUpload answers.
    """
    parts = list(_listed_parts(multipart, listed))
    algorithm = (multipart.metadata.get("x-amz-checksum-algorithm") or "CRC64NVME").lower()
    kind = multipart.metadata.get("x-amz-checksum-type") or ("FULL_OBJECT" if algorithm == "crc64nvme" else "COMPOSITE")
    md5s, whole, of_parts = hashlib.md5(usedforsecurity=False), S3Checksum(algorithm), S3Checksum(algorithm)
    files = [file_of(part) for part in parts]
    value = JoinedBody.of(files[0].path.with_name(uuid.uuid4().hex), files)
    with _whole_or_none(value.path), value.path.open("wb") as file:
        for part, source in zip(parts, files, strict=True):
            md5s.update(bytes.fromhex(part.etag.strip('"')))
            own = whole if kind == "FULL_OBJECT" else S3Checksum(algorithm)
            for block in source.blocks():
                own.update(block)
                file.write(block)
            if own is not whole:
                of_parts.update(own.digest())
    checksum = (kind, whole.value(), 1) if kind == "FULL_OBJECT" else (kind, of_parts.value(), len(parts))
    return value, f"{md5s.hexdigest()}-{len(parts)}", checksum


def _listed_parts(multipart: FakeMultipart, listed: Iterator[tuple[int, str]]) -> Iterator[FakeKey]:
    """Yield the parts that the request lists, checked."""
    # deferred: moto costs 0.5 s, and reads its settings when it is imported
    from moto import settings
    from moto.s3 import exceptions

    last = None
    for number, etag in listed:
        part = multipart.parts.get(number)
        if part is None or part.etag.strip('"') != etag.strip('"'):
            raise exceptions.InvalidPart()
        if last is not None and last.contentsize < settings.S3_UPLOAD_PART_MIN_SIZE:
            raise exceptions.EntityTooSmall()
        last = part
        yield part
    if last is None:
        raise exceptions.MalformedXML()


def install(folder: Path) -> None:
    """Let moto keep objects in this folder."""
    # deferred: moto costs 0.5 s, and reads its settings when it is imported
    from moto.s3 import models

    folder.mkdir(parents=True, exist_ok=True)

    class Temporary:
        """Stands in for the module ``tempfile`` in moto's module."""

        @staticmethod
        def SpooledTemporaryFile(max_size: int = 0) -> ObjectFile:
            """Return a new object's file."""
            file = ObjectFile(folder / uuid.uuid4().hex)
            file.path.touch()
            return file

    moto_getstate, moto_setstate = models.FakeKey.__getstate__, models.FakeKey.__setstate__

    def getstate(key: FakeKey) -> dict[str, Any]:
        if not getattr(_saving, "active", False):  # a copy of an object, with bytes of its own
            return moto_getstate(key)
        state = {name: value for name, value in key.__dict__.items() if name not in ("_value_buffer", "lock")}
        return {**state, "_object_file": file_of(key).state}

    def setstate(key: FakeKey, state: dict[str, Any]) -> None:
        if "_object_file" not in state:
            moto_setstate(key, state)
            return
        key.__dict__.update({name: value for name, value in state.items() if name != "_object_file"})
        key.__dict__["_value_buffer"] = _restored(folder, *state["_object_file"])
        key.lock = threading.Lock()

    vars(models)["tempfile"] = Temporary
    replace_method(models.FakeKey, moto_getstate, getstate)
    replace_method(models.FakeKey, moto_setstate, setstate)
    replace_method(models.FakeMultipart, models.FakeMultipart.complete, complete)


def _restored(folder: Path, name: str, start: int, length: int | None) -> ObjectFile:
    return ObjectFile(folder / name, start, length)


@contextmanager
def by_name() -> Iterator[None]:
    """While this lasts, this thread pickles objects by the names of their files, not with their bytes."""
    _saving.active = True
    try:
        yield
    finally:
        _saving.active = False


@contextmanager
def deletions_kept() -> Iterator[None]:
    """While this lasts, a snapshot is written; what was deleted before it began is then gone from the disk, too.

    Also where it could not be written: what was deleted on a full disk must make room for it.
    """
    count = len(_deleted)
    try:
        yield
    finally:
        for path in _deleted[:count]:
            path.unlink(missing_ok=True)
        del _deleted[:count]


def forget_orphans(folder: Path) -> None:
    """Make moto's objects and the files agree, after a server that was killed between a change and its snapshot.

    Files of objects that moto does not know go; so do objects and parts without a file, rather than to be there and empty.
    """
    # deferred: moto costs 0.5 s, and reads its settings when it is imported
    from moto.s3.models import FakeKey

    for regions in backends("s3").values():
        for backend in regions.values():
            for bucket in backend.buckets.values():
                _forget_lost(bucket)
    known = {file_of(key).path.name for key in gc.get_objects() if isinstance(key, FakeKey)}
    for file in folder.iterdir():
        if file.name not in known:
            file.unlink(missing_ok=True)


def _forget_lost(bucket: FakeBucket) -> None:
    """Drop the versions and parts of a bucket whose bytes are not there."""
    for name, versions in list(bucket.keys._iterlists()):
        kept = [version for version in versions if _has_bytes(version)]
        if len(kept) < len(versions):
            _LOGGER.warning("s3://%s/%s: its bytes are lost, and so is the object", bucket.name, name)
            if kept:
                dict.__setitem__(bucket.keys, name, kept)  # not setlist, which disposes of the others
            else:
                dict.pop(bucket.keys, name)
    for upload in bucket.multiparts.values():
        for number in [number for number, part in upload.parts.items() if not _has_bytes(part)]:
            del upload.parts[number]
            upload.partlist.remove(number)


def _has_bytes(version: FakeKey | FakeDeleteMarker) -> bool:
    """Return whether an object's file is there. A delete marker has none and needs none."""
    buffer = getattr(version, "_value_buffer", None)
    return not isinstance(buffer, ObjectFile) or buffer.path.exists()
