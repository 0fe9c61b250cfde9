"""When a recorded request came: dates, or numbers whose unit the profile's word, their size, or the trace's format tells."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from loadtest.profiles import TimestampUnit
from loadtest.traces.trace_row import number, shown

_A_SECOND: dict[TimestampUnit, float] = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
_SINCE_1970: dict[TimestampUnit, tuple[float, float]] = {"ms": (1e11, 1e14), "us": (1e14, 1e17), "ns": (1e17, 1e20)}
"""Numbers so large are times since 1970 (from 1973 to 5138) in this unit: in a larger one they would be further off than any trace."""
_GAP_AT_MOST_S, _GAP_AT_LEAST_S = 60.0, 1e-3
"""Requests that are further apart, or closer together, on average, are hardly what one service was asked."""
_FEW = 100
"""So many requests may come in one moment."""
_DATE = "a date and time"


class TimestampReader:
    """Reads the timestamps of one trace, which are all of one kind."""

    def __init__(self, given: TimestampUnit | None, default: TimestampUnit) -> None:
        """Take the unit of numbers: as the profile says, or, where it says nothing, by their size, and as the format has it where they are small."""
        self._given, self._default = given, default
        self._kind: str = ""
        self._seen = 0
        self._least_s, self._most_s = math.inf, -math.inf

    def seconds(self, timestamp: str | float) -> float:
        """Read one timestamp.

        Returns:
            Seconds, from a moment that is the same for the whole trace.

        Raises:
            ValueError: it is none, or of another kind than those before it.
        """
        kind, at_s = self._read(timestamp)
        if self._kind and kind != self._kind:
            raise ValueError(
                f"the timestamp {shown(timestamp)} is {_named(kind)}, and those before it are {_named(self._kind)}: set timestamp_unit to what "
                "the trace's numbers count"
            )
        self._kind = kind
        self._seen += 1
        self._least_s, self._most_s = min(self._least_s, at_s), max(self._most_s, at_s)
        return at_s

    def implausible(self) -> str:
        """Say why the numbers are hardly in the unit that they were taken for; empty where they may be, and where somebody said so."""
        if self._given is not None or self._kind == _DATE or self._seen < 2:
            return ""
        gap_s = (self._most_s - self._least_s) / (self._seen - 1)
        if gap_s <= _GAP_AT_MOST_S and (gap_s >= _GAP_AT_LEAST_S or self._seen < _FEW):
            return ""
        return (
            f"has requests that are {gap_s:.2g} s apart on average, if its timestamps are {self._kind}: set timestamp_unit to s, ms, us or ns, "
            "whatever they are"
        )

    def _read(self, timestamp: str | float) -> tuple[str, float]:
        found = number(timestamp)
        if math.isnan(found) and isinstance(timestamp, str) and timestamp.strip().lower() != "nan":
            return _DATE, _date_s(timestamp)
        if not math.isfinite(found) or found < 0:
            raise ValueError(f"the timestamp {shown(timestamp)} must be a finite number, not less than 0")
        unit = self._given or self._unit_of(found)
        return unit, found / _A_SECOND[unit]

    def _unit_of(self, found: float) -> TimestampUnit:
        return next((unit for unit, (least, end) in _SINCE_1970.items() if least <= found < end), self._default)


def _date_s(text: str) -> float:
    """Read a date and time (Azure: that of 2023 without an offset, that of 2024 with one)."""
    try:
        moment = datetime.fromisoformat(text.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as error:
        raise ValueError(
            f"the timestamp {shown(text)} is neither a number nor a date and time such as 2024-05-10 23:59:59.5"
        ) from error


def _named(kind: str) -> str:
    return kind if kind == _DATE else f"a number ({kind})"
