"""Listings that no Hub gives: whoever answers at the Hub's address is not believed."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from delivery.errors import DeliveryError, InputError
from delivery.hub import hub_repository
from delivery.hub.hub_repository import list_repository
from delivery.hub.hub_source import HubRevision

REVISION = "0123456789abcdef0123456789abcdef01234567"
FILE = {"type": "file", "path": "config.json", "size": 2, "oid": "a" * 40}


@contextmanager
def hub_that_lists(*pages: Any, is_endless: bool = False) -> Iterator[HubRevision]:
    """A server that answers as a Hub does, with these pages of a repository's tree."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            host = self.headers["Host"]
            number = int(self.path.partition("cursor=")[2] or 0)
            is_tree = "/tree/" in self.path
            body = json.dumps(pages[min(number, len(pages) - 1)] if is_tree else {"id": "org/name", "sha": REVISION}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if is_tree and (is_endless or number + 1 < len(pages)):
                address = f"http://{host}{self.path.partition('?')[0]}?cursor={number + 1}"
                self.send_header("Link", f'<{address}>; rel="next"')
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield HubRevision(f"http://127.0.0.1:{server.server_address[1]}", "org/name", REVISION)
        finally:
            server.shutdown()


def test_a_listing_of_several_pages_is_read_whole() -> None:
    with hub_that_lists([FILE], [{**FILE, "path": "b.json"}]) as hub:
        assert [file.path for file in list_repository(hub).files] == ["config.json", "b.json"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": -5},
        {"size": None},
        {"size": "12"},
        {"size": 1.5},
        {"size": True},
        {"path": 7},
        {"oid": "../../x"},
        {"oid": None},
        {"lfs": {"oid": "not a digest", "size": 2, "pointerSize": 130}},
        {"lfs": {"oid": "b" * 64, "size": -1, "pointerSize": 130}},
        {"xetHash": "http://elsewhere"},
    ],
)
def test_a_file_with_an_impossible_fact_ends_the_listing(wrong: dict[str, Any]) -> None:
    with hub_that_lists([{**FILE, **wrong}]) as hub, pytest.raises(DeliveryError, match="Hub") as refused:
        list_repository(hub)
    assert hub.endpoint in str(refused.value)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("entry", [FILE, {"type": "directory", "oid": "0" * 40, "size": 0}])
def test_a_listing_without_end_is_refused(monkeypatch: pytest.MonkeyPatch, entry: dict[str, Any]) -> None:
    monkeypatch.setattr(hub_repository, "_MAX_ENTRIES", 300)
    page = [{**entry, "path": f"{number}.json"} for number in range(100)]
    with hub_that_lists(page, is_endless=True) as hub, pytest.raises(InputError, match="more than 300 files"):
        list_repository(hub)
