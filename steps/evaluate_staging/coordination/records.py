"""Every request that a host made, as one Parquet file: what hosts give one another, so that distributions are made of all samples."""

from __future__ import annotations

from array import array
from dataclasses import fields
from typing import Any

import numpy
import pyarrow  # type: ignore[import-untyped]
from pyarrow import parquet

from loadtest.measurement.request_record import RequestRecord

_MOMENTS = ("intended_ns", "sent_ns", "ended_ns")
_REST = tuple(field.name for field in fields(RequestRecord) if field.name not in {*_MOMENTS, "token_ns"})


def pack(results: list[RequestRecord], begin_ns: int) -> bytes:
    """Encode requests. Moments are kept from `begin_ns` on, since another host's monotonic clock is another."""
    columns: dict[str, Any] = {name: [getattr(result, name) - begin_ns for result in results] for name in _MOMENTS}
    columns |= {name: [getattr(result, name) for result in results] for name in _REST}
    moments = array("q")
    ends = array("i", [0])
    for result in results:
        moments.extend(result.token_ns)
        ends.append(len(moments))
    values = numpy.frombuffer(moments, dtype=numpy.int64) - begin_ns
    columns["token_ns"] = pyarrow.ListArray.from_arrays(pyarrow.array(ends), pyarrow.array(values))
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.table(columns), sink, compression="zstd")
    return bytes(sink.getvalue())


def unpack(body: bytes, begin_ns: int) -> list[RequestRecord]:
    """Decode requests, with their moments from `begin_ns` on."""
    table = parquet.read_table(pyarrow.BufferReader(body))
    columns = {name: table.column(name).to_pylist() for name in (*_MOMENTS, *_REST)}
    lists = table.column("token_ns").combine_chunks()
    moments = (lists.flatten().to_numpy() + begin_ns).tolist()
    ends = lists.value_lengths().to_pylist()
    results, at = [], 0
    for place in range(table.num_rows):
        result = RequestRecord(columns["intended_ns"][place] + begin_ns)
        for name in _MOMENTS:
            setattr(result, name, columns[name][place] + begin_ns)
        for name in _REST:
            setattr(result, name, columns[name][place])
        result.token_ns = array("q", moments[at : at + ends[place]])
        at += ends[place]
        results.append(result)
    return results
