"""HTTP for large ranges: kept connections, bytes received straight into a caller's buffer, no redirect followed by itself.

Redirects are the caller's business, because a token must not follow them to another host.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

from delivery.errors import DeliveryError, TransientError

_BODY_EXCERPT = 600
_PIECE_BYTES = 1024**2
_USER_AGENT = "fetch-weights/1"
_Body = TypeVar("_Body")
_USED_UP = re.compile(r";\s*r\s*=\s*0\s*;\s*t\s*=\s*(\d+)")
_TRANSIENT_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class RangeResponse:
    """A response's status and headers (names in lower case) and, when it was not read into a buffer, the start of its body."""

    status: int
    headers: dict[str, str]
    excerpt: str = ""

    @property
    def retry_after_s(self) -> float | None:
        """The server's word on when to come again, in seconds; None where it has none.

        That is Retry-After, or what the Hub says instead when a quota is used up, as in `RateLimit: "resolvers";r=0;t=55` ("Hub Rate
        limits" in its documentation: windows of five minutes).
        """
        used_up = _USED_UP.search(self.headers.get("ratelimit", "")) if self.status == 429 else None
        if used_up:
            return float(used_up[1]) + 1  # whole seconds: they may have been rounded down
        return _seconds(self.headers.get("retry-after"))

    def transient_error(self, url: str) -> TransientError | None:
        """Make the error to raise when this status may pass by itself; None when it does not."""
        if self.status not in _TRANSIENT_STATUSES:
            return None
        return TransientError(f"{public(url)} answered {self.status} {self.excerpt}".rstrip(), self.retry_after_s)


class RangeClient:
    """The connections of one thread, one a server."""

    def __init__(self, connect_timeout_s: float, read_timeout_s: float) -> None:
        self._connect_timeout_s = connect_timeout_s
        self._read_timeout_s = read_timeout_s
        self._connections: dict[tuple[str, str], http.client.HTTPConnection] = {}
        self._tls: ssl.SSLContext | None = None

    def ask(self, method: str, url: str, headers: dict[str, str]) -> RangeResponse:
        """Send a request and drop its body.

        Args:
            method: The HTTP method.
            url: Where to.
            headers: What to send besides `User-Agent`.

        Returns:
            The response, with the start of its body.

        Raises:
            TransientError: The connection failed.
        """
        answer, _ = self._exchange(method, url, headers, lambda _: None, None, None)
        return answer

    def send(self, url: str, headers: dict[str, str], view: memoryview) -> RangeResponse:
        """Send the bytes of `view` with PUT. Arguments and errors as of `ask`."""
        answer, _ = self._exchange("PUT", url, headers, lambda _: None, None, None, body=view)
        return answer

    def read_into(
        self, url: str, headers: dict[str, str], view: memoryview, accept: int, arrived: Callable[[int], None]
    ) -> RangeResponse:
        """Read a body straight into `view`.

        Args:
            url: Where from.
            headers: What to send, `Range` among it.
            view: Memory for the body; a longer one is an error, one that ends early shows in the sum of `arrived` only.
            accept: The status whose body is wanted. That of another goes to the response's excerpt.
            arrived: Told of the bytes, a megabyte or so at a time; may raise to leave.

        Returns:
            The response.

        Raises:
            TransientError: The connection failed.
        """
        answer, _ = self._exchange("GET", url, headers, lambda response: _fill(response, view, arrived), accept, None)
        return answer

    def read(self, url: str, headers: dict[str, str], limit_bytes: int) -> tuple[RangeResponse, bytes]:
        """Read a document of `limit_bytes` at most; the body is that of a 200. Errors as of `ask`."""
        return self._exchange("GET", url, headers, lambda response: _whole(response, limit_bytes), 200, b"")

    def close(self) -> None:
        """Close all connections."""
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    def _exchange(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        take: Callable[[http.client.HTTPResponse], _Body],
        accept: int | None,
        nothing: _Body,
        body: memoryview | None = None,
    ) -> tuple[RangeResponse, _Body]:
        """Send one request; return what `take` makes of a body with status `accept`, else `nothing` and an excerpt of the body."""
        parts = urlsplit(url)
        key = (parts.scheme, parts.netloc)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        for fresh in (key not in self._connections, True):
            connection = self._connection(parts.scheme, parts.netloc)
            answered = False
            try:
                connection.request(method, target, body, {"Accept-Encoding": "identity", "User-Agent": _USER_AGENT, **headers})
                response = connection.getresponse()
                answered = True
                head = {name.lower(): value for name, value in response.getheaders()}
                if response.status != accept:
                    return self._drop(key, response, head), nothing
                taken = take(response)
                if not response.isclosed() or response.will_close:
                    self._forget(key)
                return RangeResponse(response.status, head), taken
            except (OSError, http.client.HTTPException) as error:
                self._forget(key)
                closed = isinstance(error, http.client.RemoteDisconnected | BrokenPipeError | ConnectionResetError)
                if closed and not (fresh or answered):
                    continue  # the server closed a connection that had been idle: not a failure
                raise TransientError(f"{public(url)}: {type(error).__name__}: {error}") from error
            except BaseException:  # whoever asked wants no more of it
                self._forget(key)
                raise
        raise AssertionError("the second connection is always fresh")

    def _drop(self, key: tuple[str, str], response: http.client.HTTPResponse, head: dict[str, str]) -> RangeResponse:
        body = response.read(_BODY_EXCERPT)
        if not response.isclosed():
            self._forget(key)
        text = head.get("x-error-message") or " ".join(body.decode("utf-8", "replace").split())
        return RangeResponse(response.status, head, text)

    def _connection(self, scheme: str, netloc: str) -> http.client.HTTPConnection:
        key = (scheme, netloc)
        if key in self._connections:
            return self._connections[key]
        if scheme == "https":
            self._tls = self._tls or ssl.create_default_context()
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                netloc, timeout=self._connect_timeout_s, context=self._tls
            )
        elif scheme == "http":
            connection = http.client.HTTPConnection(netloc, timeout=self._connect_timeout_s)
        else:
            raise DeliveryError(f"{scheme}://{netloc} is neither http nor https")
        try:
            connection.connect()
        except OSError as error:
            raise TransientError(f"{scheme}://{netloc}: {type(error).__name__}: {error}") from error
        connection.sock.settimeout(self._read_timeout_s)
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._connections[key] = connection
        return connection

    def _forget(self, key: tuple[str, str]) -> None:
        connection = self._connections.pop(key, None)
        if connection is not None:
            connection.close()


class ThreadRangeClient(threading.local):
    """A range client for each thread that comes: threads share no connection, and each keeps its own."""

    def __init__(self, connect_timeout_s: float, read_timeout_s: float) -> None:
        self.current = RangeClient(connect_timeout_s, read_timeout_s)
        """This thread's."""


def _fill(response: http.client.HTTPResponse, view: memoryview, arrived: Callable[[int], None]) -> None:
    received = 0
    while received < len(view):
        count = response.readinto(view[received : received + _PIECE_BYTES])
        if count == 0:
            return
        received += count
        arrived(count)
    if response.read(1):
        raise http.client.HTTPException(f"more than the {len(view)} bytes that were asked for")


def _whole(response: http.client.HTTPResponse, limit_bytes: int) -> bytes:
    body = response.read(limit_bytes + 1)
    if len(body) > limit_bytes:
        raise DeliveryError(f"a document of more than {limit_bytes:,} bytes")
    if response.length:
        raise http.client.IncompleteRead(body, response.length)
    return body


def public(url: str) -> str:
    """Return a URL without its query, which carries a signature: fit for a log.

    Example:
        >>> public("https://cdn/file?Signature=secret")
        'https://cdn/file'
    """
    return url.split("?", 1)[0]


def _seconds(retry_after: str | None) -> float | None:
    try:
        return max(0.0, float(retry_after)) if retry_after else None
    except ValueError:
        return None  # an HTTP date: our own pause will do
