"""What the server sends, encoded before the load is on: only a stamp, and the checksum over it, are made while it is.

Chunks look as SGLang's do (`sglang.srt.entrypoints.openai.serving_chat`): a first one with the role and no text, one a token, one with the
finish reason, one with the usage, `[DONE]`. Messages of the event stream look as SageMaker's do: a PayloadPart each.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from typing import Any, Protocol

STAMP_DIGITS = 19
"""Of a moment of the monotonic clock in nanoseconds, as a token's text: with a space before it."""
_MARK = "0" * STAMP_DIGITS


class Frames(Protocol):
    """One way to put chunks on the wire."""

    content_type: bytes

    def beginning(self) -> bytes:
        """Before the first token."""

    def token(self, now_ns: int) -> bytes:
        """Return a token whose text is this moment."""

    def end(self, tokens: int) -> bytes:
        """After the last token, up to the end of the body."""


def _event(choices: list[dict[str, Any]], usage: dict[str, int] | None = None) -> bytes:
    chunk = {
        "id": "4f3c1f0e8a5b4d0d9f0e6f6f2b1a7c55",
        "object": "chat.completion.chunk",
        "created": 1764000000,
        "model": "known-truth",
        "choices": choices,
        "usage": usage,
    }
    return b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"


def _choice(delta: dict[str, Any], finish_reason: str | None = None) -> list[dict[str, Any]]:
    full = {"role": None, "content": None, "reasoning_content": None, "tool_calls": None, **delta}
    return [{"index": 0, "delta": full, "logprobs": None, "finish_reason": finish_reason, "matched_stop": None}]


_BEGINNING = _event(_choice({"role": "assistant", "content": ""}))
_TOKEN = _event(_choice({"content": f" {_MARK}"}))
_FINISH = _event(_choice({}, "length"))
_DONE = b"data: [DONE]\n\n"
_PROMPT_TOKENS = 32


def _usage(tokens: int) -> bytes:
    counted = {"prompt_tokens": _PROMPT_TOKENS, "completion_tokens": tokens, "total_tokens": _PROMPT_TOKENS + tokens}
    return _event([], counted)


class ServerSentEventFrames:
    """OpenAI's: each event a chunk of the HTTP body."""

    content_type = b"text/event-stream"

    def __init__(self) -> None:
        head, tail = _TOKEN.split(_MARK.encode())
        self._token = f"{len(_TOKEN):x}\r\n".encode() + head + b"%019d" + tail + b"\r\n"

    def beginning(self) -> bytes:
        """Return the chunk with the role."""
        return _http_chunk(_BEGINNING)

    def token(self, now_ns: int) -> bytes:
        """One chunk."""
        return self._token % now_ns

    def end(self, tokens: int) -> bytes:
        """Finish reason, usage, [DONE], and the last HTTP chunk."""
        return b"".join(map(_http_chunk, (_FINISH, _usage(tokens), _DONE))) + b"0\r\n\r\n"


class EventStreamFrames:
    """InvokeEndpointWithResponseStream's: each event the payload of one message, each message a chunk of the HTTP body."""

    content_type = b"application/vnd.amazon.eventstream"

    def __init__(self) -> None:
        whole = message(_TOKEN)
        place = whole.index(_MARK.encode())
        self._head, self._tail = whole[:place], whole[place + STAMP_DIGITS : -4]
        self._checksum = zlib.crc32(self._head)
        self._size = f"{len(whole):x}\r\n".encode()
        self._pack = struct.Struct("!I").pack

    def beginning(self) -> bytes:
        """Return the chunk with the role."""
        return _http_chunk(message(_BEGINNING))

    def token(self, now_ns: int) -> bytes:
        """One message."""
        rest = b"%019d" % now_ns + self._tail
        return b"%b%b%b%b\r\n" % (self._size, self._head, rest, self._pack(zlib.crc32(rest, self._checksum)))

    def end(self, tokens: int) -> bytes:
        """Finish reason, usage, [DONE], and the last HTTP chunk."""
        return b"".join(_http_chunk(message(event)) for event in (_FINISH, _usage(tokens), _DONE)) + b"0\r\n\r\n"


def _http_chunk(body: bytes) -> bytes:
    return f"{len(body):x}\r\n".encode() + body + b"\r\n"


_PAYLOAD_PART = {":event-type": "PayloadPart", ":content-type": "application/octet-stream", ":message-type": "event"}


def message(payload: bytes, headers: Mapping[str, str] = _PAYLOAD_PART) -> bytes:
    """Encode a message in Amazon's event stream encoding (the Smithy specification "Amazon Event Stream"); a PayloadPart by default."""
    encoded = b""
    for name, value in headers.items():
        encoded += bytes([len(name)]) + name.encode() + b"\x07" + struct.pack("!H", len(value)) + value.encode()
    prelude = struct.pack("!II", 16 + len(encoded) + len(payload), len(encoded))
    body = prelude + struct.pack("!I", zlib.crc32(prelude)) + encoded + payload
    return body + struct.pack("!I", zlib.crc32(body))
