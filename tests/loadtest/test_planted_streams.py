"""Streams as servers write them, well or badly, planted one by one: what the client makes of each is known beforehand.

How events are told apart is the HTML standard's ("Server-sent events", WHATWG, parsing and interpreting an event stream; the cases are those of
its web-platform-tests below `eventsource/format-*`), not this client's opinion. Chunks are OpenAI's, SGLang's, vLLM's and OpenRouter's.
"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.client.event_stream import EventStream
from loadtest.errors import StreamError
from tests.support.scripted_server import DONE, WAYS, WORDS, Scripted, asked, chunk, framed, serving, usage


def events(*pieces: bytes) -> list[tuple[str, str]]:
    stream = EventStream()
    found = [event for piece in pieces for event in stream.feed(piece)] + stream.end()
    return [(kind.decode(), data.decode()) for kind, data in found if data]


STANDARD: dict[str, tuple[bytes, list[tuple[str, str]]]] = {
    "a space after the colon is not data, a second one is": (
        b"data:a\n\ndata: b\n\ndata:  c\n\n",
        [("", "a"), ("", "b"), ("", " c")],
    ),
    "several lines are one event": (b"data: {\ndata: }\n\n", [("", "{\n}")]),
    "a line without a colon is a field without a value": (b"data\ndata\ndata: x\n\n", [("", "\n\nx")]),
    "CRLF": (b"data: a\r\n\r\ndata: b\r\n\r\n", [("", "a"), ("", "b")]),
    "CR alone": (b"data: a\r\rdata: b\r\r", [("", "a"), ("", "b")]),
    "all three ends of a line": (b"data: a\r\n\ndata: b\n\rdata: c\r\r\n", [("", "a"), ("", "b"), ("", "c")]),
    "a BOM": (b"\xef\xbb\xbfdata: a\n\n", [("", "a")]),
    "a second BOM is a field's name": (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\ndata: b\n\n", [("", "b")]),
    "a BOM in the middle": (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [("", "a")]),
    "comments": (b": hello\n\n:\n: x\ndata: a\n: y\n\n", [("", "a")]),
    "other fields": (b"id: 1\nretry: 3\ndata: a\nnothing: 5\n\n", [("", "a")]),
    "an event's type": (b"event: error\ndata: a\n\ndata: b\n\n", [("error", "a"), ("", "b")]),
    "fields are told apart by case": (b"Data: a\nDATA: b\ndata: c\n\n", [("", "c")]),
    "a space before the name is part of it": (b" data: a\ndata: b\n\n", [("", "b")]),
    "more empty lines than one": (b"\n\n\ndata: a\n\n\n\n\ndata: b\n\n", [("", "a"), ("", "b")]),
    "nothing": (b"", []),
    "no data": (b"data:\n\nid: 3\n\nevent: x\n\n", []),
    "the end of the answer ends an event": (b"data: a\n\ndata: b", [("", "a"), ("", "b")]),
    "so it does after one line's end": (b"data: a\n\nevent: error\ndata: b\n", [("", "a"), ("error", "b")]),
}


@pytest.mark.parametrize("what", STANDARD)
def test_events_are_the_standards_wherever_the_network_cuts_them(what: str) -> None:
    stream, wanted = STANDARD[what]
    for size in (1, 2, 3, len(stream) + 1):
        assert events(*(stream[at : at + size] for at in range(0, len(stream), size))) == wanted, size


@given(
    st.lists(
        st.sampled_from([b"data", b"da", b":", b": ", b"\r", b"\n", b"\r\n", b"\xef\xbb\xbf", b"x", b"event: e"]), max_size=30
    ),
    st.data(),
)
def test_events_do_not_depend_on_where_they_are_cut(parts: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    assert events(*(stream[a:b] for a, b in pairwise([0, *cuts, len(stream)]))) == events(stream)


def test_an_event_without_an_end_is_not_kept_for_ever() -> None:
    stream = EventStream()
    with pytest.raises(StreamError, match="an event of more than"):
        for _ in range(100):
            stream.feed(b"data: " + b"x" * 100_000)


def think(**delta: Any) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}).encode() + b"\n\n"


def call(**function: Any) -> bytes:
    return think(tool_calls=[{"index": 0, "id": "call_1", "type": "function", "function": function}])


STOP = (chunk(finish="stop"), usage(4), DONE)
SGLANG_THOUGHT = think(content=None, reasoning_content=" so")
WELL: dict[str, tuple[tuple[bytes, ...], tuple[int, int, str, str]]] = {
    # what is sent → pieces of text, of these before the answer, thought, answer
    "plain": ((*WORDS, *STOP), (3, 0, "", " one two three")),
    "SGLang's and DeepSeek's thought": ((SGLANG_THOUGHT, SGLANG_THOUGHT, WORDS[1], *STOP), (3, 2, " so so", " one")),
    "vLLM's and OpenRouter's thought": ((think(reasoning=" hm"), WORDS[1], WORDS[2], *STOP), (3, 1, " hm", " one two")),
    "a thought beside empty content": ((think(content="", reasoning_content=" so"), WORDS[1], *STOP), (2, 1, " so", " one")),
    "a thought and an answer in one piece": ((think(content=" one", reasoning_content=" so"), *STOP), (1, 0, "", " one")),
    "a thought behind the answer's beginning": ((WORDS[1], SGLANG_THOUGHT, WORDS[2], *STOP), (3, 0, " so", " one two")),
    "a thought that the limit ends": (
        (SGLANG_THOUGHT, SGLANG_THOUGHT, chunk(finish="length"), usage(2), DONE),
        (2, 2, " so so", ""),
    ),
    "a tool call": (
        (
            call(name="weather", arguments=""),
            call(arguments='{"city":'),
            call(arguments='"Paris"}'),
            call(arguments=""),
            chunk(finish="tool_calls"),
            DONE,
        ),
        (3, 0, "", ""),
    ),
    "a tool call behind a thought": (
        (SGLANG_THOUGHT, call(name="weather", arguments="{}"), chunk(finish="tool_calls"), DONE),
        (2, 1, " so", ""),
    ),
    "a function call, as it once was": (
        (think(function_call={"name": "weather"}), chunk(finish="function_call"), DONE),
        (1, 0, "", ""),
    ),
    "a refusal": ((think(refusal="No."), *STOP), (1, 0, "", "")),
    "an error that is none": ((chunk(" one", error=None), chunk(finish="stop", error=None), usage(1), DONE), (1, 0, "", " one")),
    "no space": (tuple(piece.replace(b"data: ", b"data:") for piece in (*WORDS, *STOP)), (3, 0, "", " one two three")),
    "CRLF": (tuple(piece.replace(b"\n", b"\r\n") for piece in (*WORDS, *STOP)), (3, 0, "", " one two three")),
    "no empty line at the end": ((*WORDS, chunk(finish="stop").rstrip(b"\n")), (3, 0, "", " one two three")),
    "an event in two lines": (
        (b'data: {"choices": [{"delta":\ndata: {"content": " one"}}]}\n\n', *STOP),
        (1, 0, "", " one"),
    ),
    "a BOM and a comment": ((b"\xef\xbb\xbf: OPENROUTER PROCESSING\n\n", *WORDS, *STOP), (3, 0, "", " one two three")),
    "Azure's first event": (
        (b'data: {"choices": [], "prompt_filter_results": []}\n\n', *WORDS, *STOP),
        (3, 0, "", " one two three"),
    ),
    "usage of nulls": ((*WORDS, chunk(finish="stop"), chunk(usage={"prompt_tokens": None}), DONE), (3, 0, "", " one two three")),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("what", WELL)
def test_a_good_answer_is_one_however_it_is_written(what: str, way: str) -> None:
    pieces, wanted = WELL[what]
    with serving(Scripted(framed(way, pieces))) as server:
        [result] = asked(server, way)
    assert result.error == "", result.message
    assert (len(result.token_ns), result.answer_at, result.thought, result.text) == wanted
    first = result.token_ns[0]
    assert result.ttft_ms == (first - result.intended_ns) / 1e6
    if wanted[1] == wanted[0]:
        assert result.ttfo_ms == float("inf"), "no token of an answer ever came"
    else:
        assert result.ttfo_ms == (result.token_ns[wanted[1]] - result.intended_ns) / 1e6


OPENAI = {"error": {"message": "CUDA out of memory", "type": "InternalServerError", "code": 500}}
FLAT = {"object": "error", "message": "the context is too long", "type": "BadRequestError", "param": None, "code": 400}
WHOLE_ANSWER = {"object": "chat.completion", "choices": [{"message": {"content": "hello"}, "finish_reason": "stop"}]}


def told(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


BADLY: dict[str, tuple[tuple[bytes, ...], str, str]] = {
    "OpenAI's error in a stream": ((WORDS[1], told(OPENAI)), "error_in_stream:InternalServerError", "CUDA out of memory"),
    "SGLang's flat error in a stream": (
        (WORDS[1], told(FLAT), DONE),
        "error_in_stream:BadRequestError",
        "the context is too long",
    ),
    "an error that is a text": ((WORDS[1], told({"error": "overloaded"})), "error_in_stream", "overloaded"),
    "an error beside choices": (
        (WORDS[1], chunk(finish="error", error={"code": 502, "message": "upstream"})),
        "error_in_stream:502",
        "upstream",
    ),
    "an error behind the usage": (
        (*WORDS, chunk(usage={"completion_tokens": 3}, error={"message": "late"})),
        "error_in_stream",
        "late",
    ),
    "an event of the type error": (
        (WORDS[1], b"event: error\ndata: the engine has died\n\n"),
        "error_in_stream",
        "the engine has died",
    ),
    "Anthropic's error": (
        (b'event: error\ndata: {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}\n\n',),
        "error_in_stream:overloaded_error",
        "Overloaded",
    ),
    "status 200 with OpenAI's error": (
        (json.dumps(OPENAI).encode(),),
        "error_in_answer:InternalServerError",
        "CUDA out of memory",
    ),
    "status 200 with a flat error": (
        (json.dumps(FLAT, indent=2).encode(),),
        "error_in_answer:BadRequestError",
        "the context is too long",
    ),
    "status 200 with FastAPI's": ((b'{"detail": "Not authenticated"}',), "error_in_answer", "Not authenticated"),
    "`stream` is ignored": ((json.dumps(WHOLE_ANSWER).encode(),), "not_streamed", "ignored `stream`"),
    "a page": ((b"<html>\n<title>Sign in</title>\n",), "not_a_stream", "Sign in"),
    "nothing at all": ((b"\n",), "truncated", "after 0 tokens"),
    "comments alone": ((b": ping\n\n: ping\n\n",), "truncated", "after 0 tokens"),
    "cut in an event": ((*WORDS, b'data: {"choices": [{"de'), "truncated", "in the middle of an event"),
    "a call without anything": ((call(arguments=""), chunk(finish="tool_calls"), DONE), "empty", "no text"),
    "a usage that is no number": ((*WORDS, chunk(usage={"completion_tokens": "many"})), "malformed", "completion_tokens: 'many'"),
    "an event that is no object": ((b"data: 5\n\n",), "malformed", "int"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("what", BADLY)
def test_a_bad_answer_says_why_in_the_servers_own_words(what: str, way: str) -> None:
    pieces, kind, says = BADLY[what]
    with serving(Scripted(framed(way, pieces))) as server:
        [result] = asked(server, way)
    assert result.error == kind, result.message
    assert says in result.message
