"""A server that answers with the bytes it is given, and what a load client makes of them: for planted streams."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from benchmarks.load_client.frames import message
from loadtest.client.chat_client import ChatRequest, LoadClient
from loadtest.measurement.request_record import RequestRecord
from loadtest.transports import Transport
from loadtest.transports.openai import OpenAITransport
from loadtest.transports.sagemaker import SageMakerTransport
from tests.support.served_in_thread import served

WAYS = ("openai", "sagemaker")
ASK = ChatRequest(({"role": "user", "content": "hello"},), 8, keep_text=True)


def chunk(content: str | None = None, finish: str | None = None, **more: Any) -> bytes:
    """One event as SGLang writes it."""
    choices = [{"index": 0, "delta": {"content": content}, "finish_reason": finish}] if content is not None or finish else []
    return b"data: " + json.dumps({"object": "chat.completion.chunk", "choices": choices, **more}).encode() + b"\n\n"


def usage(tokens: int) -> bytes:
    return chunk(usage={"prompt_tokens": 5, "completion_tokens": tokens})


DONE = b"data: [DONE]\n\n"
WORDS = (chunk(""), chunk(" one"), chunk(" two"), chunk(" three"))
WHOLE = (*WORDS, chunk(finish="stop"), usage(3), DONE)
OPEN = b""
"""As a piece: the connection is kept open without an answer's end."""


@dataclass
class Scripted:
    """A server that answers every request with these bytes, each piece a chunk of its own, then ends the answer or drops it."""

    pieces: tuple[bytes, ...] = WHOLE
    status: str = "200 OK"
    drops: bool = False
    requests: list[bytes] = field(default_factory=list)
    url: str = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
            self.requests.append(head + await reader.readexactly(length))
            writer.write(f"HTTP/1.1 {self.status}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
            for piece in self.pieces:
                if piece == OPEN:
                    await asyncio.sleep(30)
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await writer.drain()
            if self.drops:
                break
            writer.write(b"0\r\n\r\n")
        writer.close()


@contextmanager
def serving(scripted: Scripted) -> Iterator[Scripted]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await scripted.answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    with served(handle) as scripted.url:
        yield scripted


def transport(way: str, url: str) -> Transport:
    return OpenAITransport(f"{url}/v1", "secret", "m") if way == "openai" else SageMakerTransport("some", "us-east-1", url)


def framed(way: str, pieces: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """The container's bytes as this way carries them."""
    return pieces if way == "openai" else tuple(piece if piece == OPEN else message(piece) for piece in pieces)


def asked(scripted: Scripted, way: str, times: int = 1, timeout_s: float = 10) -> list[RequestRecord]:
    """What became of requests to the server, one after the other."""

    async def ask() -> list[RequestRecord]:
        client = LoadClient(transport(way, scripted.url), timeout_s)
        try:
            return [await client.send(ASK, 1) for _ in range(times)]
        finally:
            client.close()

    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
        return asyncio.run(ask())
