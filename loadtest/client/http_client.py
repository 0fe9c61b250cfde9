"""HTTP/1.1 with the clock in the right place: the moment of a piece of an answer is taken when the event loop hands it over.

One protocol object a connection and no task or queue a piece, so hundreds of streams cost a fraction of a core, and a stream's times are
not those of whoever reads it later. httptools (llhttp, Node's parser) finds the body; only what a load client needs is around it: POST, one
request at a time on a connection, connections kept.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from httptools import HttpParserCallbackError, HttpParserError, HttpResponseParser

from loadtest.errors import HttpError

ReceivePiece = Callable[[bytes, int], None]
"""Takes a piece of the body and the moment it arrived, in nanoseconds of the monotonic clock."""
_OVERHEAD_LIMIT = 65_536
"""The most bytes that may arrive with no body among them: a head, trailers or a chunk's extension without an end."""
_REFUSAL_LIMIT = 65_536
"""How much of the body of an answer that is not 200 is kept. Bytes."""
_BODILESS = frozenset({*range(100, 200), 204, 304})
"""Statuses whose answers end with the head (RFC 9112, section 6.3)."""


class HttpResponse:
    """An answer as it comes in."""

    __slots__ = ("body", "content_type", "receive", "status")

    def __init__(self, receive: ReceivePiece) -> None:
        self.status = 0
        self.receive = receive
        self.body = b""
        """The body of an answer that is not 200; that of any other goes to `receive`."""
        self.content_type = ""
        """What the answer says that its body is, in small letters; known before any of it arrives."""


class _ResponseParser:
    """The parser of one answer: what httptools calls, and what it then knows."""

    def __init__(self, response: HttpResponse) -> None:
        self._response = response
        self._pieces: list[bytes] = []
        self.on_body = self._pieces.append  # called once a chunk: a built-in costs least
        self._own_pieces: int | None = None  # once it is whole: the pieces beyond are those of another answer
        self._headers: dict[bytes, bytes] = {}
        self._overhead = 0
        self.is_whole = False
        self.keeps_connection = False
        self.ends_with_connection = False
        self._parser = HttpResponseParser(self)

    def feed(self, data: bytes, now_ns: int) -> None:
        """Take what arrived at `now_ns`, and hand on what of it is body.

        Raises:
            HttpError: it is not HTTP/1.1, or in an encoding that was not asked for.
        """
        failure: BaseException | None = None
        try:
            self._parser.feed_data(data)
        except HttpParserCallbackError as error:
            failure = error.__context__ or error
        except HttpParserError as error:
            failure = HttpError("protocol", f"not an HTTP/1.1 answer: {error}: {data[:60]!r}")
        if self._pieces:
            self._overhead = 0
            self._hand_on(b"".join(self._pieces[: self._own_pieces]), now_ns)
            self._pieces.clear()
        else:
            self._overhead += len(data)
        if failure is None and self._overhead > _OVERHEAD_LIMIT and not self.is_whole:
            failure = HttpError("protocol", f"more than {_OVERHEAD_LIMIT} bytes arrived without any body: its head has no end")
        if failure is not None:
            if not self.is_whole:
                raise failure
            self.keeps_connection = False  # something that nobody asked for follows the answer

    def on_message_begin(self) -> None:
        """Forget an informational answer before this one; called by httptools."""
        if self.is_whole:
            self.keeps_connection = False
        self._headers.clear()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note a header; called by httptools."""
        self._headers[name.lower()] = value.strip().lower()

    def on_headers_complete(self) -> None:
        """Judge how the body comes; called by httptools."""
        if self.is_whole:
            return
        response, headers, version = self._response, self._headers, self._parser.get_http_version()
        response.status = self._parser.get_status_code()
        response.content_type = headers.get(b"content-type", b"").decode("latin-1")
        if version not in {"1.0", "1.1"} or response.status < 100:
            raise HttpError("protocol", f"not an HTTP/1.1 answer: version {version}, status {response.status}")
        if response.status == 101:
            raise HttpError("protocol", "the server switches to another protocol (101), which nobody asked for")
        for name, plain in ((b"transfer-encoding", b"chunked"), (b"content-encoding", b"identity")):
            if headers.get(name, plain) != plain:
                raise HttpError(
                    "protocol", f"the answer's {name.decode()} is {headers[name].decode('latin-1')!r}; none was asked for"
                )
        self.keeps_connection = self._parser.should_keep_alive()
        self.ends_with_connection = (
            response.status not in _BODILESS and b"content-length" not in headers and b"transfer-encoding" not in headers
        )

    def on_message_complete(self) -> None:
        """Note the end of the answer, or of an informational one before it; called by httptools."""
        if not self.is_whole and self._response.status >= 200:
            self.is_whole, self._own_pieces = True, len(self._pieces)

    def _hand_on(self, piece: bytes, now_ns: int) -> None:
        response = self._response
        if response.status == 200:
            response.receive(piece, now_ns)
        elif len(response.body) < _REFUSAL_LIMIT:
            response.body += piece


class HttpConnection(asyncio.Protocol):
    """One connection to the server."""

    def __init__(self) -> None:
        self.reused = False
        self.is_open = False
        self.began = False
        """Whether any byte of the present answer has arrived."""
        self._transport: asyncio.Transport | None = None
        self._parser: _ResponseParser | None = None
        self._done: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport; called by the event loop."""
        self._transport = transport  # type: ignore[assignment]
        self.is_open = True

    def exchange(self, request: bytes, response: HttpResponse) -> asyncio.Future[None]:
        """Send a request.

        Args:
            request: head and body.
            response: takes the answer as it comes.

        Returns:
            A future that is done when the answer is whole, or fails with HttpError, or with what `response.receive` raised.
        """
        assert self._transport is not None  # noqa: S101  (connected)
        self._parser, self.began = _ResponseParser(response), False
        self._done = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._done

    def close(self) -> None:
        """Drop the connection at once."""
        self.is_open = False
        self._parser = None
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take the moment, and what arrived; called by the event loop."""
        now_ns = time.monotonic_ns()
        parser = self._parser
        if parser is None:
            self.close()  # nothing was asked
            return
        self.began = True
        try:
            parser.feed(data, now_ns)
        except Exception as error:  # noqa: BLE001  (whoever receives may raise what it likes: it is the request's failure)
            self._fail(error)
        else:
            if parser.is_whole:
                self._finish(keep=parser.keeps_connection)

    def connection_lost(self, error: Exception | None) -> None:
        """End the answer, well or badly; called by the event loop."""
        self.is_open = False
        if self._parser is None:
            return
        if self._parser.ends_with_connection and error is None:
            self._finish(keep=False)
        else:
            self._fail(
                HttpError("closed", str(error) if error else "the server closed the connection before the end of its answer")
            )

    def _fail(self, error: Exception) -> None:
        done, self._done = self._done, None
        self.close()
        if done is not None and not done.done():
            done.set_exception(error)

    def _finish(self, *, keep: bool) -> None:
        done, self._done, self._parser = self._done, None, None
        if not keep:
            self.close()
        if done is not None and not done.done():
            done.set_result(None)
