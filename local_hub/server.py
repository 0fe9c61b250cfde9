"""The Hub on HTTP: API, `resolve`, and a CDN under the machine's other name.

Files that are LFS files are answered with a redirect to a signed address at the other host name: who comes by
`localhost` is sent to `127.0.0.1` and the other way round, as the Hub sends its clients to a CDN host. (Were it the same
name, huggingface_hub would follow the redirect and read the wrong etag.) The CDN refuses a request that carries a token
with 400: a client that sends the Hub's token to another host must fail loudly.

One thread a connection; bodies leave through `sendfile`, so that Python touches no byte of them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import http.server
import json
import os
import re
import secrets
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, quote, unquote, urlsplit

from local_hub import browsers
from local_hub.api import RepositoryIndex, Requester, paths_info
from local_hub.errors import HubHttpError, LocalHubError
from local_hub.faults import Fault, FaultPlan, RateCap
from local_hub.repository import HubFile

__all__ = ["KEPT_REQUESTS", "HubServer", "RequestRecord"]

KEPT_REQUESTS = 10_000
"""How many requests the server remembers, the last ones: a Hub that stays up for weeks must not grow."""
_SEND_BYTES = 4 * 1024 * 1024
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_RESOLVE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
_PATHS_INFO = re.compile(r"/api/models/([^/]+/[^/]+)/paths-info/([^/]+)")


@dataclasses.dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request as the server saw it, for tests: where it went, what it asked, and what it was answered."""

    where: str
    method: str
    path: str
    range: str | None
    had_token: bool
    status: int


class HubServer(http.server.ThreadingHTTPServer):
    """Listens on 127.0.0.1:`port` (0: any free one) and serves `hub`. Gated and private repositories want one of `tokens`. Clients call it by
    one of `hosts`; web pages are refused."""

    daemon_threads = True
    request_queue_size = 256
    allow_reuse_address = True

    def __init__(
        self, hub: RepositoryIndex, port: int, tokens: frozenset[str], address_lifetime_s: float, hosts: frozenset[str]
    ) -> None:
        self.hub = hub
        self.hosts = hosts
        self.tokens = tokens
        self.address_lifetime_s = address_lifetime_s
        self.faults = FaultPlan()
        self.rate = RateCap()
        self.ignores_unknown_tokens = False
        self.requests: deque[RequestRecord] = deque(maxlen=KEPT_REQUESTS)
        self._secret = secrets.token_bytes(32)
        self._files: dict[str, HubFile] = {}
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)

    def sign(self, file: HubFile, label: str, host: str) -> str:
        """Return a signed address of `file` at `host`, good for `address_lifetime_s` seconds. `label` is `ORG/NAME/path`."""
        with self._lock:
            self._files[file.etag] = file
        expires = int(time.time() + self.address_lifetime_s)
        return f"http://{host}/cdn/{quote(label)}?etag={file.etag}&expires={expires}&signature={self._sign(label, file.etag, expires)}"

    def verify(self, label: str, query: dict[str, str]) -> HubFile:
        """Return the file that a signed address names. Raises `HubHttpError` (403) when it was tampered with or has expired."""
        etag, expires = query.get("etag", ""), query.get("expires", "")
        good = expires.isdigit() and hmac.compare_digest(query.get("signature", ""), self._sign(label, etag, int(expires)))
        if not good or int(expires) < time.time():
            raise HubHttpError(403, None, "AccessDenied: Request has expired" if good else "SignatureDoesNotMatch")
        with self._lock:
            return self._files[etag]

    def _sign(self, label: str, etag: str, expires: int) -> str:
        return hmac.new(self._secret, f"{label}\n{etag}\n{expires}".encode(), hashlib.sha256).hexdigest()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that went away: it is no error of ours."""


class _Handler(http.server.BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version = "local_hub"
    disable_nagle_algorithm = True
    server: HubServer

    def do_HEAD(self) -> None:
        self._guard(self._get)

    def do_GET(self) -> None:
        self._guard(self._get)

    def do_POST(self) -> None:
        self._guard(self._post)

    def do_DELETE(self) -> None:
        self._guard(self._delete)

    def do_OPTIONS(self) -> None:
        self._guard(self._refuse_method)

    do_PUT = do_PATCH = do_OPTIONS

    def log_message(self, format: str, *arguments: Any) -> None:
        """Quiet: `HubServer.requests` is the log."""

    def send_response(self, code: int, message: str | None = None) -> None:
        """Begin an answer, and record it."""
        where = "cdn" if self.path.startswith("/cdn/") else "hub"
        has_token = "authorization" in self.headers
        record = RequestRecord(where, self.command, self.path, self.headers.get("range"), has_token, int(code))
        self.server.requests.append(record)
        super().send_response(code, message)

    def _guard(self, act: Callable[[], None]) -> None:
        try:
            if refused := browsers.refusal(self.headers, self.server.hosts):
                self.close_connection = True  # what follows may be a body that is written like another request
                raise HubHttpError(403, None, f"local_hub: {refused}", {"Connection": "close"})
            act()
        except HubHttpError as error:
            self._error(error)
        except (LocalHubError, ValueError, KeyError) as error:
            self._error(HubHttpError(400, None, f"{type(error).__name__}: {error}"))
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            self.close_connection = True

    def _get(self) -> None:
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        if parts.path.startswith("/cdn/"):
            self._cdn(unquote(parts.path.removeprefix("/cdn/")), query)
        elif parts.path == "/api/whoami-v2":
            self._whoami()
        elif parts.path.startswith("/api/"):
            label = "/".join(parts.path.split("/")[3:5])
            if self._fault_before(self.server.faults.take(label, "hub", ranged=False)):
                return
            page = self.server.hub.answer(parts.path.removeprefix("/api/"), query, self._access())
            link = f'<http://{self._host()}{parts.path}?{page.next_query}>; rel="next"' if page.next_query else None
            self._json(200, page.body, {"Link": link} if link else {})
        elif match := _RESOLVE.fullmatch(parts.path):
            self._resolve(unquote(match[1]), unquote(match[2]), unquote(match[3]))
        else:
            raise HubHttpError(404, None, f"nothing at {parts.path}")

    def _post(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        path = urlsplit(self.path).path
        if path == "/_local_hub/faults":
            self.server.faults.add(Fault.from_json(json.loads(body)))
            self._json(200, {})
        elif match := _PATHS_INFO.fullmatch(path):
            hub = self.server.hub
            repository = hub.repository(unquote(match[1]), self._access())
            snapshot = hub.snapshot(repository, unquote(match[2]))
            as_json = "json" in self.headers.get("content-type", "")
            paths = json.loads(body)["paths"] if as_json else parse_qs(body.decode()).get("paths", [])
            self._json(200, paths_info(snapshot, paths))
        else:
            raise HubHttpError(404, None, f"nothing at {path}")

    def _delete(self) -> None:
        if urlsplit(self.path).path != "/_local_hub/faults":
            raise HubHttpError(404, None, f"nothing at {self.path}")
        self.server.faults.clear()
        self._json(200, {})

    def _refuse_method(self) -> None:
        self.close_connection = True  # its body is not read
        allowed = {"Connection": "close", "Allow": "GET, HEAD, POST, DELETE"}
        raise HubHttpError(405, None, f"local_hub: nothing answers {self.command}", allowed)

    def _access(self) -> Requester:
        header = self.headers.get("authorization")
        token = header.removeprefix("Bearer ").strip() if header else None
        is_known = token in self.server.tokens
        return Requester(None if self.server.ignores_unknown_tokens and not is_known else token, is_known)

    def _host(self) -> str:
        return str(self.headers.get("host") or f"localhost:{self.server.server_port}")

    def _cdn_host(self) -> str:
        name = self._host().rsplit(":", 1)[0]
        return f"{'localhost' if name == '127.0.0.1' else '127.0.0.1'}:{self.server.server_port}"

    def _whoami(self) -> None:
        if not self._access().valid:
            raise HubHttpError(401, None, "Invalid credentials in Authorization header")
        token = {"displayName": "local", "role": "read"}
        self._json(200, {"type": "user", "id": "0", "name": "local", "auth": {"accessToken": token}, "orgs": []})

    def _resolve(self, identifier: str, revision: str, path: str) -> None:
        hub, access = self.server.hub, self._access()
        repository = hub.repository(identifier, access)
        snapshot = hub.snapshot(repository, revision)
        hub.check_gate(repository, access)
        file = hub.file(snapshot, path)
        label = f"{identifier}/{path}"
        fault = self.server.faults.take(label, "hub", ranged="range" in self.headers)
        if self._fault_before(fault):
            return
        headers = {"X-Repo-Commit": snapshot.revision, "ETag": f'"{file.etag}"', "Accept-Ranges": "bytes"}
        if file.sha256 is None:
            self._send_file(file, headers, fault)
            return
        location = self.server.sign(file, label, self._cdn_host())
        headers |= {"Location": location, "X-Linked-Etag": f'"{file.etag}"', "X-Linked-Size": str(file.size)}
        self._empty(302, headers)

    def _cdn(self, label: str, query: dict[str, str]) -> None:
        if "authorization" in self.headers:
            raise HubHttpError(400, None, "InvalidArgument: the Hub's token was sent to the CDN host; send it to the Hub only")
        fault = self.server.faults.take(label, "cdn", ranged="range" in self.headers)
        if self._fault_before(fault):
            return
        self._send_file(self.server.verify(label, query), {"Accept-Ranges": "bytes", "ETag": f'"{query["etag"]}"'}, fault)

    def _fault_before(self, fault: Fault | None) -> bool:
        """Act on the faults that replace the answer; True when there is nothing more to do."""
        if fault is None:
            return False
        if fault.kind == "stall":
            time.sleep(fault.stall_s)
        elif fault.kind == "expired":
            raise HubHttpError(403, None, "AccessDenied: Request has expired")
        elif fault.kind == "reset":
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            self.connection.close()
            return True
        elif fault.kind == "status":
            retry = {"Retry-After": str(fault.retry_after_s)} if fault.retry_after_s is not None else {}
            raise HubHttpError(fault.status, None, "a fault was planned", retry)
        return False

    def _send_file(self, file: HubFile, headers: dict[str, str], fault: Fault | None) -> None:
        start, end, status = 0, file.size, 200
        wanted = self.headers.get("range")
        if wanted and not (fault is not None and fault.kind == "ignore-range"):
            start, end = _byte_range(wanted, file.size)
            status = 206
            headers = {**headers, "Content-Range": f"bytes {start}-{end - 1}/{file.size}"}
        headers = {**headers, "Content-Type": "application/octet-stream", "Content-Length": str(end - start)}
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self._send_body(file, start, end, fault)

    def _send_body(self, file: HubFile, start: int, end: int, fault: Fault | None) -> None:
        kind = fault.kind if fault is not None else None
        at = fault.at_byte if fault is not None else 0
        if kind == "changed":
            self._send_bytes(b"\0" * (end - start))
        elif kind == "truncate":
            self._send_range(file.source, start, min(end, start + at))
            self.close_connection = True
        elif kind == "corrupt" and start <= at < end:
            self._send_range(file.source, start, at)
            self._send_bytes(bytes([_byte_at(file.source, at) ^ 1]))
            self._send_range(file.source, at + 1, end)
        else:
            self._send_range(file.source, start, end)

    def _send_bytes(self, data: bytes) -> None:
        for position in range(0, len(data), _SEND_BYTES):
            piece = data[position : position + _SEND_BYTES]
            self.server.rate.wait(len(piece))
            self.wfile.write(piece)

    def _send_range(self, source: Path | bytes, start: int, end: int) -> None:
        if isinstance(source, bytes):
            self._send_bytes(source[start:end])
            return
        step = _SEND_BYTES if self.server.rate.bytes_per_s is None else 256 * 1024
        with source.open("rb") as handle:
            while start < end:
                count = min(step, end - start)
                self.server.rate.wait(count)
                sent = os.sendfile(self.connection.fileno(), handle.fileno(), start, count)
                if sent == 0:
                    # The file became shorter while it was sent; the client sees a truncated body.
                    self.close_connection = True
                    return
                start += sent

    def _json(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        content = {"Content-Type": "application/json; charset=utf-8", "Content-Length": str(len(body))}
        for name, text in {**content, **(headers or {})}.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _empty(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": "0"}.items():
            self.send_header(name, value)
        self.end_headers()

    def _error(self, error: HubHttpError) -> None:
        headers = dict(error.headers)
        if error.code:
            headers["X-Error-Code"] = error.code
        headers["X-Error-Message"] = error.message
        self._json(error.status, {"error": error.message}, headers)


def _byte_range(header: str, size: int) -> tuple[int, int]:
    """Return the half-open range that a `Range` header asks for. Raises `HubHttpError` (416) when it lies outside."""
    match = _RANGE.fullmatch(header.strip())
    if match is None or match[0] == "bytes=-":
        raise HubHttpError(416, None, f"cannot read range {header!r}", {"Content-Range": f"bytes */{size}"})
    first, last = match[1], match[2]
    start = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    if start >= end:
        raise HubHttpError(416, None, f"range {header!r} is outside the file", {"Content-Range": f"bytes */{size}"})
    return start, end


def _byte_at(source: Path | bytes, offset: int) -> int:
    if isinstance(source, bytes):
        return source[offset]
    with source.open("rb") as handle:
        handle.seek(offset)
        return handle.read(1)[0]
