"""Connections are kept: a fetch of thousands of ranges makes one a thread and a server, not one a range."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from delivery.hub.fetch_settings import FetchSettings
from delivery.hub.hub_source import FilePart, HubRevision, HubSource
from delivery.hub.selection import HubFile
from steps.fetch_weights.part_sender import PartSender
from tests.support.waiting import HANG_S

BODY = bytes(range(256)) * 40
PARTS = 8
SIZE = len(BODY) // PARTS


@dataclass
class Served:
    """A server's address, and what was done with it."""

    url: str
    connections: list[Any] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextmanager
def server() -> Iterator[Served]:
    """Serve one file in ranges, and take any body."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            served.connections.append(self.client_address)

        def do_HEAD(self) -> None:
            self._answer(200, b"")

        def do_GET(self) -> None:
            match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"])
            assert match is not None
            first, last = int(match[1]), int(match[2])
            self._answer(206, BODY[first : last + 1], {"Content-Range": f"bytes {first}-{last}/{len(BODY)}"})

        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(200, b"", {"ETag": '"of this part"'})

        def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            served.requests.append(self.command)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.daemon_threads = True
        served = Served(f"http://127.0.0.1:{listening.server_port}")
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield served
        listening.shutdown()


def test_a_thread_reads_all_its_ranges_over_one_connection() -> None:
    file = HubFile("model.safetensors", len(BODY), "0" * 40)
    body = bytearray(len(BODY))
    with server() as served:
        source = HubSource(HubRevision(served.url, "acme/model", "0" * 40), FetchSettings(), threading.Event())
        for number in range(PARTS):
            part = FilePart(file, number + 1, number * SIZE, SIZE)
            source.read(part, memoryview(body)[part.offset : part.offset + SIZE])
        assert bytes(body) == BODY
        assert served.requests == ["HEAD", *["GET"] * PARTS]
        assert len(served.connections) == 1
        other = threading.Thread(target=source.read, args=(FilePart(file, 1, 0, SIZE), memoryview(bytearray(SIZE))))
        other.start()
        other.join(HANG_S)
        assert len(served.connections) == 2, "another thread has connections of its own"


def test_a_thread_sends_all_its_parts_over_one_connection() -> None:
    with server() as served:
        client = type("Client", (), {"generate_presigned_url": lambda *_, **__: f"{served.url}/bucket/key"})()
        sender = PartSender(cast(Any, client), FetchSettings(), threading.Event())
        for number in range(PARTS):
            assert sender.send(f"write part {number}", {}, memoryview(BODY), "AAAAAAAAAAA=") == '"of this part"'
        assert served.requests == ["PUT"] * PARTS
        assert len(served.connections) == 1
