"""The table of SGLang's flags, and its export from a parser."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from container import export_flags
from container.engines import arguments
from container.errors import FlagTableError
from container.flags import DEFAULT_PATH, FlagTable


def test_the_table_knows_the_flags_people_use() -> None:
    table = FlagTable.load()
    assert len(table.flags) > 400
    for spelling in ("TP_SIZE", "--tensor-parallel-size", "chunked-prefill-size", "MEM_FRACTION_STATIC", "reasoning_parser"):
        assert table.find(spelling) is not None, spelling
    found = table.find("tensor-parallel-size")
    assert found is not None
    assert (found[0].name, found[1], found[0].type) == ("--tp-size", "--tensor-parallel-size", "int")


def test_the_file_is_stable() -> None:
    text = DEFAULT_PATH.read_text()
    assert export_flags.render(json.loads(text)) == text
    names = [flag.name for flag in FlagTable.load().flags]
    assert names == sorted(names)
    assert len(text) < 64 * 1024


def test_nearest() -> None:
    table = FlagTable.load()
    assert table.nearest("tp")[0] == "--tp-size"
    assert "--mem-fraction-static" in table.nearest("MEM_FRACTON_STATIC")
    assert table.nearest("zzzzzzzz") == []


def test_export_says_what_the_parser_takes(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--zeta", "--z-alias", type=int, required=True)
    parser.add_argument("--alpha", action="store_true")
    parser.add_argument("--beta", action=argparse.BooleanOptionalAction)
    parser.add_argument("--many", nargs="+", type=float)
    parser.add_argument("--pick", choices=["b", "a"])
    parser.add_argument("--config", type=json.loads)
    path = tmp_path / "flags.json"
    path.write_text(export_flags.render(export_flags.document(parser, "9.9")))
    table = FlagTable.load(path)
    assert table.version == "9.9"
    described = {f.name: (f.spellings, f.nargs, f.type, f.choices, f.negative, f.required) for f in table.flags}
    assert list(described) == ["--alpha", "--beta", "--config", "--many", "--pick", "--zeta"]
    assert described["--alpha"] == (("--alpha",), 0, "bool", (), (), False)
    assert described["--beta"] == (("--beta",), 0, "bool", (), ("--no-beta",), False)
    assert described["--config"][1:3] == (1, "json")
    assert described["--many"][1:3] == ("+", "float")
    assert described["--pick"][3] == ("a", "b")
    assert described["--zeta"] == (("--zeta", "--z-alias"), 1, "int", (), (), True)


@pytest.mark.parametrize("content", ["", "[]", '{"sglang": "1", "flags": [{"nargs": 1}]}'])
def test_a_broken_table_says_how_to_make_it(tmp_path: Path, content: str) -> None:
    path = tmp_path / "flags.json"
    path.write_text(content)
    with pytest.raises(FlagTableError, match=r"export_flags"):
        FlagTable.load(path)


def test_the_engines_parser_takes_every_flag() -> None:
    table = FlagTable.load()
    samples = {"str": "x", "int": "3", "float": "0.5", "json": "{}", "json-list": "[]", "size": "2Ki"}
    words: list[str] = []
    for flag in table.flags:
        value = str(flag.choices[0]) if flag.choices else samples.get(flag.type, "")
        words += [flag.spellings[-1]] if flag.is_switch else [flag.spellings[-1], value]
    options = arguments.parser("engine", "", table).parse_args(words)
    assert options.tp_size == 3
    assert options.context_length == 2048
    assert options.trust_remote_code is True


@pytest.mark.parametrize(("text", "expected"), [("4096", 4096), ("32k", 32000), ("25.6k", 25600), ("1Mi", 1048576)])
def test_sizes(text: str, expected: int) -> None:
    assert arguments.size(text) == expected


@pytest.mark.parametrize("words", [["--no-such-flag"], ["--tp-size", "x"], ["--tool-call-parser", "none"], []])
def test_the_engines_parser_refuses_as_sglang_does(words: list[str]) -> None:
    given = words if not words else ["--model-path", "m", *words]
    with pytest.raises(SystemExit) as stop:
        arguments.parser("engine", "", FlagTable.load()).parse_args(given)
    assert stop.value.code == 2
