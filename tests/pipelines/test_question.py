"""The answer of an endpoint, put together from parts that are cut anywhere."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from pipelines.commands.views.ask import _contents, _lines


def events(pieces: list[str]) -> bytes:
    chunks = [json.dumps({"choices": [{"delta": {"content": piece}}]}, ensure_ascii=False) for piece in pieces]
    return "".join(f"data: {chunk}\n\n" for chunk in [*chunks, "[DONE]"]).encode()


@given(st.lists(st.text(max_size=8), max_size=6), st.lists(st.integers(min_value=1, max_value=40), min_size=1, max_size=30))
def test_the_answer_is_the_same_wherever_the_stream_is_cut(pieces: list[str], sizes: list[int]) -> None:
    data = events(pieces)
    parts: list[bytes] = []
    position = 0
    while position < len(data):
        size = sizes[len(parts) % len(sizes)]
        parts.append(data[position : position + size])
        position += size
    assert "".join(_contents(_lines(iter(parts)))) == "".join(pieces)
