"""The table of requests: one row each, warm-up included, for whoever wants to look at more than the report shows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow  # type: ignore[import-untyped]
from pyarrow import parquet

from loadtest.measurement.measurement import Measurement


def build(measurements: Mapping[str, Measurement]) -> dict[str, list[Any]]:
    """Return column → values. Times are seconds from the beginning of the measured time of the row's profile, latencies milliseconds."""
    rows = [
        {
            "profile": name,
            "measured": result.intended_ns in measurement.time,
            "intended_s": (result.intended_ns - measurement.time.begin_ns) / 1e9,
            "sent_s": (result.sent_ns - measurement.time.begin_ns) / 1e9,
            "ended_s": (result.ended_ns - measurement.time.begin_ns) / 1e9,
            "ttft_ms": result.ttft_ms if result.token_ns else None,
            "ttfo_ms": result.ttfo_ms if result.token_ns else None,
            "e2e_ms": result.e2e_ms if result.is_ok else None,
            "tpot_ms": result.tpot_ms,
            "itl_max_ms": max(result.gaps_ms, default=None),
            "asked_tokens": result.asked_tokens,
            "output_tokens": result.output_tokens,
            "pieces": len(result.token_ns),
            "thought_pieces": result.answer_at,
            "prompt_tokens": result.prompt_tokens,
            "cached_tokens": result.cached_tokens,
            "planned_tokens": result.planned_tokens,
            "finish_reason": result.finish_reason or None,
            "error": result.error or None,
            "message": result.message or None,
        }
        for name, measurement in measurements.items()
        for result in sorted(measurement.results, key=lambda one: one.intended_ns)
    ]
    return {column: [row[column] for row in rows] for column in rows[0]} if rows else {}


def write(columns: dict[str, list[Any]], file: Path) -> None:
    """Write the columns to a Parquet file."""
    parquet.write_table(pyarrow.table(columns), file, compression="zstd")
