"""A proxy before a real S3 that misbehaves on order."""

from __future__ import annotations

import http.client
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from tests.support.waiting import HANG_S

OTHER_CHECKSUM = "AAAAAAAAAAA="
"""A CRC64NVME as S3 writes it, of no file of these tests."""


@dataclass
class Fault:
    """What happens to the next `times` requests with that method whose target contains `target`."""

    kind: Literal["status", "hang", "flip", "drop", "misreport"]
    """`status`: answer an error; `hang`: no answer; `flip`: damage one bit on the way; `drop`: do it, but lose the answer; `misreport`: say
    another checksum than the object's."""
    method: str
    target: str = ""
    times: int = 1
    after: int = 0
    status: int = 500
    code: str = "InternalError"


@dataclass
class Record:
    """One request and what it was answered (0: nothing)."""

    method: str
    target: str
    expected_owner: str | None
    if_none_match: str | None
    status: int = 0

    @property
    def path(self) -> str:
        """The target without its query, unquoted."""
        return unquote(urlsplit(self.target).path)


@dataclass
class FaultyS3:
    """The proxy: its address, the faults still to come, the requests so far."""

    endpoint: str = ""
    hides_checksums: bool = False
    """As an S3 that keeps none."""
    faults: list[Fault] = field(default_factory=list)
    requests: list[Record] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, method: str, target: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.method != method or fault.target not in target or fault.times == 0:
                    continue
                if fault.after:
                    fault.after -= 1
                    continue
                fault.times -= 1
                return fault
        return None


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: FaultyS3
    upstream: str

    def _handle(self) -> None:
        body = bytearray(self.rfile.read(int(self.headers.get("content-length", "0"))))
        owner, condition = self.headers.get("x-amz-expected-bucket-owner"), self.headers.get("if-none-match")
        record = Record(self.command, self.path, owner, condition)
        self.proxy.requests.append(record)
        fault = self.proxy.take(self.command, self.path)
        if fault is not None and fault.kind == "status":
            text = f"<Error><Code>{fault.code}</Code><Message>on order</Message></Error>".encode()
            self._answer(record, fault.status, [("Content-Type", "application/xml")], text)
            return
        if fault is not None and fault.kind == "hang":
            self.proxy.over.wait(30)
            self.close_connection = True
            return
        if fault is not None and fault.kind == "flip":
            body[len(body) // 2] ^= 1
        connection = http.client.HTTPConnection(self.upstream, timeout=HANG_S)
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in {"connection", "expect"}:
                connection.putheader(name, value)
        connection.endheaders(bytes(body))
        response = connection.getresponse()
        content = response.read()
        connection.close()
        if fault is not None and fault.kind == "drop":
            record.status = response.status
            self.close_connection = True
            return
        headers = response.getheaders()
        if fault is not None and fault.kind == "misreport":
            headers = [(name, OTHER_CHECKSUM if name.lower() == "x-amz-checksum-crc64nvme" else value) for name, value in headers]
        self._answer(record, response.status, headers, content)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _handle

    def _answer(self, record: Record, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        record.status = status
        self.send_response_only(status)
        length = {name.lower(): value for name, value in headers}.get("content-length", "0")
        for name, value in headers:
            hidden = self.proxy.hides_checksums and name.lower().startswith("x-amz-checksum")
            if not hidden and name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                self.send_header(name, value)
        self.send_header("Content-Length", length if self.command == "HEAD" else str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@contextmanager
def faulty(upstream: str) -> Iterator[FaultyS3]:
    """Such a proxy before the S3 at `upstream`."""
    proxy = FaultyS3()
    server = _Server(("127.0.0.1", 0), type("Bound", (_Handler,), {"proxy": proxy, "upstream": urlsplit(upstream).netloc}))
    proxy.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.over.set()
        server.shutdown()
        server.server_close()
