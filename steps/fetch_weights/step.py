"""FetchWeights: the whole of it, from a release to a prefix with a manifest."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from config.schema import Release
from steps import s3
from steps.errors import InputError
from steps.fetch_weights import hub, manifest
from steps.fetch_weights.destination import Destination, Stored
from steps.fetch_weights.journal import Entry, Journal
from steps.fetch_weights.manifest import Choice, Manifest, ManifestFile
from steps.fetch_weights.models import WeightsOutput
from steps.fetch_weights.pipeline import Pipeline
from steps.fetch_weights.progress import duration, size
from steps.fetch_weights.selection import MANIFEST, HubFile
from steps.fetch_weights.sender import PartSender
from steps.fetch_weights.settings import Settings
from steps.fetch_weights.source import Hub, HubSource
from steps.job import say
from steps.names import WEIGHTS_FILE


@dataclass(frozen=True)
class Request:
    """What one start of the step is told."""

    release: Release
    hub_endpoint: str
    execution: str
    output: Path


def run(request: Request, settings: Settings | None = None) -> WeightsOutput:
    """Make the prefix complete and write OUTPUT/weights.json. Errors as in the modules that do the work."""
    started = time.monotonic()
    weights = request.release.model.weights
    settings = replace(settings or Settings(), memory_bytes=weights.memory_bytes)
    environment = request.release.environment
    client = s3.client(
        environment.region,
        connections=settings.uploads + settings.hashers + 16,
        attempts=settings.attempts,
        connect_timeout_s=settings.connect_timeout_s,
        read_timeout_s=settings.read_timeout_s,
    )
    options = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": environment.kms_key} if environment.kms_key else {}
    fetch = Fetch(request, client, settings, options)
    digest, content, fetched = fetch.already_there() or fetch.move()
    output = WeightsOutput(
        weights_prefix=request.release.weights_prefix,
        manifest_sha256=digest,
        repository=weights.repository,
        revision=weights.revision,
        files=len(content.files),
        total_bytes=content.total_bytes,
        fetched_bytes=fetched,
        seconds=round(time.monotonic() - started, 3),
    )
    request.output.mkdir(parents=True, exist_ok=True)
    (request.output / WEIGHTS_FILE).write_text(output.model_dump_json(indent=2) + "\n", encoding="utf-8")
    say(
        f"{output.files} files, {size(output.total_bytes)} at {output.weights_prefix}, {size(fetched)} fetched in {duration(output.seconds)}"
    )
    return output


Outcome = tuple[str, Manifest, int]
"""The manifest's SHA-256, the manifest, and how many bytes were fetched for it."""


class Fetch:
    """One prefix being made complete."""

    def __init__(self, request: Request, client: s3.S3Client, settings: Settings, options: Mapping[str, str]) -> None:
        self._request = request
        self._weights = request.release.model.weights
        self._client = client
        self._settings = settings
        self._options = options
        self._prefix = s3.S3Uri.parse(request.release.weights_prefix)
        self._journal = Journal(client, self._prefix, options)
        self._objects: dict[str, s3.ListedObject] = {}

    def already_there(self) -> Outcome | None:
        """What an earlier execution finished: one listing and one manifest read, and the Hub is not asked. None when anything is missing."""
        self._objects = s3.list_objects(self._client, self._prefix)
        if MANIFEST not in self._objects:
            return None
        found = manifest.read(self._client, self._prefix)
        if found is None:
            return None
        content, digest = found
        missing = [f.path for f in content.files if f.path not in self._objects or self._objects[f.path].size != f.size]
        if missing:
            say(
                f"{self._prefix} has a manifest, but not all that it lists: {', '.join(missing[:4])} of {len(content.files)} files are fetched again"
            )
            return None
        if content.choice != Choice.of(self._weights):
            return None
        return digest, content, 0

    def move(self) -> Outcome:
        """Fetch what is missing, write the manifest."""
        token = hub.read_token(self._request.release.environment.hub_token_secret, self._request.release.environment.region)
        selection = hub.choose_files(self._weights, self._request.hub_endpoint, token, self._settings, say)
        for note in selection.notes:
            say(note)
        self._check_others(selection.files)
        done = {path: entry.file for path, entry in self._journal.finished(selection.files, self._objects).items()}
        missing = [f for f in selection.files if f.path not in done]
        todo = sum(f.size for f in missing)
        say(f"{len(missing)} of {len(selection.files)} files to fetch, {size(todo)} of {size(selection.total_bytes)}")
        stop = threading.Event()
        source = HubSource(
            Hub(self._request.hub_endpoint, self._weights.repository, self._weights.revision, token), self._settings, stop
        )
        destination = Destination(self._client, self._prefix, PartSender(self._client, self._settings, stop), self._options)
        destination.abort_abandoned(self._settings.abandoned_upload_age_s)
        lock = threading.Lock()

        def finished(file: ManifestFile, stored: Stored) -> None:
            self._journal.record(Entry(file=file, etag=stored.etag, execution=self._request.execution, host="algo-1"))
            with lock:
                done[file.path] = file

        Pipeline(source, destination, self._settings, stop, finished).run(missing)
        content = Manifest.of(self._weights, list(done.values()))
        unconfirmed = sum(not f.crc64nvme_confirmed_by_s3 for f in content.files)
        if unconfirmed:
            say(
                f"this S3 reports no full-object CRC64NVME ({unconfirmed} of {len(content.files)} files): those are verified by the SHA-256 of what "
                "was sent and by their size, not by S3"
            )
        digest = manifest.write(self._client, self._prefix, content, **self._options)
        destination.abort_abandoned(0)
        return digest, content, todo

    def _check_others(self, files: tuple[HubFile, ...]) -> None:
        """Everything under the prefix is served: an object that does not belong there must not be."""
        strangers = sorted(self._objects.keys() - {f.path for f in files} - {MANIFEST})
        if strangers:
            raise InputError(
                f"{self._prefix} holds objects that the model file does not choose: {', '.join(strangers[:4])} ({len(strangers)} in all), and "
                "whatever is under that prefix is served; delete them, or give weights.include and weights.exclude that choose them as before"
            )
