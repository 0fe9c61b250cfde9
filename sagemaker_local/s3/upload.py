"""The body of an S3 upload as it comes from the wire: unwrapped, hashed and checked."""

from __future__ import annotations

import base64
import hashlib
import zlib
from typing import IO, TYPE_CHECKING

from awscrt import checksums

from sagemaker_local.errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sagemaker_local.web.request import Headers, HttpRequest

ALGORITHMS = ("crc64nvme", "crc32", "crc32c", "sha1", "sha256")
"""S3's checksum algorithms, as its headers spell them."""


class UploadBody:
    """An upload's body, written to a file as it comes: unwrapped from ``aws-chunked`` and hashed as its headers demand."""

    def __init__(self, headers: dict[str, str], file: IO[bytes]) -> None:
        self._headers = headers
        self._file = file
        self._decoder = _AwsChunked() if headers.get("x-amz-content-sha256", "").startswith("STREAMING-") else None
        declared = [name for name in ALGORITHMS if f"x-amz-checksum-{name}" in headers]
        trailer = headers.get("x-amz-trailer", "").strip().lower().removeprefix("x-amz-checksum-")
        sdk = headers.get("x-amz-sdk-checksum-algorithm", "").lower()
        named = [name for name in (*declared, trailer, sdk) if name in ALGORITHMS]
        self.algorithm = named[0] if named else "crc64nvme"
        self._trailing = trailer in ALGORITHMS
        self._hash = S3Checksum(self.algorithm)
        self._md5 = hashlib.md5(usedforsecurity=False) if "content-md5" in headers else None
        self.length = 0

    def feed(self, block: bytes) -> None:
        """Take the next bytes from the wire."""
        for data in self._decoder.feed(block) if self._decoder else [block]:
            self._hash.update(data)
            if self._md5:
                self._md5.update(data)
            self._file.write(data)
            self.length += len(data)

    def checked_headers(self, request: HttpRequest) -> Headers:
        """Return the request's headers for moto: without the wrapping, with the checksum.

        Raises:
            AwsError: ``BadDigest``: the bytes are not those that the client meant to send.
        """
        value = self._hash.value()
        declared = self._headers.get(f"x-amz-checksum-{self.algorithm}")
        if self._trailing and self._decoder:
            declared = self._decoder.trailers.get(f"x-amz-checksum-{self.algorithm}", declared)
        if declared is not None and declared.strip() != value:
            raise AwsError("BadDigest", f"The {self.algorithm.upper()} you specified did not match the calculated checksum.")
        if self._md5 and self._headers["content-md5"].strip() != base64.b64encode(self._md5.digest()).decode():
            raise AwsError("BadDigest", "The Content-MD5 you specified did not match what we received.")
        dropped = {b"x-amz-trailer", b"x-amz-decoded-content-length", b"transfer-encoding", b"x-amz-sdk-checksum-algorithm"}
        dropped |= {b"content-encoding", b"x-amz-content-sha256", f"x-amz-checksum-{self.algorithm}".encode()}
        headers = [(name, content) for name, content in request.scope["headers"] if name not in dropped]
        encodings = [part.strip() for part in self._headers.get("content-encoding", "").split(",")]
        kept = ",".join(part for part in encodings if part not in ("", "aws-chunked"))
        if kept:
            headers.append((b"content-encoding", kept.encode("latin-1")))
        if not request.query or "partNumber" in request.query or "x-id" in request.query:
            headers.append((b"x-amz-sdk-checksum-algorithm", self.algorithm.upper().encode()))
            headers.append((f"x-amz-checksum-{self.algorithm}".encode(), value.encode()))
        return headers


class S3Checksum:
    """One of S3's checksums, over bytes as they come."""

    def __init__(self, algorithm: str) -> None:
        self._algorithm = algorithm
        self._digest = hashlib.new(algorithm, usedforsecurity=False) if algorithm.startswith("sha") else None
        self._value = 0
        self._update = _crc(algorithm) if self._digest is None else None

    def update(self, data: bytes) -> None:
        """Take more bytes."""
        if self._digest is not None:
            self._digest.update(data)
        elif self._update is not None:
            self._value = self._update(data, self._value)

    def digest(self) -> bytes:
        """Return the checksum, big-endian."""
        size = 8 if self._algorithm == "crc64nvme" else 4
        return self._value.to_bytes(size, "big") if self._digest is None else self._digest.digest()

    def value(self) -> str:
        """Return the checksum in base64, as S3's headers have it."""
        return base64.b64encode(self.digest()).decode()


def _crc(algorithm: str) -> Callable[[bytes, int], int]:
    if algorithm == "crc32":
        return zlib.crc32
    function: Callable[[bytes, int], int] = getattr(checksums, algorithm)
    return function


class _AwsChunked:
    """Decodes ``aws-chunked`` bodies: ``HEX[;chunk-signature=...]CRLF data CRLF ... 0CRLF trailers CRLF``."""

    def __init__(self) -> None:
        self.trailers: dict[str, str] = {}
        self._buffer = b""
        self._left = 0  # bytes of the current chunk still to come
        self._after_data = False
        self._in_trailers = False

    def feed(self, block: bytes) -> list[bytes]:
        """Take bytes from the wire; returns the data in them."""
        data = []
        self._buffer += block
        while self._buffer:
            if self._left:
                taken = self._buffer[: self._left]
                self._buffer = self._buffer[len(taken) :]
                self._left -= len(taken)
                self._after_data = not self._left
                data.append(taken)
                continue
            line, found, rest = self._buffer.partition(b"\r\n")
            if not found:
                break
            self._buffer = rest
            self._line(line)
        return data

    def _line(self, line: bytes) -> None:
        if self._after_data:  # the empty line after a chunk's data
            self._after_data = False
        elif self._in_trailers:
            name, _, value = line.decode("latin-1").partition(":")
            if value:
                self.trailers[name.strip().lower()] = value.strip()
        else:
            self._left = int(line.partition(b";")[0], 16)
            self._in_trailers = not self._left
