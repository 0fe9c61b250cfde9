"""The pipeline between Hub and S3: a coordinator, bounded memory and dumb workers.

    downloaders ──▶ hash queue ──▶ hashers ──▶ upload queue ──▶ uploaders
          └─────────────────────────────────────▶ (parts of large files)

A part is in memory once and shared by its hasher and its uploader, so neither waits for the other and no downloader for either, as
long as there is a free buffer. A file's object comes into being (PutObject or CompleteMultipartUpload) only after its digest was
found right. The first failure stops everything and aborts what is open.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from awscrt.checksums import crc64nvme

from delivery.hub.fetch_settings import FetchSettings
from delivery.hub.hub_source import CountBytes, FilePart
from delivery.hub.retries import Stopped
from delivery.hub.selection import HubFile
from delivery.job.frame import progress as say_progress
from delivery.weights.manifest import ManifestFile
from steps.fetch_weights.buffers import Buffer, BufferPool
from steps.fetch_weights.destination import Destination, StoredObject, checksum_text
from steps.fetch_weights.file_transfer import FileTransfer
from steps.fetch_weights.progress import FetchProgress
from steps.fetch_weights.transfer_plan import buffer_bytes, order


class ByteSource(Protocol):
    """Where bytes come from."""

    def read(self, part: FilePart, view: memoryview, count_bytes: CountBytes) -> None:
        """Fill `view` with the part's bytes, telling `count_bytes` how many have come, or raise."""


Finished = Callable[[ManifestFile, StoredObject], None]
"""Told of each file whose object is complete, from a worker's thread."""
_Job = Callable[[], None]


class TransferPipeline:
    """One fetch of some files. `run` once."""

    def __init__(
        self, source: ByteSource, destination: Destination, settings: FetchSettings, stop: threading.Event, finished: Finished
    ) -> None:
        self._source = source
        self._destination = destination
        self._settings = settings
        self._stop = stop
        self._finished = finished
        self._hash_jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._upload_jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._order_lock = threading.Lock()
        self._changed = threading.Condition()
        self._unfinished = 0
        self._failure: BaseException | None = None
        self.progress = FetchProgress()
        """How far it is."""

    def run(self, files: Sequence[HubFile]) -> None:
        """Move the files; return when every object is complete. Raises the first failure, after aborting what was open."""
        if not files:
            return
        settings = self._settings
        size = buffer_bytes(files, settings.part_bytes, settings.memory_bytes)
        useful = settings.downloads + settings.uploads + settings.waiting_parts
        self._pool = BufferPool(size, min(settings.memory_bytes // size, useful))
        self._transfers = {f.path: FileTransfer(f, settings) for f in files}
        self._parts: Iterator[FilePart] = order(files, settings.part_bytes, settings.files_in_flight)
        self._unfinished = len(files)
        self.progress.expect(files=len(files), total_bytes=sum(f.size for f in files))
        threads = self._start()
        try:
            self._wait()
        finally:
            self._end(threads)
        if self._failure is not None:
            raise self._failure

    def _start(self) -> list[threading.Thread]:
        roles = (
            [("download", self._download)] * self._settings.downloads
            + [("hash", lambda: self._work(self._hash_jobs))] * self._settings.hashers
            + [("upload", lambda: self._work(self._upload_jobs))] * self._settings.uploads
        )
        threads = [
            threading.Thread(target=self._guard, args=(role,), name=f"{name}-{number}", daemon=True)
            for number, (name, role) in enumerate(roles)
        ]
        for thread in threads:
            thread.start()
        return threads

    def _wait(self) -> None:
        said_at = time.monotonic()
        with self._changed:
            while self._unfinished and self._failure is None:
                self._changed.wait(self._settings.progress_interval_s)
                if time.monotonic() - said_at >= self._settings.progress_interval_s:
                    said_at = time.monotonic()
                    say_progress(self.progress.line())

    def _end(self, threads: list[threading.Thread]) -> None:
        failed = self._unfinished > 0
        if failed:
            self._stop.set()
        self._pool.close()
        for _ in range(self._settings.hashers):
            self._hash_jobs.put(None)
        for _ in range(self._settings.uploads):
            self._upload_jobs.put(None)
        deadline = time.monotonic() + self._settings.stop_grace_s
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if failed:
            self._destination.abort_open()

    def _guard(self, role: Callable[[], None]) -> None:
        try:
            role()
        except Stopped:
            pass
        except BaseException as error:  # noqa: BLE001  (whatever it is, it must reach `run`)
            self._stop.set()
            self._pool.close()
            with self._changed:
                self._failure = self._failure or error
                self._changed.notify()

    def _work(self, jobs: queue.SimpleQueue[_Job | None]) -> None:
        while (job := jobs.get()) is not None:
            if self._stop.is_set():
                raise Stopped
            job()

    def _download(self) -> None:
        while (taken := self._next_part()) is not None:
            part, buffer = taken
            self._source.read(part, buffer.view, lambda count: self.progress.add(downloaded=count))
            transfer = self._transfers[part.file.path]
            if not transfer.is_small:
                buffer.share()
                self._upload_jobs.put(lambda t=transfer, p=part, b=buffer: self._upload(t, p, b))  # type: ignore[misc]
            if transfer.arrived(part, buffer):
                self._hash_jobs.put(lambda t=transfer: self._hash(t))  # type: ignore[misc]

    def _next_part(self) -> tuple[FilePart, Buffer] | None:
        """Take the next part and memory for it, both in one step.

        Were they two, later parts could take the memory that an earlier one, which hashing waits for, needs.
        """
        with self._order_lock:
            if self._stop.is_set():
                raise Stopped
            part = next(self._parts, None)
            if part is None:
                return None
            buffer = self._pool.take(part.size)
            return None if buffer is None else (part, buffer)

    def _hash(self, transfer: FileTransfer) -> None:
        while (item := transfer.next_to_hash()) is not None:
            part, buffer = item
            is_right = transfer.hash(part, buffer.view)
            if not transfer.is_small:
                buffer.release()
                if is_right and transfer.checked():
                    self._upload_jobs.put(lambda: self._complete(transfer))
            elif is_right:
                self._upload_jobs.put(lambda b=buffer, p=part: self._put(transfer, p, b))  # type: ignore[misc]
            if self._stop.is_set():
                raise Stopped

    def _upload(self, transfer: FileTransfer, part: FilePart, buffer: Buffer) -> None:
        with transfer.start_lock:
            if not transfer.upload_id:
                transfer.upload_id = self._destination.start(transfer.file)
        crc = _crc64nvme(buffer.view)
        etag = self._destination.upload(transfer.file, transfer.upload_id, part.number, buffer.view, checksum_text(crc))
        buffer.release()
        self.progress.add(uploaded=part.size)
        if transfer.uploaded(part, etag, crc):
            self._complete(transfer)

    def _complete(self, transfer: FileTransfer) -> None:
        checksum = transfer.crc64nvme
        self._done(transfer, self._destination.complete(transfer.file, transfer.upload_id, transfer.etags, checksum), checksum)

    def _put(self, transfer: FileTransfer, part: FilePart, buffer: Buffer) -> None:
        checksum = checksum_text(_crc64nvme(buffer.view))
        stored = self._destination.put(transfer.file, bytes(buffer.view), checksum)
        buffer.release()
        self.progress.add(uploaded=part.size)
        self._done(transfer, stored, checksum)

    def _done(self, transfer: FileTransfer, stored: StoredObject, checksum: str) -> None:
        file = ManifestFile(
            path=transfer.file.path,
            size=transfer.file.size,
            sha256=transfer.sha256,
            git_blob_sha1=transfer.git_blob_sha1,
            crc64nvme=checksum,
            crc64nvme_confirmed_by_s3=stored.crc64nvme == checksum,
        )
        self._finished(file, stored)
        self.progress.add(files=1)
        with self._changed:
            self._unfinished -= 1
            self._changed.notify()


def _crc64nvme(view: memoryview) -> int:
    return int(crc64nvme(view))
