"""FetchWeights: from a release to a prefix with a manifest.

It is idempotent: a prefix with a manifest is left alone, and a file that the journal has is not fetched again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from delivery.aws import s3
from delivery.errors import DeliveryError, InputError
from delivery.history.ledger import Ledger
from delivery.hub import hub_repository
from delivery.hub.fetch_settings import FetchSettings
from delivery.hub.fit import refuse_misfit
from delivery.hub.hub_source import HubRevision, HubSource
from delivery.hub.selection import HubFile, Selection
from delivery.job.frame import progress as say_progress
from delivery.job.host_registry import HostRegistry
from delivery.names import MANIFEST_FILE, WEIGHTS_FILE
from delivery.weights import manifest
from delivery.weights.manifest import FileChoice, Manifest, ManifestFile
from steps.fetch_weights import xet
from steps.fetch_weights.destination import Destination, StoredObject
from steps.fetch_weights.journal import Journal, JournalEntry
from steps.fetch_weights.models import FetchArguments, WeightsOutput
from steps.fetch_weights.part_sender import PartSender
from steps.fetch_weights.progress import FetchProgress, duration, size
from steps.fetch_weights.transfer_pipeline import ByteSource, TransferPipeline
from steps.fetch_weights.transfer_plan import shares

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

logger = logging.getLogger(__name__)


def run(arguments: FetchArguments, settings: FetchSettings | None = None) -> WeightsOutput:
    """Make the prefix complete and write OUTPUT/weights.json. Idempotent: what is finished is not fetched again.

    Args:
        arguments: Arguments of this run.
        settings: Every limit of the fetch.

    Returns:
        What weights.json says.

    Raises:
        InputError: The repository does not exist, may not be read, or cannot be served; or something else wrote under the prefix.
        DeliveryError: The Hub or S3 gave up, or another host did.
    """
    started = time.monotonic()
    weights = arguments.release.model.weights
    settings = replace(settings or FetchSettings(), memory_bytes=weights.memory_bytes)
    environment = arguments.release.environment
    client = s3.client(
        environment.region,
        bucket_owner=environment.account_id,
        connections=settings.uploads + settings.hashers + 16,
        attempts=settings.attempts,
        connect_timeout_s=settings.connect_timeout_s,
        read_timeout_s=settings.read_timeout_s,
    )
    fetch = Fetch(arguments, client, settings, _object_options(environment.kms_key, weights.storage_class))
    outcome = fetch.complete()
    output = WeightsOutput(
        weights_prefix=arguments.release.weights_prefix,
        manifest_sha256=outcome.manifest_sha256,
        repository=weights.repository,
        revision=weights.revision,
        files=len(outcome.manifest.files),
        total_bytes=outcome.manifest.total_bytes,
        fetched_bytes=outcome.fetched_bytes,
        seconds=round(time.monotonic() - started, 3),
    )
    if arguments.hosts.index == 0:  # of the hosts that share a fetch, one tells of it
        told = output.model_dump(mode="json", exclude={"schema_version"})
        Ledger(client, environment.bucket, arguments.release.name).append_once("fetched", by=arguments.execution, details=told)
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / WEIGHTS_FILE).write_text(output.model_dump_json(indent=2) + "\n", encoding="utf-8")
    fetched = f"{size(output.fetched_bytes)} fetched in {duration(output.seconds)}"
    logger.info(f"{output.files} files, {size(output.total_bytes)} at {output.weights_prefix}")
    say_progress(f"{size(output.total_bytes)} verified, {fetched}")
    return output


def _object_options(kms_key: str | None, storage_class: str) -> dict[str, str]:
    options = {"StorageClass": storage_class} if storage_class != "STANDARD" else {}
    return {**options, "ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key} if kms_key else options


@dataclass(frozen=True)
class CompletedPrefix:
    """A complete prefix, and how many bytes this execution moved for it."""

    manifest: Manifest
    manifest_sha256: str
    fetched_bytes: int


class Fetch:
    """One prefix being made complete."""

    def __init__(self, arguments: FetchArguments, client: S3Client, settings: FetchSettings, options: Mapping[str, str]) -> None:
        self._arguments = arguments
        self._weights = arguments.release.model.weights
        self._client = client
        self._settings = settings
        self._options = options
        self._prefix = s3.S3Uri.parse(arguments.release.weights_prefix)
        self._journal = Journal(client, self._prefix, options)
        self._objects: dict[str, s3.ListedObject] = {}
        self._manifest: Manifest | None = None
        self._progress = FetchProgress()

    def complete(self) -> CompletedPrefix:
        """Make the prefix complete, or find that it is."""
        if found := self.already_there():
            return found
        try:
            return self.move()
        except InputError:
            raise
        except DeliveryError as error:
            # Another execution of the same revision may have finished first, and swept away our uploads with its own rubbish.
            if found := self.already_there():
                logger.info(f"another execution completed {self._prefix} meanwhile ({error})")
                return found
            raise

    def already_there(self) -> CompletedPrefix | None:
        """Return what an earlier execution finished; None when anything is missing. One listing and one manifest read, and the Hub is not asked."""
        self._objects = s3.list_objects(self._client, self._prefix)
        found = manifest.read(self._client, self._prefix) if MANIFEST_FILE in self._objects else None
        if found is None:
            return None
        self._manifest, digest = found
        broken = [f.path for f in self._manifest.files if not self._is_whole(f)]
        if broken:
            logger.warning(
                f"{self._prefix} lacks what its manifest lists: {', '.join(broken[:4])} ({len(broken)} in all), to be fetched again"
            )
            return None
        if self._manifest.choice != FileChoice.of(self._weights):
            return None
        return CompletedPrefix(self._manifest, digest, 0)

    def move(self) -> CompletedPrefix:
        """Fetch this host's share of what is missing; when everybody's is there, write the manifest."""
        hosts = self._arguments.hosts
        environment = self._arguments.release.environment
        token = hub_repository.read_token(environment.hub_token_secret, environment.region)
        for_sglang = environment.kind == "aws"
        selection = hub_repository.choose_files(self._weights, self._arguments.hub_endpoint, token, self._settings, for_sglang)
        if for_sglang:
            refuse_misfit(self._arguments.release.model, selection)
        for note in selection.notes:
            logger.info(note)
        self._check_others(selection.files)
        if len(hosts.names) == 1:
            entries = self._transfer(selection, selection.files, token)
        else:
            mine = shares(selection.files, len(hosts.names))[hosts.index]
            logger.info(f"{hosts.current} of {len(hosts.names)} hosts: {len(mine)} files, {size(sum(f.size for f in mine))}")
            with HostRegistry(
                self._client, self._prefix, self._arguments.execution, hosts, self._settings, lambda: self._progress.line()
            ) as registry:
                self._transfer(selection, mine, token)
                entries = self._wait_for(selection.files, registry)
        return self._conclude(selection, entries)

    def _transfer(
        self, selection: Selection, files: tuple[HubFile, ...] | list[HubFile], token: str | None
    ) -> dict[str, JournalEntry]:
        """Fetch those of `files` that are not finished; what the journal then says of all of them."""
        entries = self._journal.finished(files, self._objects)
        missing = [f for f in files if f.path not in entries]
        logger.info(
            f"{len(missing)} of {len(files)} files to fetch, {size(sum(f.size for f in missing))} of {size(sum(f.size for f in files))}"
        )
        stop = threading.Event()
        source = self._source(HubRevision(self._arguments.hub_endpoint, selection.repository, selection.revision, token), stop)
        sender = PartSender(self._client, self._settings, stop, self._arguments.release.environment.account_id)
        destination = Destination(self._client, self._prefix, sender, self._options)
        destination.abort_abandoned(self._settings.abandoned_upload_age_s, [f.path for f in files])
        lock = threading.Lock()

        def finished(file: ManifestFile, stored: StoredObject) -> None:
            entry = JournalEntry(
                file=file, etag=stored.etag, execution=self._arguments.execution, host=self._arguments.hosts.current
            )
            self._journal.record(entry)
            with lock:
                entries[file.path] = entry

        pipeline = TransferPipeline(source, destination, self._settings, stop, finished)
        self._progress = pipeline.progress
        pipeline.run(missing)
        return entries

    def _source(self, repository: HubRevision, stop: threading.Event) -> ByteSource:
        """Choose where the bytes come from."""
        http = HubSource(repository, self._settings, stop)
        if not self._weights.xet:
            return http
        if not xet.is_installed():
            raise InputError(
                "weights.xet is true, but hf_xet is not installed; install it in the image that steps run in, or leave it out"
            )
        return xet.XetSource(repository, http, stop)

    def _wait_for(self, files: tuple[HubFile, ...], registry: HostRegistry) -> dict[str, JournalEntry]:
        """Wait until the journal has every host's files. DeliveryError when a host will not finish its own."""
        while True:
            entries = self._journal.finished(files, s3.list_objects(self._client, self._prefix))
            left = [f for f in files if f.path not in entries]
            if not left:
                return entries
            if trouble := registry.check():
                names = ", ".join(f.path for f in left[:4]) + (f" and {len(left) - 4} more" if len(left) > 4 else "")
                raise DeliveryError(
                    f"{trouble}; left are {len(left)} of {len(files)} files, {size(sum(f.size for f in left))}: {names}. Start the step again: "
                    "only those are fetched"
                )
            say_progress(
                f"this host's share is done; waiting for {len(left)} files, {size(sum(f.size for f in left))}, of the others"
            )
            time.sleep(self._settings.hosts_poll_s)

    def _conclude(self, selection: Selection, entries: dict[str, JournalEntry]) -> CompletedPrefix:
        content = Manifest.of(self._weights, [entry.file for entry in entries.values()])
        unconfirmed = sum(not f.crc64nvme_confirmed_by_s3 for f in content.files)
        if unconfirmed:
            logger.warning(
                f"this S3 reports no full-object CRC64NVME ({unconfirmed} of {len(content.files)} files): those are verified by the SHA-256 of what "
                "was sent and by their size, not by S3"
            )
        if self._arguments.check is not None:
            self._arguments.check(content, selection)
        digest = manifest.write(self._client, self._prefix, content, **self._options)
        stop = threading.Event()
        Destination(self._client, self._prefix, PartSender(self._client, self._settings, stop), self._options).abort_abandoned(0)
        fetched = sum(e.file.size for e in entries.values() if e.execution == self._arguments.execution)
        return CompletedPrefix(content, digest, fetched)

    def _is_whole(self, file: ManifestFile) -> bool:
        """Tell whether the object is there with its size and, when it was written after the manifest, is what the journal says was verified."""
        listed = self._objects.get(file.path)
        if listed is None or listed.size != file.size:
            return False
        if listed.modified_at <= self._objects[MANIFEST_FILE].modified_at:
            return True
        return self._journal.vouches(file, listed)

    def _check_others(self, files: tuple[HubFile, ...]) -> None:
        """Refuse a prefix that holds what does not belong there: everything under it is served, and a manifest is written once."""
        chosen = {f.path: f for f in files}
        strangers = sorted(self._objects.keys() - chosen.keys() - {MANIFEST_FILE})
        listed = {f.path: f for f in self._manifest.files} if self._manifest else {}
        strangers += sorted(
            path for path in chosen if listed and not (path in listed and chosen[path].is_stored_as(listed[path]))
        )
        if strangers:
            raise InputError(
                f"{self._prefix} differs from what {self._weights.repository} has at this revision in {', '.join(strangers[:4])} ({len(strangers)} "
                "in all), so something else wrote there, and whatever is under that prefix is served; delete the prefix once no endpoint uses it, "
                "and start the step again"
            )
