"""One request of a recorded trace, and what is refused of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

_TOKENS_AT_MOST = 100_000_000
"""More than any context: whatever it is, it is no count of tokens."""


@dataclass(frozen=True, slots=True)
class TraceRow:
    """One request as it was recorded."""

    line: int
    """Where in the file it ends."""
    timestamp: str | float
    """When it came: a date and time in ISO 8601, or a number in the trace's unit."""
    prompt_tokens: int
    """How long its prompt was."""
    output_tokens: int
    """How long its answer was; 0: it failed."""
    block_ids: tuple[int, ...] = ()
    """Which blocks its prompt is made of, in order; empty where that was not recorded."""


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
    try:
        number = float(str(value).strip()) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except ValueError:
        number = math.nan
    if not (0 <= number <= _TOKENS_AT_MOST and number == int(number)):
        raise ValueError(f"{name} is {str(value)[:80]!r} and must be a whole number of tokens, from 0 to {_TOKENS_AT_MOST:,}")
    return int(number)
