"""HTTP/1.1 with the clock in the right place: the moment of a piece of an answer is taken when the event loop hands it over.

One protocol object a connection and no task or queue a piece, so hundreds of streams cost a fraction of a core, and a stream's times are
not those of whoever reads it later. Only what a load client needs: POST, one request at a time on a connection, connections kept.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from loadtest.errors import HttpError

Receive = Callable[[bytes, int], None]
"""Takes a piece of the body and the moment it arrived, in nanoseconds of the monotonic clock."""
_HEAD_LIMIT = 65536
_KNOWN_FOR_S = 30.0
"""How long a host's addresses are kept. A VPC's resolver answers 1,024 packets a second from an interface and drops the rest ("Hybrid
Cloud DNS Options for Amazon VPC", AWS whitepaper, Constraints): a thousand clients that begin together must not ask it a thousand times."""


class HttpResponse:
    """An answer as it comes in."""

    __slots__ = ("body", "headers", "receive", "status")

    def __init__(self, receive: Receive) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.receive = receive
        self.body = b""
        """The body of an answer that is not 200; that of any other goes to `receive`."""


class HttpConnection(asyncio.Protocol):
    """One connection, and the parser of what arrives on it."""

    def __init__(self) -> None:
        self.reused = False
        self.is_open = False
        self._transport: asyncio.Transport | None = None
        self._answer: HttpResponse | None = None
        self._done: asyncio.Future[None] | None = None
        self._rest = b""
        self._parse: Callable[[bytes, int], bytes | None] = self._head
        self._left = 0
        self._keep = True
        self._began = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = transport  # type: ignore[assignment]
        self.is_open = True

    def exchange(self, request: bytes, answer: HttpResponse) -> asyncio.Future[None]:
        """Send a request; the future is done when the answer is whole, or fails with HttpError."""
        assert self._transport is not None  # noqa: S101  (connected)
        self._answer, self._began = answer, False
        self._parse, self._rest, self._keep = self._head, b"", True
        self._done = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._done

    @property
    def began(self) -> bool:
        """Whether any byte of the present answer has arrived."""
        return self._began

    def close(self) -> None:
        """Drop the connection at once."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        now = time.monotonic_ns()
        if self._answer is None:
            self.close()  # nothing was asked
            return
        self._began = True
        rest: bytes | None = self._rest + data if self._rest else data
        self._rest = b""
        try:
            while rest:
                parse = self._parse
                rest = parse(rest, now)
        except HttpError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001  (whoever receives may raise what it likes: it is the request's failure)
            self._fail(error)

    def connection_lost(self, error: Exception | None) -> None:
        """Called by the event loop."""
        self.is_open = False
        if self._answer is not None:
            if self._parse == self._until_closed and error is None:
                self._finish()
            else:
                self._fail(
                    HttpError("closed", str(error) if error else "the server closed the connection before the end of its answer")
                )

    def _fail(self, error: Exception) -> None:
        done, self._done, self._answer = self._done, None, None
        self.close()
        if done is not None and not done.done():
            done.set_exception(error)

    def _finish(self) -> None:
        done, self._done, self._answer = self._done, None, None
        if not self._keep:
            self.close()
        if done is not None and not done.done():
            done.set_result(None)

    def _body(self, piece: bytes, now: int) -> None:
        answer = self._answer
        assert answer is not None  # noqa: S101  (parsers run only while there is one)
        if answer.status == 200:
            answer.receive(piece, now)
        else:
            answer.body += piece

    # The parsers take what has arrived and return what they left; None with `_rest` set: more must arrive first.

    def _head(self, data: bytes, now: int) -> bytes | None:
        end = data.find(b"\r\n\r\n")
        if end < 0:
            if len(data) > _HEAD_LIMIT:
                raise HttpError("protocol", f"an answer's head is longer than {_HEAD_LIMIT} bytes")
            self._rest = data
            return None
        answer = self._answer
        assert answer is not None  # noqa: S101
        first, *lines = data[:end].decode("latin-1").split("\r\n")
        version, _, status = first.partition(" ")
        if not version.startswith("HTTP/1.") or not status[:3].isdigit():
            raise HttpError("protocol", f"not an HTTP/1.1 answer: {first[:100]!r}")
        answer.status = int(status[:3])
        if answer.status == 100:
            return data[end + 4 :]
        answer.headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self._keep = answer.headers.get("connection", "").lower() != "close" and version != "HTTP/1.0"
        self._frame(answer.headers)
        return data[end + 4 :]

    def _frame(self, headers: dict[str, str]) -> None:
        """How the body ends (RFC 9112, section 6.3)."""
        if headers.get("transfer-encoding", "").lower() == "chunked":
            self._parse = self._chunk_size
        elif "content-length" in headers:
            self._left = int(headers["content-length"])
            self._parse = self._counted
            if not self._left:
                self._finish()
        else:
            self._keep = False
            self._parse = self._until_closed

    def _counted(self, data: bytes, now: int) -> bytes | None:
        piece = data[: self._left]
        self._left -= len(piece)
        self._body(piece, now)
        if not self._left:
            self._finish()
        return None

    def _until_closed(self, data: bytes, now: int) -> bytes | None:
        self._body(data, now)
        return None

    def _chunk_size(self, data: bytes, now: int) -> bytes | None:
        end = data.find(b"\r\n")
        if end < 0:
            if len(data) > _HEAD_LIMIT:
                raise HttpError("protocol", "a chunk's size has no end")
            self._rest = data
            return None
        try:
            self._left = int(data[:end].split(b";", 1)[0], 16)
        except ValueError as error:
            raise HttpError("protocol", f"not a chunk size: {data[:end][:40]!r}") from error
        self._parse = self._chunk if self._left else self._trailer
        return data[end + 2 :]

    def _chunk(self, data: bytes, now: int) -> bytes | None:
        left = self._left
        if len(data) >= left + 2:  # the whole rest of the chunk and the line end behind it
            if data[left : left + 2] != b"\r\n":
                raise HttpError("protocol", "a chunk does not end where its size says")
            self._parse = self._chunk_size
            if left:
                self._body(data[:left], now)
            return data[left + 2 :]
        if len(data) <= left:
            self._left = left - len(data)
            self._body(data, now)
            return None
        self._left = 0
        if left:
            self._body(data[:left], now)
        self._rest = data[left:]
        return None

    def _trailer(self, data: bytes, now: int) -> bytes | None:
        end = data.find(b"\r\n")
        if end < 0:
            self._rest = data
            return None
        if end == 0:
            self._finish()
            return None
        return data[end + 2 :]


class ConnectionPool:
    """Connections to one server, as many as there are requests at a time; a request never waits for a free one."""

    def __init__(self, url: str, timeout_s: float) -> None:
        """`url` is the server's, `http://HOST:PORT` or `https://HOST`; `timeout_s` a request's whole time. Seconds."""
        parts = urlsplit(url)
        self._host, self._secure = parts.hostname or "", parts.scheme == "https"
        self._port = parts.port or (443 if self._secure else 80)
        self._timeout_s = timeout_s
        self._idle: list[HttpConnection] = []
        self._context = _tls() if self._secure else None
        self._lookup: asyncio.Task[tuple[list[str], list[str]]] | None = None
        self._known_until = 0.0
        self._connections = 0

    async def post(self, request: bytes, answer: HttpResponse, on_sent: Callable[[], None]) -> None:
        """Send one request and wait until its answer is whole. HttpError when it does not come to that.

        `on_sent` is called as the request is handed to the connection. A kept connection that the server closed in the meantime is
        no failure: the request goes out again on a new one.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout_s
        while True:
            connection = await self._connect(deadline)
            on_sent()
            done = connection.exchange(request, answer)
            timer = loop.call_at(deadline, _time_out, done, self._timeout_s)
            try:
                await done
            except HttpError as error:
                if error.kind == "closed" and connection.reused and not connection.began:
                    continue
                raise
            finally:
                timer.cancel()
                if connection.is_open and done.done() and not done.cancelled() and done.exception() is None:
                    connection.reused = True
                    self._idle.append(connection)
                else:
                    connection.close()
            return

    def close(self) -> None:
        """Drop what is kept."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    async def _connect(self, deadline: float) -> HttpConnection:
        while self._idle:
            connection = self._idle.pop()  # the one used last is the least likely to have been closed
            if connection.is_open:
                return connection
        try:
            async with asyncio.timeout_at(deadline):
                return await self._new()
        except TimeoutError as error:
            raise HttpError("timeout", f"no connection to {self._host}:{self._port} within {self._timeout_s:g} s") from error
        except OSError as error:
            raise HttpError("connect", str(error)) from error

    async def _new(self) -> HttpConnection:
        """A new connection, to each of the host's addresses in turn, to the next where one refuses. OSError when all do."""
        loop = asyncio.get_running_loop()
        if self._lookup is None or loop.time() > self._known_until:
            self._lookup, self._known_until = loop.create_task(self._addresses()), loop.time() + _KNOWN_FOR_S
        try:
            preferred, others = await asyncio.shield(self._lookup)
        except OSError:
            self._lookup = None
            raise
        self._connections += 1
        first = self._connections % len(preferred)
        addresses = [*preferred[first:], *preferred[:first], *others]
        server_name: Any = self._host if self._secure else None
        for place, address in enumerate(addresses, 1):
            try:
                _, made = await loop.create_connection(
                    HttpConnection, address, self._port, ssl=self._context, server_hostname=server_name
                )
            except OSError:
                if place == len(addresses):
                    raise
            else:
                return made
        raise OSError(f"{self._host} has no address")

    async def _addresses(self) -> tuple[list[str], list[str]]:
        """Those of the family that the system prefers, and the others: a family may have no route to the outside."""
        found = await asyncio.get_running_loop().getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        preferred = [str(address[0]) for family, *_, address in found if family == found[0][0]]
        return preferred, [str(address[0]) for family, *_, address in found if family != found[0][0]]


def _time_out(done: asyncio.Future[None], timeout_s: float) -> None:
    if not done.done():
        done.set_exception(HttpError("timeout", f"no complete answer within {timeout_s:g} s"))


def _tls() -> ssl.SSLContext:
    """With the certificate authorities that boto3 trusts, so that both reach the same servers."""
    import botocore.session
    from botocore.httpsession import get_cert_path

    named = botocore.session.get_session().get_config_variable("ca_bundle")
    return ssl.create_default_context(cafile=get_cert_path(named or True))
