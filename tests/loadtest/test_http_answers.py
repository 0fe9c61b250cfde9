"""Answers that are not what HTTP/1.1 says, byte for byte from a raw socket: each becomes one clear result, and none a request that never ends."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from loadtest.client.chat_client import ChatRequest, LoadClient
from loadtest.measurement.request_record import RequestRecord
from loadtest.transports.openai import OpenAITransport

REQUEST = ChatRequest(({"role": "user", "content": "hello"},), 8, keep_text=True)
EVENTS = b"".join(
    b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"
    for choice in ({"delta": {"content": "one"}}, {"delta": {}, "finish_reason": "stop"})
)
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
COUNTED = OK + b"Content-Length: %d\r\n\r\n" % len(EVENTS) + EVENTS
IN_CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(EVENTS), EVENTS)


@asynccontextmanager
async def answering(*answers: bytes, then_close: bool = False) -> AsyncIterator[str]:
    """A server that answers the requests of a connection with these bytes, one after the other, and then leaves it open."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            for answer in answers:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
                await reader.readexactly(int(length.split(b":")[1]))
                writer.write(answer)
                await writer.drain()
            if not then_close:
                await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    server.close()


def results(*answers: bytes, then_close: bool = False, times: int = 1, timeout_s: float = 20) -> list[RequestRecord]:
    async def run() -> list[RequestRecord]:
        async with answering(*answers, then_close=then_close) as url:
            client = LoadClient(OpenAITransport(url), timeout_s)
            try:
                return [await client.send(REQUEST, time.monotonic_ns()) for _ in range(times)]
            finally:
                client.close()

    return asyncio.run(run())


BAD: dict[str, tuple[bytes, str, str]] = {
    # what: the bytes, the error class, a part of the message
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", "http_204", "HTTP status 204, without a body"),
    "304, which has a length but no body": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "http_304", "304"),
    "a negative length": (OK + b"Content-Length: -5\r\n\r\n", "protocol", "Invalid character in Content-Length"),
    "a length with a letter": (OK + b"Content-Length: 5x\r\n\r\nabcde", "protocol", "Invalid character in Content-Length"),
    "a length with a sign": (OK + b"Content-Length: +5\r\n\r\nabcde", "protocol", "Invalid character in Content-Length"),
    "an empty length": (OK + b"Content-Length: \r\n\r\nabcde", "protocol", "Empty Content-Length"),
    "a length beyond all numbers": (OK + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n", "protocol", "Content-Length overflow"),
    "two lengths": (OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", "protocol", "Duplicate Content-Length"),
    "a length and chunks": (OK + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n3\r\n", "protocol", "Content-Length"),
    "compressed, then in chunks": (
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + IN_CHUNKS,
        "protocol",
        "transfer-encoding is 'gzip, chunked'",
    ),
    "compressed until it closes": (OK + b"Transfer-Encoding: gzip\r\n\r\n\x1f\x8b", "protocol", "transfer-encoding is 'gzip'"),
    "compressed content": (
        OK + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b",
        "protocol",
        "content-encoding is 'gzip'; none was asked for",
    ),
    "a chunk's size with an underscore": (CHUNKED + b"0_3\r\nabc\r\n", "protocol", "Invalid character in chunk size"),
    "a chunk's size as Python writes it": (CHUNKED + b"0x3\r\nabc\r\n", "protocol", "Invalid character in chunk size"),
    "a negative chunk's size": (CHUNKED + b"-3\r\nabc\r\n", "protocol", "Invalid character in chunk size"),
    "no chunk's size": (CHUNKED + b"\r\nabc\r\n", "protocol", "Invalid character in chunk size"),
    "a chunk's size beyond all numbers": (CHUNKED + b"f" * 20 + b"\r\nabc", "protocol", "Chunk size overflow"),
    "a chunk that is longer than its size": (CHUNKED + b"3\r\nabcdef\r\n", "protocol", "after chunk data"),
    "an endless head": (OK + b"A: b\r\n" * 20_000, "protocol", "more than 65536 bytes arrived without any body"),
    "an endless chunk's extension": (
        CHUNKED + b"3;" + b"x" * 100_000,
        "protocol",
        "more than 65536 bytes arrived without any body",
    ),
    "another protocol's greeting": (b"SSH-2.0-OpenSSH_9.6\r\n", "protocol", "not an HTTP/1.1 answer"),
    "another version": (b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", "protocol", "version 2.0"),
    "another protocol from here on": (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "protocol", "(101)"),
    "a status of four digits": (b"HTTP/1.1 2000 OK\r\n\r\n", "protocol", "Invalid response status"),
    "a status below all": (b"HTTP/1.1 099 What\r\nContent-Length: 0\r\n\r\n", "protocol", "status 99"),
    "a space before a colon": (OK + b"Content-Length : 3\r\n\r\nabc", "protocol", "Invalid header field"),
}


@pytest.mark.parametrize("what", BAD)
def test_an_answer_that_is_none_is_one_clear_error_at_once(what: str) -> None:
    answer, kind, says = BAD[what]
    [result] = results(answer)
    assert (result.error, says in result.message) == (kind, True), result.message
    assert result.ended_ns - result.intended_ns < 10_000_000_000, "and not because time was up"


@pytest.mark.parametrize("informational", [b"HTTP/1.1 102 Processing\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"])
def test_informational_answers_are_passed_over(informational: bytes) -> None:
    [result] = results(informational * 3 + COUNTED)
    assert (result.error, result.text) == ("", "one")


def test_an_informational_answer_alone_is_waited_for_no_longer_than_the_request_may_take() -> None:
    [late] = results(b"HTTP/1.1 102 Processing\r\n\r\n", timeout_s=0.3)
    assert (late.error, late.message) == ("timeout", "no complete answer within 0.3 s")
    [closed] = results(b"HTTP/1.1 102 Processing\r\n\r\n", then_close=True)
    assert closed.error == "closed"


def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    [result] = results(OK + b"\r\n" + EVENTS, then_close=True)
    assert (result.error, result.text) == ("", "one")


@pytest.mark.parametrize("answer", [OK + b"Content-Length: 999\r\n\r\n" + EVENTS, CHUNKED + b"%x\r\n%b" % (len(EVENTS), EVENTS)])
def test_an_answer_that_its_connection_ends_before_it_is_whole_is_closed(answer: bytes) -> None:
    [result] = results(answer, then_close=True)
    assert (result.error, result.message) == ("closed", "the server closed the connection before the end of its answer")


@pytest.mark.parametrize("more", [b"HTTP/1.1 200 OK\r\n", b"nobody asked for this", COUNTED])
def test_what_follows_a_whole_answer_spoils_the_connection_and_not_the_answer(more: bytes) -> None:
    first, second = results(COUNTED + more, times=2)
    assert (first.error, first.text) == ("", "one")
    assert (second.error, second.text) == ("", "one"), "on a connection of its own"


@pytest.mark.parametrize("cut", [1, 2, 7])
def test_chunks_with_extensions_and_trailers_are_read_wherever_the_network_cuts_them(cut: int) -> None:
    whole = CHUNKED + b"%X;name=value\r\n%b\r\n0\r\nTrailer: one\r\n\r\n" % (len(EVENTS), EVENTS)

    async def run() -> RequestRecord:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            for at in range(0, len(whole), cut):
                writer.write(whole[at : at + cut])
                await asyncio.sleep(0)
            await reader.read()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        client = LoadClient(OpenAITransport(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"), 20)
        try:
            return await client.send(REQUEST, 1)
        finally:
            client.close()
            server.close()

    result = asyncio.run(run())
    assert (result.error, result.text, len(result.token_ns)) == ("", "one", 1)


def test_a_kept_connection_is_used_again_and_one_that_may_not_be_is_not() -> None:
    """The server answers twice on one connection; after `Connection: close` it would not answer again."""
    kept = results(CHUNKED + IN_CHUNKS, COUNTED, times=2)
    assert [result.error for result in kept] == ["", ""]
    closing = OK + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(EVENTS) + EVENTS
    assert [result.error for result in results(closing, b"never sent", times=2)] == ["", ""]


def test_a_refusal_keeps_what_it_says_however_long_it_is() -> None:
    body = b"no instance is free; " * 10_000
    [result] = results(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    assert result.error == "http_503"
    assert result.message.startswith("no instance is free")
