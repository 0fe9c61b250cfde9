"""A small HTTP/1.1 server on asyncio, made for streams of tokens.

Why not an ASGI server: an engine that stands in for SGLang must not be what a load test measures. Here a streamed token
costs one `transport.write`, so 256 streams at 25 tokens/s take a fraction of a core, and the image needs no package.

One `Exchange` is one request and its answer. Connections are kept alive; requests on one connection are answered in
order. Bodies are read whole (`Content-Length` or chunked), at most `MAX_BODY_BYTES`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, cast

__all__ = ["MAX_BODY_BYTES", "BadRequest", "Exchange", "Handler", "HttpServer"]

MAX_BODY_BYTES = 64 * 1024 * 1024
_MAX_HEAD_BYTES = 64 * 1024
_HOST_NAME = re.compile(r"\[[^\]]*\]|[^:]*")
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]", "::1"})


class BadRequest(Exception):
    """The bytes on the connection are not a request that this server reads; carries the HTTP status to answer with."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Exchange:
    """A request, and the means to answer it: `respond` once, or `start_stream`, `write`..., `end` (or `abort`)."""

    def __init__(self, connection: _Connection, method: str, target: str, headers: dict[str, str], body: bytes) -> None:
        self.method = method
        self.path, _, self.query = target.partition("?")
        self.headers = headers
        self.body = body
        self.finished = False
        self.on_disconnect: Callable[[], None] | None = None
        self._connection = connection
        self._chunked = False

    @property
    def disconnected(self) -> bool:
        """Whether the client has gone; writing is then harmless and pointless."""
        return self._connection.transport.is_closing()

    def respond(
        self,
        status: int,
        body: bytes = b"",
        content_type: str = "application/json",
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """Answer with a whole body, and free the connection for the next request."""
        head = self._head(status, (("content-type", content_type), ("content-length", str(len(body))), *headers))
        self._connection.transport.write(head + (b"" if self.method == "HEAD" else body))
        self._finish()

    def respond_json(self, status: int, value: Any) -> None:
        """Answer with `value` as JSON."""
        self.respond(status, json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogateescape"))

    def start_stream(self, content_type: str = "text/event-stream; charset=utf-8") -> None:
        """Begin a chunked answer with status 200; the head leaves with the first `write`."""
        self._chunked = True
        self._pending = self._head(
            200, (("content-type", content_type), ("cache-control", "no-cache"), ("transfer-encoding", "chunked"))
        )

    def write(self, data: bytes) -> None:
        """Send `data`, which must not be empty, as one chunk of the stream, now."""
        self._connection.transport.write(b"%b%x\r\n%b\r\n" % (self._pending, len(data), data))
        self._pending = b""

    def end(self, data: bytes = b"") -> None:
        """Send `data`, if any, and end the stream properly."""
        last = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        self._connection.transport.write(b"%b%b0\r\n\r\n" % (self._pending, last))
        self._finish()

    def abort(self) -> None:
        """Drop the connection with the answer unfinished, as a crashed server would; what was written is still sent."""
        self._connection.keep_alive = False
        self._finish()

    def _head(self, status: int, headers: tuple[tuple[str, str], ...]) -> bytes:
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in headers)]
        if not self._connection.keep_alive:
            lines.append("connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def _finish(self) -> None:
        if not self.finished:
            self.finished = True
            self._connection.exchange_finished()


Handler = Callable[[Exchange], Awaitable[None]]


class HttpServer:
    """Listens, hands each request to `handler` as a task of its own, and drains on `close`."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.draining = False
        self.connections: set[_Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.idle = asyncio.Event()
        self._server: asyncio.Server | None = None
        self.loopback = False
        """Whether only this machine reaches it: then pages that a browser on it visits are refused."""

    async def start(self, host: str, port: int) -> int:
        """Listen on `host`:`port` (0: any free one) and return the port. Raises `OSError` when that is not possible."""
        loop = asyncio.get_running_loop()
        self.loopback = host in _LOOPBACK
        self._server = await loop.create_server(lambda: _Connection(self), host, port, backlog=1024)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self, drain_s: float) -> bool:
        """Stop accepting, let answers under way end for up to `drain_s`, and close. True when all of them ended."""
        self.draining = True
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.close_when_idle()
        if self.connections:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.idle.wait(), drain_s)
        drained = not self.connections
        for connection in list(self.connections):
            connection.transport.abort()
        return drained


def _is_of_page(headers: Mapping[str, str]) -> bool:
    """Return whether a browser's page sent a request: of a site, or of this server's own origin by a name that leads here (DNS rebinding)."""
    of_site = headers.keys() & {"origin", "referer"} or headers.get("sec-fetch-site", "none") != "none"
    name = _HOST_NAME.match(headers.get("host", "localhost").lower())
    return bool(of_site) or name is None or name[0] not in _LOOPBACK


class _Connection(asyncio.Protocol):
    """One client connection: parses requests one after another and holds back the next until the last is answered."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._buffer = bytearray()
        self._exchange: Exchange | None = None
        self._continued = False
        self.keep_alive = True
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        raw = transport.get_extra_info("socket")
        if raw is not None and raw.family in (socket.AF_INET, socket.AF_INET6):
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._server.connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._server.connections.discard(self)
        if self._server.draining and not self._server.connections:
            self._server.idle.set()
        exchange = self._exchange
        if exchange is not None and not exchange.finished:
            exchange.finished = True
            if exchange.on_disconnect is not None:
                exchange.on_disconnect()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._exchange is None:
            self._advance()

    def close_when_idle(self) -> None:
        """Close now, or after the answer under way."""
        self.keep_alive = False
        if self._exchange is None:
            self.transport.close()

    def exchange_finished(self) -> None:
        """Complete the answer: close, or go on with what the client has already sent."""
        self._exchange = None
        if not self.keep_alive:
            self.transport.close()
        elif self._buffer:
            asyncio.get_running_loop().call_soon(self._advance)

    def _advance(self) -> None:
        if self._exchange is not None or self.transport.is_closing():
            return
        try:
            parsed = self._parse()
        except BadRequest as error:
            self.keep_alive = False
            exchange = Exchange(self, "GET", "/", {}, b"")
            exchange.respond_json(error.status, {"object": "error", "message": str(error), "code": error.status})
            return
        if parsed is None:
            return
        self._exchange = parsed
        self.keep_alive = parsed.headers.get("connection", "").lower() != "close" and not self._server.draining
        # The task is kept so that it is not collected half way.
        task = asyncio.get_running_loop().create_task(self._handle(parsed))
        self._server.tasks.add(task)
        task.add_done_callback(self._server.tasks.discard)

    async def _handle(self, exchange: Exchange) -> None:
        try:
            await self._server.handler(exchange)
        except Exception as error:
            if not exchange.finished and not exchange._chunked:
                message = f"internal error: {type(error).__name__}: {error}"
                exchange.respond_json(500, {"object": "error", "message": message, "type": "InternalServerError", "code": 500})
            elif not exchange.finished:
                exchange.abort()
            raise

    def _parse(self) -> Exchange | None:
        """Return the next whole request in the buffer, or None when more bytes are needed."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > _MAX_HEAD_BYTES:
                raise BadRequest(431, "request head too large")
            return None
        request_line, *lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
        try:
            method, target, version = request_line.split(" ")
            headers = {name.strip().lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
        except ValueError as error:
            raise BadRequest(400, f"malformed request: {request_line[:80]!r}") from error
        if version == "HTTP/1.0":
            headers.setdefault("connection", "close")
        body = self._body(end + 4, headers)
        if body is None:
            if headers.get("expect", "").lower() == "100-continue" and not self._continued:
                self._continued = True
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return None
        self._continued = False
        if self._server.loopback and _is_of_page(headers):
            raise BadRequest(403, "a page in a browser sent this, and this engine answers programs alone")
        return Exchange(self, method, target, headers, body)

    def _body(self, start: int, headers: dict[str, str]) -> bytes | None:
        """Take head and body from the buffer; None (and nothing taken) while the body is incomplete."""
        if "chunked" in headers.get("transfer-encoding", "").lower():
            return self._chunked_body(start)
        length_text = headers.get("content-length", "0")
        if not length_text.isdigit():
            raise BadRequest(400, f"malformed content-length: {length_text!r}")
        length = int(length_text)
        if length > MAX_BODY_BYTES:
            raise BadRequest(413, f"request body of {length} bytes; at most {MAX_BODY_BYTES}")
        if len(self._buffer) < start + length:
            return None
        body = bytes(self._buffer[start : start + length])
        del self._buffer[: start + length]
        return body

    def _chunked_body(self, start: int) -> bytes | None:
        position, total = start, 0
        parts: list[bytes] = []
        while True:
            line_end = self._buffer.find(b"\r\n", position)
            if line_end < 0:
                return None
            size_text = bytes(self._buffer[position:line_end]).split(b";")[0].strip()
            try:
                size = int(size_text, 16)
            except ValueError as error:
                raise BadRequest(400, f"malformed chunk size: {size_text[:20]!r}") from error
            position = line_end + 2
            if len(self._buffer) < position + size + 2:
                return None
            if size == 0:
                # Trailers are not supported; the empty line that ends them is.
                del self._buffer[: position + 2]
                return b"".join(parts)
            total += size
            if total > MAX_BODY_BYTES:
                raise BadRequest(413, f"request body over {MAX_BODY_BYTES} bytes")
            parts.append(bytes(self._buffer[position : position + size]))
            position += size + 2
