"""What a profile adds to the JSON of its requests: it arrives, or is refused before anything is sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from loadtest.generator.worker_pool import WorkerPool
from tests.support.put_on import READ, profile, put_on, refused
from tests.support.scripted_server import WAYS


@pytest.mark.parametrize("way", WAYS)
def test_what_a_profile_adds_is_in_every_request(way: str, tmp_path: Path) -> None:
    extra = {
        "temperature": 0.7,
        "tools": [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}],
        "chat_template_kwargs": {"enable_thinking": False},
        "lora_path": None,
        "stop": ["é", "\U0001f600"],
    }
    found = put_on(WorkerPool(1), tmp_path, profile("closed_loop", extra_body=extra, output_tokens=8), way)
    assert found
    for body in found:
        assert {key: body[key] for key in extra} == extra
        assert (body["max_tokens"], body["stream"], body["stream_options"]) == (8, True, {"include_usage": True})
        assert body["messages"][0]["role"] == "user"
        assert body.get("model") == ("m" if way == "openai" else None)


def test_it_is_a_part_of_the_load_and_nothing_is_where_there_is_none() -> None:
    assert profile("closed_loop", extra_body={"top_p": 0.9}).load["extra_body"] == {"top_p": 0.9}
    assert "extra_body" not in profile("closed_loop").load, "a report from before there was one is of the same load"
    assert profile("closed_loop", output_tokens={"mean": 40, "stddev": 8}).load != profile("closed_loop").load


YAML = """\
chat:
  kind: closed_loop
  concurrency: 4
  extra_body:
    temperature: 0
    tools: {TOOLS}
  duration_s: 3
  objectives: {ttft_p90_ms: {at_most: 2000}}
"""
TOOLS: dict[str, tuple[str, int, str]] = {
    "nan": ("[{a: .nan}]", 6, "chat.extra_body.tools.0.a: nan will not do: JSON has no such number"),
    "date": (
        "\n    - 2026-01-01",
        7,
        "chat.extra_body.tools.0: '2026-01-01' is a date, which JSON does not have; put it in quotes",
    ),
    "key": ("[{5: 1}]", 6, 'chat.extra_body.tools.0.5: the key 5 will not do: keys of JSON are texts; put it in quotes: "5"'),
    "deep": (f"{'[' * 30}{']' * 30}", 6, f"chat.extra_body.tools{'.0' * 24}: is nested deeper than 24 levels"),
    "large": (f"['{'x' * 65_536}']", 4, "chat.extra_body: has 65,569 bytes as JSON, more than 65,536"),
    "infinity": ("[-.inf]", 6, "chat.extra_body.tools.0: -inf will not do: JSON has no such number"),
    "second half": (r'["\udfff"]', 6, "chat.extra_body.tools.0: has half of a character (a lone surrogate)"),
    "surrogate": (r'["\ud800"]', 6, "chat.extra_body.tools.0: has half of a character (a lone surrogate)"),
    "model": ("[]\n    model: x", 7, "chat.extra_body.model: the load sets it itself; leave it out: --model names it"),
    "stream": (
        "[]\n    stream: false",
        7,
        "chat.extra_body.stream: the load sets it itself; leave it out: loads are always",
    ),
    "exact": (
        "[]\n    ignore_eos: true",
        7,
        "chat.extra_body.ignore_eos: the load sets it itself; leave it out: exact_output",
    ),
    "laughs": (
        "[&a [1, 1, 1, 1], &b [*a, *a, *a, *a], &c [*b, *b, *b, *b], &d [*c, *c, *c, *c], &e [*d, *d, *d, *d], &f [*e, *e, *e, *e], "
        "&g [*f, *f, *f, *f], &h [*g, *g, *g, *g], &i [*h, *h, *h, *h], &j [*i, *i, *i, *i], &k [*j, *j, *j, *j]]",
        4,
        "chat.extra_body: has more than 65,536 values",
    ),
    "itself": ("&a [*a]", 6, f"chat.extra_body.tools{'.0' * 24}: is nested deeper than 24 levels"),
}


@pytest.mark.parametrize("mistake", TOOLS)
def test_what_cannot_be_sent_is_one_line_with_its_place(mistake: str, tmp_path: Path) -> None:
    tools, line, says = TOOLS[mistake]
    said = refused(tmp_path, "p.yaml", YAML.replace("{TOOLS}", tools))
    assert said.startswith(f":{line}: {says}")


@pytest.mark.parametrize(
    "key",
    ["messages", "stream_options", "max_tokens", "max_completion_tokens", "min_tokens", "n", "model", "ignore_eos", "stream"],
)
def test_what_the_load_sets_itself_nobody_else_sets(key: str) -> None:
    with pytest.raises(ValidationError, match="the load sets it itself; leave it out: "):
        profile("ladder", extra_body={"temperature": 0, key: 1})


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=12,
    )
)
def test_what_is_taken_is_what_json_gives_back(value: Any) -> None:
    try:
        made = profile("ladder", extra_body={"x": value})
    except ValidationError:
        with pytest.raises(ValueError):
            json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
        return
    assert json.loads(json.dumps(made.extra_body, allow_nan=False)) == {"x": value}
    assert READ.validate_json(made.model_dump_json()) == made
