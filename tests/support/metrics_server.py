"""A planted metrics page: gauges that are known functions of time, or an answer that no server should give."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from tests.support.served_in_thread import served

Answer = Callable[[int], AsyncIterator[bytes]]
"""Gives the pieces of the answer to the n-th request, from 0, as they go out; the connection is closed at their end."""


def head(status: str = "200 OK", **headers: str) -> bytes:
    """The head of an answer whose end is the end of the connection."""
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode()


def page(text: Callable[[int], str], content_type: str = "text/plain; version=0.0.4; charset=utf-8") -> Answer:
    """A page whose text is a function of the request's number."""

    async def answer(number: int) -> AsyncIterator[bytes]:
        body = text(number).encode()
        yield head(Content_Type=content_type, Content_Length=str(len(body))) + body

    return answer


@dataclass
class MetricsServer:
    """The server, and what it was asked."""

    url: str
    requests: list[bytes] = field(default_factory=list)


@contextmanager
def serving_metrics(answer: Answer) -> Iterator[MetricsServer]:
    """The server of a planted page, in a thread of its own."""
    server = MetricsServer("")

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            server.requests.append(await reader.readuntil(b"\r\n\r\n"))
            async for piece in answer(len(server.requests) - 1):
                writer.write(piece)
                await writer.drain()
        writer.close()

    with served(handle) as address:
        server.url = f"{address}/metrics"
        yield server
