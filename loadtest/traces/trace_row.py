"""One request of a recorded trace, and how its numbers are read."""

from __future__ import annotations

import math
from dataclasses import dataclass

_TOKENS_AT_MOST = 100_000_000
"""More than any context: whatever it is, it is no count of tokens."""
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class TraceRow:
    """One request as it was recorded."""

    timestamp: str | float
    """When it came: a date and time in ISO 8601, or a number in the trace's unit."""
    prompt_tokens: int
    """How long its prompt was."""
    output_tokens: int
    """How long its answer was; 0: it failed."""
    block_ids: tuple[int, ...] = ()
    """Which blocks its prompt is made of, in order; empty where that was not recorded."""


def shown(value: object) -> str:
    """Quote a value for an error, cut short where it is long."""
    return repr(str(value)[:_SHOWN])


def number(value: object) -> float:
    """Read a number, or its text in plain digits; not a number where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return math.nan
    if isinstance(value, str) and not (value.isascii() and "_" not in value):  # which float() would take
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan


def whole_tokens(value: object, name: str) -> int:
    """Read a count of tokens.

    Args:
        value: as it stands in the trace: a number, or its text.
        name: of the column.

    Returns:
        The count.

    Raises:
        ValueError: it is no whole number from 0 to 100 million.
    """
    found = number(value)
    if not (0 <= found <= _TOKENS_AT_MOST and found == int(found)):
        raise ValueError(f"{name} is {shown(value)} and must be a whole number of tokens, from 0 to {_TOKENS_AT_MOST:,}")
    return int(found)
