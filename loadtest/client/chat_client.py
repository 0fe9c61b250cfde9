"""One streamed chat completion: sent, read token by token, and turned into a record."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from loadtest.client.answer_reader import AnswerReader
from loadtest.client.connection_pool import ConnectionPool
from loadtest.client.http_client import HttpResponse
from loadtest.errors import RequestError
from loadtest.measurement.request_record import RequestRecord
from loadtest.transports import Transport

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
    fresh_tokens: int = 0
    """How many of these no other prompt is meant to have begun with."""
    in_any_order: bool = False
    """Whether that depends on which of several the server takes first."""
    exact: bool = False
    """Whether the answer must have `max_tokens` tokens (SGLang's ignore_eos)."""
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    """What else the request's JSON has."""
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
        result = RequestRecord(
            intended_ns,
            asked_tokens=request.max_tokens,
            planned_tokens=request.planned_tokens,
            fresh_tokens=request.fresh_tokens,
            in_any_order=request.in_any_order,
        )
        reader = AnswerReader(result, self._transport, keep_text=request.greedy or request.keep_text)
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
            **request.extra_body,
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
