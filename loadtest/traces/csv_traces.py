"""Traces in CSV: Azure's LLM inference traces (AzurePublicDataset, 2023 and 2024), and BurstGPT's in all its releases."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import ClassVar

from loadtest.profiles import TimestampUnit
from loadtest.traces.trace_row import TraceRow, whole_tokens

_COLUMNS = {
    "at": ("TIMESTAMP", "Timestamp"),
    "prompt": ("ContextTokens", "Request tokens"),
    "output": ("GeneratedTokens", "Response tokens"),
}


class CsvTrace:
    """A CSV whose columns are found by name. BurstGPT notes a failed request as one with no answer."""

    name: ClassVar = "CSV (Azure's, BurstGPT's)"
    unit: ClassVar[TimestampUnit | None] = None
    """Seconds from the beginning (BurstGPT), dates and times (Azure), or, as large as they are, times since 1970."""

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
        reader = csv.DictReader(lines)
        names = {}
        for what, known in _COLUMNS.items():
            found = [name for name in known if name in (reader.fieldnames or ())]
            if not found:
                raise ValueError(f"has no column {' or '.join(known)}; it has {', '.join(reader.fieldnames or ['none'])}")
            names[what] = found[0]
        for row in reader:
            yield TraceRow(
                reader.line_num,
                row[names["at"]] or "",
                whole_tokens(row[names["prompt"]], names["prompt"]),
                whole_tokens(row[names["output"]], names["output"]),
            )
