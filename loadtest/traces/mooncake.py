"""Mooncake's traces (kvcache-ai/Mooncake, FAST'25): JSON lines with the prefixes that prompts have in common.

    {"timestamp": 27482, "input_length": 6955, "output_length": 52, "hash_ids": [46, 47, …, 2354]}

Timestamps are milliseconds. Each of `hash_ids` stands for a block of 512 tokens and everything before it: two prompts whose ids begin alike begin
with the same blocks. A last block that is cut short has an id in Mooncake's own traces, and none in those of some tools. The names that NVIDIA's
tools write beside these (input_tokens, output_tokens, created_time) are read as well.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from loadtest.profiles import TimestampUnit
from loadtest.traces.trace_row import TraceRow, number, shown, whole_tokens

_NAMES = (("timestamp", "created_time"), ("input_length", "input_tokens"), ("output_length", "output_tokens"))
_IDS_BELOW = 2**63


class MooncakeTrace:
    """JSON lines, a request each."""

    name: ClassVar = "JSON lines (Mooncake's)"
    unit: ClassVar[TimestampUnit] = "ms"

    @staticmethod
    def recognizes(first_line: str) -> bool:
        """Tell whether a file that begins so is one."""
        return first_line.lstrip().startswith("{")

    @staticmethod
    def rows(lines: Iterator[str]) -> Iterator[TraceRow]:
        """Yield the requests in the order of the file.

        Raises:
            ValueError: it is no trace; says why.
        """
        for line in lines:
            try:
                row = json.loads(line)
            except RecursionError as error:
                raise ValueError("is nested too deeply") from error
            if not isinstance(row, dict):
                raise ValueError(f"is a JSON {type(row).__name__} and must be an object")
            at, prompt, output = (_named(row, known) for known in _NAMES)
            yield TraceRow(
                _time(row[at], at),
                whole_tokens(row[prompt], prompt),
                whole_tokens(row[output], output),
                _block_ids(row.get("hash_ids")),
            )


def _named(row: Mapping[str, Any], known: tuple[str, ...]) -> str:
    """Return which of these names the row has; the first of them."""
    for name in known:
        if name in row:
            return name
    raise ValueError(f"has no {' or '.join(known)}; it has {shown(', '.join(row) or 'nothing')}")


def _time(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} is {shown(value)} and must be a number")
    return number(value)


def _block_ids(value: Any) -> tuple[int, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ValueError(f"hash_ids is {shown(value)} and must be a list of whole numbers or texts")
    return tuple(_block_id(one) for one in value)


def _block_id(value: Any) -> int:
    if isinstance(value, str):
        return int.from_bytes(hashlib.blake2b(value.encode("utf-8", "surrogatepass"), digest_size=8).digest()) >> 1
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _IDS_BELOW:
        raise ValueError(f"hash_ids has {shown(value)}, and must be of whole numbers from 0 to 2^63 - 1, or texts")
    return value
