"""The engines' HTTP server, at the level of bytes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from container.engines.http import MAX_BODY_BYTES, Exchange, HttpServer


def talk(conversation: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, Any]]) -> Any:
    """Run `conversation` with a server that echoes what it understood of each request."""

    async def handler(exchange: Exchange) -> None:
        if exchange.path == "/boom":
            raise RuntimeError("kaboom")
        exchange.respond_json(200, [exchange.method, exchange.path, exchange.query, exchange.body.decode("latin-1")])

    async def run() -> Any:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        server = HttpServer(handler)
        reader, writer = await asyncio.open_connection("127.0.0.1", await server.start("127.0.0.1", 0))
        try:
            return await asyncio.wait_for(conversation(reader, writer), 10)
        finally:
            writer.close()
            await server.close(0.1)

    return asyncio.run(run())


async def answer(reader: asyncio.StreamReader) -> tuple[int, Any]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = int(head.lower().split("content-length: ")[1].split("\r\n")[0])
    return int(head.split()[1]), json.loads(await reader.readexactly(length) or b"null")


def test_requests_in_pieces_and_in_a_row() -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in (b"POST /a?b=c HT", b"TP/1.1\r\nContent-Le", b"ngth: 5\r\n\r\nhel", b"lo"):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)
        assert await answer(reader) == (200, ["POST", "/a", "b=c", "hello"])
        writer.write(b"GET /1 HTTP/1.1\r\n\r\nPUT /2 HTTP/1.1\r\ncontent-length: 1\r\n\r\nxGET /3 HTTP/1.1\r\n\r\n")
        assert [(await answer(reader))[1][1] for _ in range(3)] == ["/1", "/2", "/3"]

    talk(conversation)


def test_chunked_body_and_continue() -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde")
        await asyncio.sleep(0.01)
        writer.write(b"\r\n0\r\n\r\n")
        assert await answer(reader) == (200, ["POST", "/a", "", "abcde"])
        writer.write(b"POST /b HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        writer.write(b"ok")
        assert (await answer(reader))[1][3] == "ok"

    talk(conversation)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon here\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\ncontent-length: -5\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1), 413),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n", 400),
        (b"GET / HTTP/1.1\r\nx: " + b"a" * 70000, 431),
    ],
)
def test_what_is_no_request_is_refused_and_closed(request_bytes: bytes, status: int) -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(request_bytes)
        assert (await answer(reader))[0] == status
        assert await reader.read() == b""

    talk(conversation)


def test_a_handler_that_fails_answers_500_and_the_connection_lives() -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"GET /boom HTTP/1.1\r\n\r\n")
        status, body = await answer(reader)
        assert (status, body["type"]) == (500, "InternalServerError")
        writer.write(b"HEAD /x HTTP/1.1\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        writer.write(b"GET /last HTTP/1.1\r\nconnection: close\r\n\r\n")
        assert (await answer(reader))[1][1] == "/last"
        assert await reader.read() == b""

    talk(conversation)


@pytest.mark.parametrize(
    "header", ["origin: null", "referer: http://evil/", "sec-fetch-site: cross-site", "host: evil.example:80"]
)
def test_a_page_in_a_browser_is_refused_and_its_body_is_no_request(header: str) -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = b"GET /smuggled HTTP/1.1\r\n\r\n"
        writer.write(f"POST /a HTTP/1.1\r\n{header}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        assert (await answer(reader))[0] == 403
        assert await reader.read() == b""

    talk(conversation)


@pytest.mark.parametrize(
    "header", ["host: 127.0.0.1:80", "host: LOCALHOST", "host: [::1]:80", "sec-fetch-mode: cors", "sec-fetch-site: none"]
)
def test_a_program_is_answered(header: str) -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"GET /a HTTP/1.1\r\n{header}\r\n\r\n".encode())
        assert (await answer(reader))[0] == 200

    talk(conversation)
