"""Xet storage, by the real hf_xet on a content store in a folder."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from delivery.aws import s3
from delivery.hub.fetch_settings import MIB, FetchSettings
from delivery.hub.hub_source import HubRevision, HubSource
from delivery.hub.selection import HubFile
from steps.fetch_weights import step
from steps.fetch_weights.models import FetchArguments
from steps.fetch_weights.transfer_plan import split
from steps.fetch_weights.xet import XetSource
from tests.support.worlds import fetching

hf_xet = pytest.importorskip("hf_xet")
DATA = fetching.noise(12 * MIB)


@contextmanager
def hub_with_xet(store: Path, status: int = 200) -> Iterator[tuple[str, list[str]]]:
    """A Hub that points to the store, and serves the file over HTTP too; gives its address and the paths that it was asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked.append(self.path)
            if "xet-read-token" in self.path:
                headers = {"X-Xet-Cas-Url": f"local://{store}", "X-Xet-Access-Token": "t", "X-Xet-Token-Expiration": "4102444800"}
                self._answer(status, headers, b"")
                return
            first, last = (int(n) for n in self.headers["Range"].removeprefix("bytes=").split("-"))
            self._answer(206, {"Content-Range": f"bytes {first}-{last}/{len(DATA)}"}, DATA[first : last + 1])

        def do_HEAD(self) -> None:
            asked.append(self.path)
            self._answer(200, {}, b"")

        def _answer(self, code: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(code)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def store_file(store: Path) -> HubFile:
    store.mkdir()
    with hf_xet.XetSession().new_upload_commit(endpoint=f"local://{store}") as commit:
        handle = commit.start_upload_bytes(DATA)
    return HubFile("model.safetensors", len(DATA), "0" * 40, "1" * 64, handle.result().xet_info.hash)


def read_all(endpoint: str, file: HubFile) -> bytes:
    hub, stop = HubRevision(endpoint, "acme/model", "0" * 40, "hf_token"), threading.Event()
    source = XetSource(hub, HubSource(hub, FetchSettings(attempts=2, first_pause_s=0.01), stop), stop)
    body = bytearray(file.size)
    for part in split(file, 5 * MIB):
        source.read(part, memoryview(body)[part.offset : part.offset + part.size])
    return bytes(body)


def test_xet_storage_is_asked_only_where_the_model_file_says_so(aws: str, root: Path, tmp_path: Path) -> None:
    """huggingface_hub brings hf_xet along: that it is there says nothing."""
    hub, stop = HubRevision("http://hub", "acme/model", fetching.REVISION), threading.Event()

    def source(**weights: Any) -> object:
        request = FetchArguments(fetching.release("acme/model", **weights), hub.endpoint, "exec-1", tmp_path)
        return step.Fetch(request, s3.client("us-east-1"), FetchSettings(), {})._source(hub, stop)

    assert isinstance(source(), HubSource)
    assert isinstance(source(xet=True), XetSource)


def test_ranges_come_from_xet_storage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with hub_with_xet(tmp_path / "store") as (endpoint, asked):
        assert read_all(endpoint, store_file(tmp_path / "store")) == DATA
    assert asked == ["/api/models/acme/model/xet-read-token/" + "0" * 40]
    assert caplog.messages == []


@pytest.mark.parametrize("broken", ["token", "store"])
def test_http_takes_over_when_xet_fails(tmp_path: Path, caplog: pytest.LogCaptureFixture, broken: str) -> None:
    file = store_file(tmp_path / "store")
    if broken == "store":
        file = HubFile(file.path, file.size, file.blob_sha1, file.sha256, "f" * 64)
    with hub_with_xet(tmp_path / "store", 500 if broken == "token" else 200) as (endpoint, asked):
        assert read_all(endpoint, file) == DATA
    [told] = [message for message in caplog.messages if "Xet" in message]
    assert "going on over HTTP" in told
    assert sum("resolve" in path for path in asked) == 4  # one HEAD, three ranges
