"""Connections to one server: as many as there are requests at a time, kept between requests.

The names of the host are looked up once for all, its addresses are used in turn, and TLS trusts the authorities that boto3 trusts.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import botocore.session
from botocore.httpsession import get_cert_path

from loadtest.client.http_client import HttpConnection, HttpResponse
from loadtest.errors import HttpError

_KNOWN_FOR_S = 30.0
"""How long a host's addresses are kept. A VPC's resolver answers 1,024 packets a second from an interface and drops the rest ("Hybrid
Cloud DNS Options for Amazon VPC", AWS whitepaper, Constraints): a thousand clients that begin together must not ask it a thousand times."""


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
        """Send one request and wait until its answer is whole.

        A kept connection that the server closed in the meantime is no failure: the request goes out again on a new one.

        Args:
            request: head and body as they go out.
            answer: takes the answer as it comes.
            on_sent: called as the request is handed to the connection.

        Raises:
            HttpError: there is no whole answer within the time of a request.
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
        """Connect to the host's addresses in turn, to the next where one refuses. OSError when all do."""
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
        """Look up the addresses of the family that the system prefers, and the others: a family may have no route to the outside."""
        found = await asyncio.get_running_loop().getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        preferred = [str(address[0]) for family, *_, address in found if family == found[0][0]]
        return preferred, [str(address[0]) for family, *_, address in found if family != found[0][0]]


def _time_out(done: asyncio.Future[None], timeout_s: float) -> None:
    if not done.done():
        done.set_exception(HttpError("timeout", f"no complete answer within {timeout_s:g} s"))


def _tls() -> ssl.SSLContext:
    """Return a context with the certificate authorities that boto3 trusts, so that both reach the same servers."""
    named = botocore.session.get_session().get_config_variable("ca_bundle")
    return ssl.create_default_context(cafile=get_cert_path(named or True))
