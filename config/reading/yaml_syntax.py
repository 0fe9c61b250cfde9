"""What is wrong with a file that is no YAML, in words: PyYAML's own speak of tokens and block mappings."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from config.errors import ConfigError, Problem

_CONFLICT = re.compile(r"^(<{7}|>{7}|\|{7}) |^={7}$", re.MULTILINE)
_WORDS: tuple[tuple[str, str], ...] = (
    ("cannot start any token: tab", "a tab stands where the line is indented; indent with spaces"),
    (
        "mapping values are not allowed",
        "a second `: ` on this line, a line indented deeper than the one above, or one above without a space behind its colon; line it up, "
        "or put the value in quotes",
    ),
    ("expected <block end>", "this line is indented otherwise than its neighbours; line it up with the keys of the same section"),
    (
        "did not find expected key",
        "this line is indented otherwise than its neighbours; line it up with the keys of the same section",
    ),
    (
        "could not find expected ':'",
        "a key without its value, here or on the line before: write `key: value`, with a space behind the colon",
    ),
    ("unexpected end of stream", "a quotation mark is opened here and never closed; close it"),
    ("expected ',' or ']'", "a list in [ ] is opened here and not closed, or lacks a comma; close it with ]"),
    ("expected ',' or '}'", "keys in { } are opened here and not closed, or lack a comma; close them with }"),
    (
        "alphabetic or numeric character",
        '`*` and `&` have a meaning of their own in YAML; put the text in quotes, as in "*.json"',
    ),
    (
        "found undefined alias",
        '`*` stands for something named with `&` before, and nothing is; put the text in quotes, as in "*.json"',
    ),
    ("could not determine a constructor", "`!` has a meaning of its own in YAML; put the text in quotes"),
    ("cannot start any token", "this character has a meaning of its own in YAML; put the text in quotes"),
    ("<document start>", "this line is indented otherwise than the first key; line them up"),
    ("sequence entries are not allowed", "`-` begins an item of a list, which stands on a line of its own below its key"),
    ("found another document", "`---` begins a second document here; a file is one"),
    ("unhashable key", "a placeholder in { } was not filled in, or a key is no text; write the value itself"),
    ("escape character", "a backslash in double quotes begins an escape; put the text in single quotes"),
    ("found duplicate anchor", "the same `&name` stands twice; give them two names"),
    ("expected the node content", "a value is missing, or `-`, `,` or `}` stands where one belongs; write the value"),
    ("expected a mapping", "`<<:` takes keys with values; write the keys themselves"),
)
_AT_CONTEXT = ("unexpected end of stream", "expected ',' or")
"""Mistakes that are where something begins, not where its end is missed."""


def refuse_conflict_markers(path: Path, text: str) -> None:
    """Raise ConfigError at the first line that Git left of a conflict."""
    found = _CONFLICT.search(text)
    if found:
        message = "a conflict that Git left stands here; keep one of its two sides and delete the lines with <<<<<<<, ======= and >>>>>>>"
        raise ConfigError([Problem(path, message, text.count("\n", 0, found.start()) + 1, 1, "yaml-syntax")])


def problem(path: Path, text: str, error: yaml.MarkedYAMLError) -> Problem:
    """Describe what PyYAML met.

    Args:
        path: The file.
        text: What stands in it.
        error: What PyYAML raised.
    """
    raw = error.problem or error.context or ""
    mark = error.context_mark if any(part in raw for part in _AT_CONTEXT) and error.context_mark else error.problem_mark
    is_tab = "\\t" in raw and "cannot start" in raw
    if is_tab or (mark is not None and _is_tab_indented(text, mark.line)):
        raw = "cannot start any token: tab"
    words = next((words for part, words in _WORDS if part in raw), raw)
    if mark is None:
        return Problem(path, f"is not YAML: {words}", code="yaml-syntax")
    return Problem(path, f"is not YAML: {words}", mark.line + 1, mark.column + 1, "yaml-syntax")


def _is_tab_indented(text: str, line: int) -> bool:
    lines = text.splitlines()
    return line < len(lines) and "\t" in lines[line][: len(lines[line]) - len(lines[line].lstrip())]
