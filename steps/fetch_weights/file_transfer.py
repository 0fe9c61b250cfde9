"""One file on its way: which of its parts are hashed and uploaded, what its digests are, whether they are the Hub's."""

from __future__ import annotations

import hashlib
import threading

from awscrt.checksums import combine_crc64nvme

from delivery.errors import DeliveryError, InputError
from delivery.hub.fetch_settings import FetchSettings
from delivery.hub.hub_source import FilePart
from delivery.hub.selection import HubFile
from delivery.weights.formats import header_check
from steps.fetch_weights.buffers import Buffer
from steps.fetch_weights.destination import checksum_text
from steps.fetch_weights.transfer_plan import split


class FileTransfer:
    """The state of one file between its first byte and its object. Every method may be called from any thread."""

    def __init__(self, file: HubFile, settings: FetchSettings) -> None:
        self.file = file
        self.parts = len(split(file, settings.part_bytes))
        self.is_small = file.size <= settings.small_file_bytes
        """Whether one PutObject does, sent when the digest is known to be right."""
        self.upload_id = ""
        self.start_lock = threading.Lock()
        """Held while the multipart upload is opened."""
        self._lock = threading.Lock()
        self._waiting: dict[int, tuple[FilePart, Buffer]] = {}
        self._next_number = 1
        self._hashing = False
        self._sha256 = hashlib.sha256()
        self._git_sha1 = None if file.sha256 else hashlib.sha1(f"blob {file.size}\0".encode(), usedforsecurity=False)
        self._header = header_check(file.path, file.size)
        self._header_error: InputError | None = None
        self._checked = False
        self._etags: dict[int, str] = {}
        self._checksums: dict[int, tuple[int, int]] = {}

    @property
    def sha256(self) -> str:
        """The digest of the bytes so far, hexadecimal."""
        return self._sha256.hexdigest()

    def arrived(self, part: FilePart, buffer: Buffer) -> bool:
        """Take a part that is in memory. True when a hasher should be sent to this file: its next part is there and nobody hashes it."""
        with self._lock:
            self._waiting[part.number] = (part, buffer)
            if self._hashing or self._next_number not in self._waiting:
                return False
            self._hashing = True
            return True

    def next_to_hash(self) -> tuple[FilePart, Buffer] | None:
        """Return the next part in the file's order; None (and the hasher is released) when it has not arrived."""
        with self._lock:
            item = self._waiting.pop(self._next_number, None)
            self._hashing = item is not None
            return item

    def hash(self, part: FilePart, view: memoryview) -> bool:
        """Add the next part to the digests. True when that was the last one and the file is what the Hub listed.

        Raises:
            DeliveryError: The bytes are not those that the Hub listed.
            InputError: They are, and no engine could load them.
        """
        self._sha256.update(view)
        if self._git_sha1 is not None:
            self._git_sha1.update(view)
        self._read_header(view)
        with self._lock:
            self._next_number += 1
        if part.number < self.parts:
            return False
        self._compare()
        self._refuse_bad_header()
        return True

    def checked(self) -> bool:
        """Note that the digests are right. True when the upload can be completed now: exactly one of `checked` and `uploaded` says so."""
        with self._lock:
            self._checked = True
            return len(self._etags) == self.parts

    def uploaded(self, part: FilePart, etag: str, crc64nvme: int) -> bool:
        """Note that a part is in S3. True when the upload can be completed now."""
        with self._lock:
            self._etags[part.number] = etag
            self._checksums[part.number] = (crc64nvme, part.size)
            return self._checked and len(self._etags) == self.parts

    @property
    def etags(self) -> dict[int, str]:
        """The entity tags of the uploaded parts by number."""
        return dict(self._etags)

    @property
    def crc64nvme(self) -> str:
        """The CRC64NVME of the whole file, combined from its parts', as S3 writes it."""
        total = 0
        for _, (crc, size) in sorted(self._checksums.items()):
            total = combine_crc64nvme(total, crc, size)
        return checksum_text(total)

    @property
    def git_blob_sha1(self) -> str | None:
        """Git's digest, for a file whose SHA-256 the Hub does not know."""
        return self._git_sha1.hexdigest() if self._git_sha1 is not None else None

    def _read_header(self, view: memoryview) -> None:
        """Take the next part of the header. What is wrong with it is said at the file's end: broken bytes are the digests' to name."""
        if self._header is None or self._header_error is not None:
            return
        try:
            self._header.update(view)
        except InputError as error:
            self._header_error = error

    def _refuse_bad_header(self) -> None:
        if self._header_error is not None:
            raise self._header_error
        if self._header is not None:
            self._header.finish()

    def _compare(self) -> None:
        if self._git_sha1 is None:
            kind, expected, actual = "sha256", self.file.sha256, self.sha256
        else:
            kind, expected, actual = "git blob sha1", self.file.blob_sha1, self._git_sha1.hexdigest()
        if actual != expected:
            raise DeliveryError(
                f"{self.file.path}: the {self.file.size:,} bytes that arrived have {kind} {actual}, the Hub says {expected}; nothing of this file "
                "was stored and nothing is registered. Start again; if it says the same, the repository or a cache in between is broken"
            )
