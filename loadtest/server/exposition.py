"""Prometheus' text exposition format, version 0.0.4, read strictly ("Exposition formats", prometheus.io).

A page is a stranger's: every pattern here is possessive, so that none takes longer than its line is long.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from loadtest.errors import MalformedPage

_LINE_CHARACTERS = 65_536
_SAMPLE = re.compile(
    r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*+)"
    r'(?:[ \t]*+\{(?P<labels>(?:[^"{}]|"(?:[^"\\]|\\.)*+")*+)\}[ \t]*+|[ \t]++)'
    r"(?P<value>[^ \t]++)(?:[ \t]++-?[0-9]++)?+[ \t]*+"
)
_LABEL = re.compile(r'[ \t]*+(?P<name>[a-zA-Z_][a-zA-Z0-9_]*+)[ \t]*+=[ \t]*+"(?P<value>(?:[^"\\]|\\.)*+)"[ \t]*+(?:,|\Z)')
_NUMBER = re.compile(r"[+-]?+(?:(?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)(?:[eE][+-]?+[0-9]++)?+|[Ii]nf|[Nn]a[Nn])")
_ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of a page."""

    name: str
    labels: dict[str, str]
    value: float
    """Also infinite, or not a number: both are values of the format."""


def samples(page: str, names: Collection[str]) -> Iterator[Sample]:
    """Read the samples with certain names from a page; lines of others are passed over.

    Args:
        page: the text.
        names: of the samples that are wanted.

    Yields:
        Each, in the order of the page.

    Raises:
        MalformedPage: a line that begins with one of the names is none of the format, or the page ends within a line.
    """
    if page and not page.endswith("\n"):
        raise MalformedPage("the page ends within a line")
    beginnings = tuple(names)
    for number, line in enumerate(page.split("\n"), 1):
        stripped = line.lstrip(" \t")
        if stripped.startswith(beginnings):
            sample = _sample(stripped, number)
            if sample.name in names:
                yield sample


def _sample(line: str, number: int) -> Sample:
    if len(line) > _LINE_CHARACTERS:
        raise MalformedPage(f"line {number} has {len(line)} characters")
    found = _SAMPLE.fullmatch(line)
    if found is None or not _NUMBER.fullmatch(found["value"]):
        raise MalformedPage(f"line {number} is no sample: {line[:60]!r}")
    return Sample(found["name"], _labels(found["labels"] or "", number), float(found["value"]))


def _labels(text: str, number: int) -> dict[str, str]:
    labels: dict[str, str] = {}
    text, place = text.rstrip(" \t"), 0
    while place < len(text):
        found = _LABEL.match(text, place)
        if found is None or found["name"] in labels:
            raise MalformedPage(f"line {number} has labels that are none: {text[place : place + 60]!r}")
        labels[found["name"]] = re.sub(r"\\.", lambda escape: _ESCAPES.get(escape[0], escape[0]), found["value"])
        place = found.end()
    return labels
