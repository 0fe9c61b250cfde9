"""Traces in CSV: Azure's LLM inference traces (AzurePublicDataset, 2023 and 2024), and BurstGPT's in all its releases."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import ClassVar

from loadtest.profiles import TimestampUnit
from loadtest.traces.trace_row import TraceRow, shown, whole_tokens

_COLUMNS = {
    "at": ("TIMESTAMP", "Timestamp"),
    "prompt": ("ContextTokens", "Request tokens"),
    "output": ("GeneratedTokens", "Response tokens"),
}


class CsvTrace:
    """A CSV whose columns are found by name. BurstGPT notes a failed request as one with no answer."""

    name: ClassVar = "CSV (Azure's, BurstGPT's)"
    unit: ClassVar[TimestampUnit] = "s"

    @staticmethod
    def recognizes(first_line: str) -> bool:
        """Tell whether a file that begins so is one: any that is no JSON."""
        return not first_line.lstrip().startswith(("{", "["))

    @staticmethod
    def rows(lines: Iterator[str]) -> Iterator[TraceRow]:
        """Yield the requests in the order of the file.

        Raises:
            ValueError: it is no trace; says why.
        """
        reader = csv.reader(lines, strict=True)
        header = next(reader, [])
        at, prompt, output = (_place(header, known) for known in _COLUMNS.values())
        for row in reader:
            if len(row) != len(header):
                raise ValueError(
                    f"has {len(row)} fields, and the header {len(header)}: the row is cut off, or a quote is missing"
                )
            yield TraceRow(row[at], whole_tokens(row[prompt], header[prompt]), whole_tokens(row[output], header[output]))


def _place(header: list[str], known: tuple[str, ...]) -> int:
    """Return which column has one of these names; the first of them that there is."""
    for name in known:
        if header.count(name) > 1:
            raise ValueError(f"has the column {name} {header.count(name)} times")
        if name in header:
            return header.index(name)
    raise ValueError(f"has no column {' or '.join(known)}; it has {shown(', '.join(header) or 'none')}")
