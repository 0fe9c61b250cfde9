"""When a recorded request came: dates, or numbers whose unit the trace's format, the profile's word, or their size tells."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from loadtest.profiles import TimestampUnit

_A_SECOND: dict[TimestampUnit, float] = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
_SINCE_1970: dict[TimestampUnit, tuple[float, float]] = {"ms": (1e11, 1e14), "us": (1e14, 1e17), "ns": (1e17, 1e20)}
"""Numbers so large are times since 1970 (from 1973 to 5138) in this unit: as seconds they would be further off than any trace."""
_GAP_AT_MOST_S = 60.0
"""Requests that are further apart on average are hardly what a service was asked in seconds."""
_DATE = "a date and time"


class TimestampReader:
    """Reads the timestamps of one trace, which are all of one kind."""

    def __init__(self, unit: TimestampUnit | None) -> None:
        """Take the unit of numbers, as the profile or the format says; None: by their size, and seconds where they are small."""
        self._said = unit
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
            raise ValueError(f"the timestamp {timestamp!r} is {_named(kind)}, and those before it are {_named(self._kind)}")
        self._kind = kind
        self._seen += 1
        self._least_s, self._most_s = min(self._least_s, at_s), max(self._most_s, at_s)
        return at_s

    def doubt(self) -> str:
        """Say why the numbers read are hardly seconds; empty where they may be, and where somebody said so."""
        if self._said is not None or self._kind != "s" or self._seen < 2:
            return ""
        gap_s = (self._most_s - self._least_s) / (self._seen - 1)
        if gap_s <= _GAP_AT_MOST_S:
            return ""
        return (
            f"its requests would be {gap_s:.0f} s apart on average, were its timestamps seconds: set timestamp_unit to ms, us or ns, or to s "
            "if they are"
        )

    def _read(self, timestamp: str | float) -> tuple[str, float]:
        try:
            number = float(timestamp)
        except ValueError:
            return _DATE, _date_s(str(timestamp))
        if not math.isfinite(number) or number < 0:
            raise ValueError(f"the timestamp {timestamp!r} must be a finite number, not less than 0")
        unit = self._said or _unit_of(number)
        return unit, number / _A_SECOND[unit]


def _unit_of(number: float) -> TimestampUnit:
    return next((unit for unit, (least, end) in _SINCE_1970.items() if least <= number < end), "s")


def _date_s(text: str) -> float:
    """Read a date and time (Azure: that of 2023 without an offset, that of 2024 with one)."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise ValueError(
            f"the timestamp {text[:80]!r} is neither a number nor a date and time such as 2024-05-10 23:59:59.5"
        ) from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _named(kind: str) -> str:
    return kind if kind == _DATE else f"a number ({kind})"
