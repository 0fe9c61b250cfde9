"""The journal: which files are finished, written beside the weights (not among them: everything under the prefix is served).

`s3://BUCKET/weights/REPO/REVISION.journal/PATH.json`, one entry a file, written right after the file's object was completed. A later
run, on any host, believes an entry when the object that it names is still there with that entity tag and size.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from config.base import Strict
from delivery.aws import s3
from delivery.hub.selection import HubFile
from delivery.weights.manifest import ManifestFile

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

logger = logging.getLogger(__name__)

_READERS = 16


class JournalEntry(Strict):
    """A finished file."""

    schema_version: Literal[1] = 1
    """The format of this file."""
    file: ManifestFile
    """What it is."""
    etag: str
    """The object's entity tag."""
    execution: str
    """Which execution moved it."""
    host: str
    """Which of its hosts."""


class Journal:
    """The finished files of one prefix."""

    def __init__(self, client: S3Client, prefix: s3.S3Uri, options: Mapping[str, Any] | None = None) -> None:
        self._client = client
        self._prefix = s3.S3Uri(prefix.bucket, prefix.key.removesuffix("/") + ".journal/")
        self._options: dict[str, Any] = dict(options or {})

    def record(self, entry: JournalEntry) -> None:
        """Say that a file is finished."""
        s3.write_json(self._client, self._address(entry.file.path), entry.model_dump_json().encode(), **self._options)

    def finished(self, files: Iterable[HubFile], objects: Mapping[str, s3.ListedObject]) -> dict[str, JournalEntry]:
        """Return the entries, by path, of those `files` whose object is among `objects` (a listing of the prefix), unchanged since."""
        candidates = [f for f in files if f.path in objects and objects[f.path].size == f.size]
        if not candidates:
            return {}
        with ThreadPoolExecutor(min(_READERS, len(candidates))) as readers:
            entries = list(readers.map(lambda f: self._entry(f.path), candidates))
        return {
            file.path: entry
            for file, entry in zip(candidates, entries, strict=True)
            if entry is not None and file.is_stored_as(entry.file) and entry.etag == objects[file.path].etag
        }

    def vouches(self, file: ManifestFile, listed: s3.ListedObject) -> bool:
        """Tell whether the object as listed is the one that was verified to be `file`."""
        entry = self._entry(file.path)
        return entry is not None and entry.etag == listed.etag and entry.file.sha256 == file.sha256

    def _entry(self, path: str) -> JournalEntry | None:
        body = s3.read(self._client, self._address(path))
        if body is None:
            return None
        try:
            return JournalEntry.model_validate_json(body)
        except ValidationError:
            logger.warning(f"{self._address(path)} is not a journal entry of this version; {path} is fetched again")
            return None

    def _address(self, path: str) -> s3.S3Uri:
        return self._prefix / f"{path}.json"
