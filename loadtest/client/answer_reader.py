"""One streamed answer, read event by event into the record of its request: when each piece of text came, how it ended, or why it failed."""

from __future__ import annotations

import json
import re
from json.scanner import make_scanner
from typing import Any

from loadtest.client.event_stream import EventStream
from loadtest.errors import StreamError
from loadtest.measurement.request_record import RequestRecord
from loadtest.transports import Transport

_FINISHED_WELL = {"stop", "length", "tool_calls", "function_call"}
_DONE = b"[DONE]"
_REASONS = ("detail", "message", "errors")
"""What servers call their reason where they send an object without an answer (FastAPI, AWS, gateways)."""
_SCAN: Any = make_scanner(json.JSONDecoder())  # type: ignore[arg-type]  # typeshed takes a scanner for the decoder
_WORD = re.compile(r"[A-Za-z0-9][\w.-]{0,59}")


class AnswerReader:
    """The events of one answer, noted in its record as they come."""

    __slots__ = ("_decoder", "_keep_text", "_result", "_stream", "ended_ns")

    def __init__(self, result: RequestRecord, transport: Transport, *, keep_text: bool) -> None:
        self._result = result
        self._decoder = transport.decoder()
        self._stream = EventStream()
        self._keep_text = keep_text
        self.ended_ns = 0

    def receive(self, piece: bytes, now_ns: int) -> None:
        """Take a piece of the body that arrived at `now_ns`."""
        self.ended_ns = now_ns
        for kind, data in self._stream.feed(self._decoder.feed(piece)):
            self._take(kind, data, now_ns)

    def conclude(self) -> None:
        """Judge the answer as a whole."""
        try:
            for kind, data in self._stream.end():
                self._take(kind, data, self.ended_ns)
        except ValueError as error:
            raise StreamError("truncated", f"the stream ended in the middle of an event: {error}") from error
        if not self._stream.events:
            self._refuse_what_is_no_stream()
        result = self._result
        pieces = len(result.token_ns)
        result.output_tokens = result.output_tokens or pieces
        if not result.finish_reason:
            result.error, result.message = "truncated", f"the stream ended after {pieces} tokens without a finish reason"
        elif result.finish_reason not in _FINISHED_WELL:
            result.error, result.message = "wrong_finish", f"the answer ended with {result.finish_reason!r}"
        elif not pieces:
            result.error, result.message = "empty", "the answer has no text"

    def _take(self, kind: bytes, data: bytes, now_ns: int) -> None:
        if not data or data == _DONE:
            return
        if kind == b"error":
            said = _parsed(data)
            raise _refusal("error_in_stream", said.get("error") or said if isinstance(said, dict) else said)
        event = _event(data.decode())
        choices = event.get("choices")
        for choice in choices or ():
            if delta := choice.get("delta"):
                self._take_delta(delta, now_ns)
            if reason := choice.get("finish_reason"):
                self._result.finish_reason = reason if isinstance(reason, str) else str(reason.get("type"))
        usage = event.get("usage")
        if usage:
            self._take_usage(usage)
        if event.get("error") or not (choices or usage):
            _raise_if_refused("error_in_stream", event)

    def _take_delta(self, delta: dict[str, Any], now_ns: int) -> None:
        """Note a piece of text: of the answer, or of the thought before it."""
        result = self._result
        if text := delta.get("content"):
            result.token_ns.append(now_ns)
            if self._keep_text:
                result.text += text if isinstance(text, str) else json.dumps(text)
        elif thought := delta.get("reasoning_content") or delta.get("reasoning"):
            if result.answer_at == len(result.token_ns):
                result.answer_at += 1
            result.token_ns.append(now_ns)
            if self._keep_text:
                result.thought += thought if isinstance(thought, str) else json.dumps(thought)
        elif delta.get("refusal") or _calls(delta):
            result.token_ns.append(now_ns)

    def _take_usage(self, usage: dict[str, Any]) -> None:
        result = self._result
        result.output_tokens, result.prompt_tokens = _count(usage, "completion_tokens"), _count(usage, "prompt_tokens")
        details = usage.get("prompt_tokens_details")
        if details and details.get("cached_tokens") is not None:
            result.cached_tokens = _count(details, "cached_tokens")

    def _refuse_what_is_no_stream(self) -> None:
        """Say what came instead of a stream. Of nothing at all there is nothing to say."""
        if not self._stream.stray:
            return
        body = _parsed(self._stream.stray)
        if isinstance(body, dict):
            if body.get("choices"):
                raise StreamError(
                    "not_streamed", "the server ignored `stream` and sent its answer whole: its tokens have no times"
                )
            _raise_if_refused("error_in_answer", body)
        raise StreamError("not_a_stream", f"the answer is no event stream: {self._stream.stray.decode(errors='replace').strip()}")


def _event(text: str) -> Any:
    """Return the JSON value that a text is: what `json.loads` does, without what it does around that for other callers, once a token."""
    try:
        event, end = _SCAN(text, 0)
    except StopIteration:  # it begins with something else: white space, or what is no JSON
        return json.loads(text)
    return event if end == len(text) else json.loads(text)


def _calls(delta: dict[str, Any]) -> bool:
    """Whether a delta has a piece of a call: a function's name, or some of its arguments."""
    functions = [call.get("function") or {} for call in delta.get("tool_calls") or ()]
    functions.append(delta.get("function_call") or {})
    return any(function.get("name") or function.get("arguments") for function in functions)


def _count(usage: dict[str, Any], name: str) -> int:
    value = usage.get(name) or 0
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"usage has {name}: {value!r}")
    return value


def _parsed(data: bytes) -> Any:
    """Return JSON, or the text that is none."""
    text = data.decode(errors="replace").strip()
    try:
        return json.loads(text)
    except ValueError:
        return text


def _raise_if_refused(kind: str, event: dict[str, Any]) -> None:
    """Raise the error that an event is: nested, as OpenAI's, or flat, as SGLang's. One that is null is none."""
    if error := event.get("error"):
        raise _refusal(kind, error)
    if "error" in (event.get("object"), event.get("type")) or any(event.get(name) for name in _REASONS):
        raise _refusal(kind, event)


def _refusal(kind: str, error: Any) -> StreamError:
    """Return the server's own reason: its word for it in the class, all that it said in the message."""
    if not isinstance(error, dict):
        return StreamError(kind, str(error))
    words = (str(error[name]) for name in ("type", "code") if error.get(name) and error[name] != "error")
    word = next((word for word in words if _WORD.fullmatch(word)), "")
    message = next((error[name] for name in _REASONS if isinstance(error.get(name), str) and error[name]), "")
    told = f"{message} {json.dumps(error)}" if message else json.dumps(error)
    return StreamError(f"{kind}:{word}" if word else kind, told)
