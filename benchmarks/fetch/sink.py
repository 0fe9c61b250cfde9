"""An S3 that discards what it is sent, as cheaply as a Linux socket can (MSG_TRUNC), so that a benchmark measures the sender.

`python -m benchmarks.fetch.sink [--rate BYTES_PER_S]` prints its address. It keeps small JSON documents (manifest, journal) and what HeadObject
needs; it checks nothing. For correctness there is SeaweedFS.
"""

from __future__ import annotations

import argparse
import http.server
import itertools
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

_CHUNK = 4 * 1024 * 1024
_CAPPED_CHUNK = 256 * 1024
_SMALL = 1024 * 1024
_XMLNS = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
_WHEN = "2026-01-01T00:00:00.000Z"


@dataclass
class Stored:
    """An object: its size, the checksum that the sender gave, and its body when that is a small JSON document."""

    size: int
    crc64nvme: str | None
    body: bytes | None = None


@dataclass
class State:
    """Everything the sink remembers."""

    objects: dict[str, Stored] = field(default_factory=dict)
    uploads: dict[str, dict[int, int]] = field(default_factory=dict)
    upload_ids: Iterator[str] = field(default_factory=lambda: map("upload-{}".format, itertools.count()))
    rate: float | None = None
    next_at: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def wait(self, count: int) -> None:
        """Hold the sender to the rate."""
        if not self.rate:
            return
        with self.lock:
            start = max(time.monotonic(), self.next_at)
            self.next_at = start + count / self.rate
        time.sleep(max(0.0, start - time.monotonic()))


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    state: State

    def setup(self) -> None:
        """Bound what the kernel takes ahead of a capped reader, or the cap would not be one."""
        if self.state.rate:
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _CAPPED_CHUNK)
        super().setup()

    def do_PUT(self) -> None:
        """PutObject, UploadPart."""
        key, query = self._target()
        kept, size = self._take()
        if "uploadId" in query:
            self.state.uploads[query["uploadId"]][int(query["partNumber"])] = size
        else:
            self.state.objects[key] = Stored(size, self.headers.get("x-amz-checksum-crc64nvme"), kept)
        self._answer(200, b"", {"ETag": f'"{size:032x}"'})

    def do_POST(self) -> None:
        """CreateMultipartUpload, CompleteMultipartUpload."""
        key, query = self._target()
        self._take()
        if "uploads" in query:
            upload = next(self.state.upload_ids)
            self.state.uploads[upload] = {}
            text = f"<InitiateMultipartUploadResult {_XMLNS}><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
        else:
            size = sum(self.state.uploads.pop(query["uploadId"]).values())
            self.state.objects[key] = Stored(size, self.headers.get("x-amz-checksum-crc64nvme"))
            text = f'<CompleteMultipartUploadResult {_XMLNS}><ETag>"{size:032x}"</ETag></CompleteMultipartUploadResult>'
        self._answer(200, text.encode())

    def do_HEAD(self) -> None:
        """HeadObject, HeadBucket."""
        key, _ = self._target()
        found = self.state.objects.get(key)
        if found is None:
            self._answer(200 if "/" not in key.strip("/") else 404, b"")
            return
        checksum = {"x-amz-checksum-crc64nvme": found.crc64nvme, "x-amz-checksum-type": "FULL_OBJECT"} if found.crc64nvme else {}
        self.send_response(200)
        for name, value in {"ETag": f'"{found.size:032x}"', "Content-Length": str(found.size), **checksum}.items():
            self.send_header(name, value)
        self.end_headers()

    def do_GET(self) -> None:
        """ListObjectsV2, ListMultipartUploads, GetObject of a small document."""
        key, query = self._target()
        if "list-type" in query:
            bucket = key.strip("/").split("/")[0]
            keys = [k for k in self.state.objects if k.startswith(f"/{bucket}/{query.get('prefix', '')}")]
            items = "".join(
                f"<Contents><Key>{escape(k.removeprefix(f'/{bucket}/'))}</Key><Size>{self.state.objects[k].size}</Size>"
                f'<ETag>"{self.state.objects[k].size:032x}"</ETag><LastModified>{_WHEN}</LastModified></Contents>'
                for k in sorted(keys)
            )
            text = f"<ListBucketResult {_XMLNS}><IsTruncated>false</IsTruncated>{items}</ListBucketResult>"
            self._answer(200, text.encode())
        elif "uploads" in query:
            self._answer(
                200,
                f"<ListMultipartUploadsResult {_XMLNS}><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>".encode(),
            )
        elif "location" in query:
            self._answer(200, f"<LocationConstraint {_XMLNS}/>".encode())
        elif (found := self.state.objects.get(key)) is not None and found.body is not None:
            self._answer(200, found.body, {"ETag": f'"{found.size:032x}"'})
        else:
            self._answer(404, b"<Error><Code>NoSuchKey</Code><Message>none</Message></Error>")

    def log_message(self, format: str, *arguments: Any) -> None:
        """Quiet."""

    def _target(self) -> tuple[str, dict[str, str]]:
        parts = urlsplit(self.path)
        return unquote(parts.path), {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}

    def _take(self) -> tuple[bytes | None, int]:
        """Drop the request's body: its bytes when they are few, and its size."""
        length = int(self.headers.get("content-length", "0"))
        size = int(self.headers.get("x-amz-decoded-content-length", length))
        if length <= _SMALL:
            return self.rfile.read(length), size
        left = length - len(self.rfile.read(min(length, len(self.rfile.peek(1)))))  # type: ignore[attr-defined]
        step = _CAPPED_CHUNK if self.state.rate else _CHUNK
        while left:
            count = self._discard(min(step, left))
            if count == 0:
                raise ConnectionResetError
            self.state.wait(count)
            left -= count
        return None, size

    def _discard(self, count: int) -> int:
        # A buffer is asked for but with MSG_TRUNC a Linux TCP socket copies nothing into it.
        return int(self.connection.recv_into(_NOWHERE, count, socket.MSG_TRUNC))

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


_NOWHERE = bytearray(_CHUNK)


class Server(http.server.ThreadingHTTPServer):
    """A thread a connection."""

    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that went away: it is no error of ours."""


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, help="bytes a second, all connections together")
    given = parser.parse_args()
    state = State(rate=given.rate)
    server = Server(("127.0.0.1", 0), type("Bound", (Handler,), {"state": state}))
    print(f"AWS_ENDPOINT_URL=http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
