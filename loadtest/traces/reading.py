"""A recorded trace becomes a schedule: read once, line by line; what is kept of each request is a few numbers."""

from __future__ import annotations

import csv
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np

from loadtest.errors import InvalidInput
from loadtest.generator.arrivals import PrefixBlocks, ScheduledRequest
from loadtest.profiles import TimestampUnit
from loadtest.traces.csv_traces import CsvTrace
from loadtest.traces.mooncake import MooncakeTrace
from loadtest.traces.timestamps import TimestampReader
from loadtest.traces.trace_row import TraceRow

_LINE_CHARACTERS = 1_000_000
"""A longer line is no request of a trace."""
_MESSAGE_CHARACTERS = 500
_UNDECODED = re.compile("[\udc80-\udcff]")
_GZIP = "\x1f\udc8b"


class TraceFormat(Protocol):
    """How a trace is written down."""

    name: ClassVar[str]
    """What people call it."""
    unit: ClassVar[TimestampUnit]
    """What its timestamps count, where they are small numbers."""

    @staticmethod
    def recognizes(first_line: str) -> bool:
        """Tell whether a file that begins with this line is one."""

    @staticmethod
    def rows(lines: Iterator[str]) -> Iterator[TraceRow]:
        """Yield the requests in the order of the file; ValueError says what is wrong with one."""


FORMATS: tuple[type[TraceFormat], ...] = (MooncakeTrace, CsvTrace)
"""Every format, in the order in which they are asked whether they recognize a file."""


@dataclass(frozen=True)
class ReplayedPart:
    """Which part of a trace is replayed, and how."""

    start_s: float
    """Where it begins, from the trace's first request, in the trace's own time. Seconds."""
    lasts_s: float
    """How long it takes when it is replayed. Seconds."""
    speed: float = 1.0
    """How many times faster than it was recorded."""
    timestamp_unit: TimestampUnit | None = None
    """What numbers count; None: as the format has it."""
    block_tokens: int = 512
    """How many tokens a block of a prompt has."""


@dataclass(frozen=True)
class ReplayedTrace:
    """What is replayed of a trace."""

    schedule: tuple[ScheduledRequest, ...]
    """Its requests, in the order of time; the part's beginning is moment 0."""
    ends_s: float
    """When the trace's last request would be due, were all of it replayed, from the part's beginning on. Seconds."""


def read(file: Path, part: ReplayedPart, where: str) -> ReplayedTrace:
    """Read what is replayed of a trace. A request that failed when it was recorded is left out.

    Args:
        file: the trace.
        part: which part of it.
        where: what an error calls it.

    Returns:
        The part's requests, and when the trace ends.

    Raises:
        InvalidInput: it is no trace, or has nothing there; names `where` and the line.
    """
    lines = _Lines(file)
    try:
        return _Recorded(lines, part).replayed()
    except (ValueError, OverflowError, csv.Error) as error:
        at = f", line {lines.number}:" if lines.number else ""
        quotes = " (a quote that is not closed takes the lines below it in)" if isinstance(error, csv.Error) else ""
        raise InvalidInput(f"{where}{at} {_one_line(error)}{quotes}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:_MESSAGE_CHARACTERS]


class _Lines:
    """The lines of a file that are not blank, one at a time."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.number = 0
        """Which one was the last; 0 where what is said is of the whole file."""

    def __iter__(self) -> Iterator[str]:
        with self._file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as opened:
            while line := opened.readline(_LINE_CHARACTERS):
                self.number += 1
                if len(line) == _LINE_CHARACTERS:
                    raise ValueError(f"has more than {_LINE_CHARACTERS:,} characters")
                if not line.isascii() and _UNDECODED.search(line):
                    packed = "it is compressed: unpack it first" if line.startswith(_GZIP) else "not a text in UTF-8"
                    raise ValueError(packed)
                if not line.isspace():
                    yield line


class _Recorded:
    """The requests of a trace in columns: 24 bytes each, and eight for each block of its prompt."""

    def __init__(self, lines: _Lines, part: ReplayedPart) -> None:
        self._part = part
        self._at_s, self._prompt, self._output = array("d"), array("I"), array("I")
        self._blocks, self._blocks_to = array("Q"), array("Q")
        texts = iter(lines)
        first = next(texts, "")
        if not first:
            raise ValueError("is empty")
        form = next((one for one in FORMATS if one.recognizes(first)), None)
        if form is None:
            raise ValueError(f"begins with {first[:40]!r}: neither {' nor '.join(one.name for one in FORMATS)}")
        times = TimestampReader(part.timestamp_unit, form.unit)
        for row in form.rows(chain([first], texts)):
            self._add(row, times.seconds(row.timestamp))
        lines.number = 0
        if not any(self._output):
            raise ValueError("has no request with an answer")
        if reason := times.implausible():
            raise ValueError(reason)

    def _add(self, row: TraceRow, at_s: float) -> None:
        least, most = row.prompt_tokens // self._part.block_tokens, -(-row.prompt_tokens // self._part.block_tokens)
        if row.block_ids and not least <= len(row.block_ids) <= most:
            raise ValueError(
                f"hash_ids has {len(row.block_ids)} blocks, which are not the {row.prompt_tokens} tokens of the prompt in blocks of "
                f"{self._part.block_tokens}: set block_tokens to the size of the trace's blocks"
            )
        self._at_s.append(at_s)
        self._prompt.append(row.prompt_tokens)
        self._output.append(row.output_tokens)
        self._blocks.extend(row.block_ids)
        self._blocks_to.append(len(self._blocks))

    def replayed(self) -> ReplayedTrace:
        """Return the requests of the part, and when the trace ends."""
        part = self._part
        at_s = np.asarray(self._at_s) - min(self._at_s) - part.start_s  # from the part's beginning on
        inside = np.flatnonzero((at_s >= 0) & (at_s < part.lasts_s * part.speed) & (np.asarray(self._output) > 0))
        if not len(inside):
            ends_s = at_s.max() + part.start_s
            raise ValueError(f"has no request with an answer from {part.start_s:g} s on: it ends {ends_s:.0f} s after its first")
        seen: set[int] = set()
        schedule = tuple(
            ScheduledRequest(
                float(at_s[place] / part.speed),
                max(self._prompt[place], 1),
                self._output[place],
                self._prefix(place, seen),
            )
            for place in inside[np.argsort(at_s[inside], kind="stable")].tolist()
        )
        return ReplayedTrace(schedule, float(at_s.max() / part.speed))

    def _prefix(self, place: int, seen: set[int]) -> PrefixBlocks | None:
        """Return the blocks of one prompt; `seen` are those of all before it."""
        ids = tuple(self._blocks[self._blocks_to[place - 1] if place else 0 : self._blocks_to[place]])
        if not ids:
            return None
        known = next((number for number, one in enumerate(ids) if one not in seen), len(ids))
        seen.update(ids)
        return PrefixBlocks(ids, self._part.block_tokens, known)
