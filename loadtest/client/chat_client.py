"""One streamed chat completion: sent, read token by token, and turned into a result."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from loadtest.client.connection_pool import ConnectionPool
from loadtest.client.http_client import HttpResponse
from loadtest.errors import RequestError, StreamError
from loadtest.measurement.request_record import RequestRecord
from loadtest.transports import Transport

_FINISHED_WELL = {"stop", "length", "tool_calls"}
_MESSAGE_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What one request asks."""

    messages: tuple[dict[str, str], ...]
    """OpenAI chat messages."""
    max_tokens: int
    """The longest answer. Tokens."""
    planned_tokens: int = 0
    """How many tokens the messages were made of; 0 where that is not known."""
    exact: bool = False
    """Whether the answer must have `max_tokens` tokens (SGLang's ignore_eos)."""
    greedy: bool = False
    """Temperature 0, and the answer's text is kept."""
    keep_text: bool = False
    """The answer's text is kept."""


class LoadClient:
    """Sends requests to one endpoint; hundreds at a time on one event loop."""

    def __init__(self, transport: Transport, timeout_s: float) -> None:
        """`timeout_s` is the longest time of one request. Seconds."""
        self._transport = transport
        self._pool = ConnectionPool(transport.server, timeout_s)

    async def send(self, request: ChatRequest, intended_ns: int) -> RequestRecord:
        """Send a request, read the stream to its end, and say how it went. Never raises: a failure is a result."""
        result = RequestRecord(intended_ns, planned_tokens=request.planned_tokens)
        reader = _Reader(result, self._transport, keep_text=request.greedy or request.keep_text)
        body = self._body(request)
        answer = HttpResponse(reader.receive)

        def sent() -> None:
            result.sent_ns = time.monotonic_ns()

        try:
            await self._pool.post(self._transport.request_head(body) + body, answer, sent)
            if answer.status != 200:
                result.error = f"http_{answer.status}"
                result.message = answer.body.decode(errors="replace") or f"HTTP status {answer.status}, without a body"
            else:
                reader.conclude()
        except RequestError as error:
            result.error, result.message = error.kind, str(error)
        except UnicodeDecodeError as error:
            result.error, result.message = "invalid_utf8", str(error)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            result.error, result.message = "malformed", f"{type(error).__name__}: {error}"
        result.message = result.message[:_MESSAGE_CHARACTERS]
        result.ended_ns = reader.ended_ns if result.is_ok else time.monotonic_ns()
        result.sent_ns = result.sent_ns or result.ended_ns
        return result

    def close(self) -> None:
        """Drop the connections."""
        self._pool.close()

    def _body(self, request: ChatRequest) -> bytes:
        body: dict[str, Any] = {
            **self._transport.body_fields,
            "messages": request.messages,
            "max_tokens": request.max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if request.greedy:
            body["temperature"] = 0
        if request.exact:
            body["ignore_eos"] = True
        return json.dumps(body).encode()


class _Reader:
    """The server-sent events of one answer, noted in its result as they come."""

    __slots__ = ("_decoder", "_keep_text", "_rest", "_result", "ended_ns")

    def __init__(self, result: RequestRecord, transport: Transport, *, keep_text: bool) -> None:
        self._result = result
        self._decoder = transport.decoder()
        self._keep_text = keep_text
        self._rest = b""
        self.ended_ns = 0

    def receive(self, piece: bytes, now_ns: int) -> None:
        """Take a piece of the body that arrived at `now_ns`."""
        data = self._decoder.feed(piece)
        self.ended_ns = now_ns
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data:") and not line.startswith(b"data: [DONE]"):
                self._take(json.loads(line[5:]), now_ns)

    def conclude(self) -> None:
        """Judge the answer as a whole."""
        result = self._result
        pieces = len(result.token_ns)
        result.output_tokens = result.output_tokens or pieces
        if not result.finish_reason:
            result.error, result.message = "truncated", f"the stream ended after {pieces} tokens without a finish reason"
        elif result.finish_reason not in _FINISHED_WELL:
            result.error, result.message = "wrong_finish", f"the answer ended with {result.finish_reason!r}"
        elif not pieces:
            result.error, result.message = "empty", "the answer has no text"

    def _take(self, event: dict[str, Any], now_ns: int) -> None:
        result = self._result
        for choice in event.get("choices", ()):
            delta = choice.get("delta") or {}
            text = delta.get("content") or delta.get("reasoning_content")
            if text:
                result.token_ns.append(now_ns)
                if self._keep_text:
                    result.text += text
            if reason := choice.get("finish_reason"):
                result.finish_reason = reason if isinstance(reason, str) else str(reason.get("type"))
        if usage := event.get("usage"):
            result.output_tokens, result.prompt_tokens = usage.get("completion_tokens", 0), usage.get("prompt_tokens", 0)
        elif "error" in event:
            raise StreamError("error_in_stream", json.dumps(event["error"]))
