"""What a profile adds to the JSON of each of its requests: read once, refused where it cannot be sent or is the load's own to say."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator

_Location = tuple[str | int, ...]
_BYTES = 64 * 1024
"""More than tools and a schema of the answer take; every request carries it."""
_DEPTH = 24
_LENGTH, _STREAM = (
    "the profile's output_tokens says how long answers may be",
    "loads are always streamed: times count by the token",
)
_OURS = {
    "model": "--model names it, or the endpoint",
    "messages": "prompt_tokens says how long prompts are, and prompts names a file of some",
    "stream": _STREAM,
    "stream_options": _STREAM,
    "max_tokens": _LENGTH,
    "max_completion_tokens": _LENGTH,
    "max_new_tokens": _LENGTH,
    "ignore_eos": "exact_output makes answers exactly as long",
    "min_tokens": "exact_output makes answers exactly as long as output_tokens says",
    "min_new_tokens": "exact_output makes answers exactly as long as output_tokens says",
    "n": "one answer a request is measured",
}
"""Key → what to use instead."""


class MisplacedValue(ValueError):
    """A value that cannot be sent; `location` is the way to it, from the whole."""

    def __init__(self, location: _Location, message: str) -> None:
        super().__init__(message)
        self.location = location


def _sendable(value: Any) -> Any:
    """Return a mapping that can be merged into a request's JSON.

    Raises:
        MisplacedValue: it cannot be JSON, or has a key that the load itself sets.
        ValueError: it is too large.
    """
    if not isinstance(value, dict):
        return value  # pydantic's to refuse
    for key, instead in _OURS.items():
        if key in value:
            raise MisplacedValue((key,), f"the load sets it itself; leave it out: {instead}")
    for count, (location, item) in enumerate(_values(value, ())):
        if message := _fault(item) if len(location) <= _DEPTH else f"is nested deeper than {_DEPTH} levels":
            raise MisplacedValue(location, message)
        if count > _BYTES:  # before it is written: aliases of aliases would have no end
            raise ValueError(f"has more than {_BYTES:,} values; each request carries it: shorten it")
    size = len(json.dumps(value).encode())
    if size > _BYTES:
        raise ValueError(f"has {size:,} bytes as JSON, more than {_BYTES:,}; each request carries it: shorten it")
    return value


def _values(value: Any, location: _Location) -> Iterator[tuple[_Location, Any]]:
    """Yield a value and all that is in it, keys and values, each with the way to it."""
    yield location, value
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*location, str(key)), _Key(key)
            yield from _values(item, (*location, str(key)))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _values(item, (*location, number))


@dataclass(frozen=True)
class _Key:
    """What stands before a value."""

    key: Any


def _fault(value: Any) -> str:
    """Say why one value, or key, is not JSON's, or not everyone's; empty where it is."""
    if isinstance(value, _Key):
        key = value.key
        return (
            _fault(key)
            if isinstance(key, str)
            else f'the key {key!r} will not do: keys of JSON are texts; put it in quotes: "{key}"'
        )
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} will not do: JSON has no such number; write a finite one"
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        return "has half of a character (a lone surrogate), which is no text in UTF-8; write the whole one"
    if value is not None and not isinstance(value, dict | list | str | bool | int | float):
        return f"{str(value)[:80]!r} is a {type(value).__name__}, which JSON does not have; put it in quotes"
    return ""


ExtraBody = Annotated[dict[str, Any], BeforeValidator(_sendable)]
"""A mapping that is merged into the JSON of each request."""
