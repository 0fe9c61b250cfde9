"""Chat completions as SGLang answers them: the request checked, the answer written, streamed or whole.

Shapes and field names follow SGLang's `entrypoints/openai/protocol.py`: the first chunk of a stream carries the role
and leaves with the first token, every chunk has one token, the last has the finish reason, and a chunk without choices has the
usage when `stream_options.include_usage` asks for it. Any model name is served and comes back in the answer, "default"
where none was given. Errors are SGLang's flat `{"object": "error", ...}`.
"""

from __future__ import annotations

import dataclasses
import json
import time
import uuid
from typing import Any, Protocol

from container.engines.http import Exchange
from container.engines.metrics import Metrics

__all__ = ["ChatError", "ChatRequest", "Sink", "StreamSink", "Usage", "WholeSink", "error_body", "parse"]

_DEFAULT_MODEL = "default"


class ChatError(Exception):
    """A request that is answered with an error: an HTTP status, SGLang's type word, and a message."""

    def __init__(self, message: str, status: int = 400, kind: str = "BadRequestError") -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


def error_body(message: str, status: int, kind: str) -> dict[str, Any]:
    """Return an error as SGLang words it."""
    return {"object": "error", "message": message, "type": kind, "param": None, "code": status}


@dataclasses.dataclass(frozen=True, slots=True)
class ChatRequest:
    """A checked request. `body` is the whole JSON object; the rest is what both engines look at."""

    body: dict[str, Any]
    model: str
    stream: bool
    include_usage: bool
    max_tokens: int | None
    received_ns: int

    @property
    def text(self) -> str:
        """Every text in the messages, one after another, separated by newlines."""
        return "\n".join(_texts(self.body["messages"]))


@dataclasses.dataclass(frozen=True, slots=True)
class Usage:
    """Tokens counted by the engine."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return the `usage` object of an answer."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "completion_tokens": self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens} if self.cached_tokens else None,
        }


def parse(raw: bytes) -> ChatRequest:
    """Check a request body. Raises `ChatError` (status 400) that names the field at fault."""
    received_ns = time.monotonic_ns()
    try:
        body = json.loads(raw)
    except ValueError as error:
        raise ChatError(f"the request body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise ChatError("the request body must be a JSON object")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise ChatError("messages: a non-empty list is required")
    for number, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise ChatError(f"messages[{number}]: an object with a role is required")
        if not isinstance(message.get("content", ""), str | list | None):
            raise ChatError(f"messages[{number}].content: text or a list of parts is required")
    options = body.get("stream_options") or {}
    if not isinstance(options, dict):
        raise ChatError("stream_options: an object is required")
    _check_numbers(body)
    model = body.get("model", _DEFAULT_MODEL)
    if not isinstance(model, str):
        raise ChatError(f"model: text is required, not {model!r}")
    limit = body.get("max_completion_tokens", None)
    return ChatRequest(
        body=body,
        model=model,
        stream=bool(body.get("stream")),
        include_usage=bool(options.get("include_usage")),
        max_tokens=limit if limit is not None else body.get("max_tokens"),
        received_ns=received_ns,
    )


def _check_numbers(body: dict[str, Any]) -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        value = body.get(name)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise ChatError(f"{name}: a positive integer is required, not {value!r}")
    for name, low, high in (("temperature", 0.0, None), ("top_p", 0.0, 1.0)):
        value = body.get(name)
        if value is None:
            continue
        if not isinstance(value, int | float) or isinstance(value, bool) or value < low or (high and value > high):
            raise ChatError(f"{name}: a number from {low}{f' to {high}' if high else ' up'} is required, not {value!r}")
    if body.get("n") not in (None, 1):
        raise ChatError("n: these engines answer with one choice")


def _texts(messages: list[dict[str, Any]]) -> list[str]:
    found: list[str] = []
    for message in messages:
        content = message.get("content") or ""
        if isinstance(content, str):
            found.append(content)
        else:
            found += [part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)]
    return found


class Sink(Protocol):
    """Where an engine puts an answer. All methods are called on the event loop's thread, in order."""

    def token(self, text: str, stamp: str = "") -> None:
        """Send one token of content. `stamp` is JSON text (`"key": value`) added to the chunk, if it is streamed."""

    def delta(self, fields: dict[str, Any]) -> None:
        """Send a piece of the message that is not plain content (a tool call, reasoning)."""

    def finish(self, reason: str, usage: Usage) -> None:
        """Complete the answer."""

    def message(self, message: dict[str, Any], reason: str, usage: Usage) -> None:
        """Send the whole message at once; only where the request is not streamed."""

    def fail(self, error: ChatError) -> None:
        """End the request with an error; in a stream that has begun, with an error chunk."""

    def abort(self) -> None:
        """Drop the connection in the middle."""


class _BaseSink:
    """What both sinks share: identity, timing and the record in the metrics."""

    def __init__(self, exchange: Exchange, request: ChatRequest, metrics: Metrics) -> None:
        self.exchange = exchange
        self.request = request
        self.metrics = metrics
        self.id = f"chatcmpl-{uuid.uuid4().hex}"
        self.created = int(time.time())
        self.first_token_ns = 0

    def _record(self, usage: Usage) -> None:
        now = time.monotonic_ns()
        started = self.request.received_ns
        first = self.first_token_ns or now
        self.metrics.finished(usage.prompt_tokens, usage.completion_tokens, (first - started) / 1e9, (now - started) / 1e9)

    def abort(self) -> None:
        """Drop the connection."""
        self.metrics.aborted += 1
        self.exchange.abort()


class WholeSink(_BaseSink):
    """Collects an answer and sends it as one JSON object."""

    def __init__(self, exchange: Exchange, request: ChatRequest, metrics: Metrics) -> None:
        super().__init__(exchange, request, metrics)
        self._parts: list[str] = []

    def token(self, text: str, stamp: str = "") -> None:
        """Keep one token."""
        if not self.first_token_ns:
            self.first_token_ns = time.monotonic_ns()
        self._parts.append(text)

    def delta(self, fields: dict[str, Any]) -> None:
        """Refuse: an engine that has more than content gives the whole `message`."""
        raise NotImplementedError("a whole answer is given by message()")

    def finish(self, reason: str, usage: Usage) -> None:
        """Send what was collected."""
        self.message({"role": "assistant", "content": "".join(self._parts)}, reason, usage)

    def message(self, message: dict[str, Any], reason: str, usage: Usage) -> None:
        """Send `message`."""
        self._record(usage)
        whole = {"role": "assistant", "content": None, "reasoning_content": None, "tool_calls": None, **message}
        choice = {"index": 0, "message": whole, "logprobs": None, "finish_reason": reason, "matched_stop": None}
        self.exchange.respond_json(
            200,
            {
                "id": self.id,
                "object": "chat.completion",
                "created": self.created,
                "model": self.request.model,
                "choices": [choice],
                "usage": usage.as_json(),
            },
        )

    def fail(self, error: ChatError) -> None:
        """Send the error."""
        self.exchange.respond_json(error.status, error_body(str(error), error.status, error.kind))


class StreamSink(_BaseSink):
    """Sends server-sent events, one a token, each as soon as it is given."""

    def __init__(self, exchange: Exchange, request: ChatRequest, metrics: Metrics) -> None:
        super().__init__(exchange, request, metrics)
        name = json.dumps(request.model)
        self._head = f'data: {{"id":"{self.id}","object":"chat.completion.chunk","created":{self.created},"model":{name},'
        self._token_head = self._head + '"choices":[{"index":0,"delta":{"content":'
        self._started = False

    def token(self, text: str, stamp: str = "") -> None:
        """Send one token."""
        tail = '},"logprobs":null,"finish_reason":null,"matched_stop":null}],"usage":null'
        extra = f",{stamp}" if stamp else ""
        self._send(f"{self._token_head}{json.dumps(text, ensure_ascii=False)}{tail}{extra}}}\n\n")

    def delta(self, fields: dict[str, Any]) -> None:
        """Send another piece of the message."""
        self._send(self._chunk(fields))

    def finish(self, reason: str, usage: Usage) -> None:
        """Send the finish reason, the usage if it was asked for, and the end of the stream."""
        events = self._chunk({}, reason)
        if self.request.include_usage:
            events += f'{self._head}"choices":[],"usage":{json.dumps(usage.as_json())}}}\n\n'
        self._send(events, end=True)
        self._record(usage)

    def message(self, message: dict[str, Any], reason: str, usage: Usage) -> None:
        """Refuse: a stream is given token by token."""
        raise NotImplementedError("a stream is given by token() and delta()")

    def fail(self, error: ChatError) -> None:
        """Send the error: as an answer of its own if nothing was sent yet, else as the last event."""
        body = error_body(str(error), error.status, error.kind)
        if not self._started:
            self.exchange.respond_json(error.status, body)
            return
        self.exchange.end(f"data: {json.dumps({'error': body})}\n\ndata: [DONE]\n\n".encode())

    def _chunk(self, delta: dict[str, Any], reason: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason, "matched_stop": None}
        return f'{self._head}"choices":[{json.dumps(choice, ensure_ascii=False)}],"usage":null}}\n\n'

    def _send(self, events: str, *, end: bool = False) -> None:
        if self.exchange.disconnected:
            return
        if not self._started:
            self._started = True
            self.first_token_ns = time.monotonic_ns()
            self.exchange.start_stream()
            events = self._chunk({"role": "assistant", "content": ""}) + events
        # Lone surrogates stand for bytes that are not UTF-8: an engine with that fault sends them as they are.
        data = events.encode("utf-8", "surrogateescape")
        if end:
            self.exchange.end(data + b"data: [DONE]\n\n")
        else:
            self.exchange.write(data)
