"""The time in which requests count: one or more windows on the monotonic clock, and what lies between them counts for nothing."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator


class MeasuredTime:
    """Windows, in order. All moments are nanoseconds on the monotonic clock."""

    def __init__(self, begin_ns: int, end_ns: int) -> None:
        """Begin with one window."""
        self._begins, self._ends, self._over_ns = [begin_ns], [end_ns], [0]

    def extend(self, later: MeasuredTime) -> None:
        """Take windows that came later."""
        for begin_ns, end_ns in zip(later._begins, later._ends, strict=True):
            self._over_ns.append(self.duration_ns)
            self._begins.append(begin_ns)
            self._ends.append(end_ns)

    @property
    def count(self) -> int:
        """How many windows there are."""
        return len(self._begins)

    @property
    def begin_ns(self) -> int:
        """When the first begins."""
        return self._begins[0]

    @property
    def end_ns(self) -> int:
        """When the last ends."""
        return self._ends[-1]

    @property
    def duration_ns(self) -> int:
        """How long all are together. Nanoseconds."""
        return self._over_ns[-1] + self._ends[-1] - self._begins[-1]

    def __contains__(self, moment_ns: int) -> bool:
        number = bisect_right(self._begins, moment_ns) - 1
        return number >= 0 and moment_ns < self._ends[number]

    def before(self, moment_ns: int) -> int:
        """Return how much of the measured time was over at a moment. Nanoseconds."""
        number = bisect_right(self._begins, moment_ns) - 1
        if number < 0:
            return 0
        return self._over_ns[number] + min(moment_ns, self._ends[number]) - self._begins[number]

    def within(self, first_ns: int, last_ns: int) -> Iterator[tuple[int, int, int]]:
        """Yield each window that has a moment of a span in it.

        Yields:
            When it begins, when it ends, and how much of the measured time was over when it began.
        """
        for number in range(bisect_right(self._ends, first_ns), bisect_left(self._begins, last_ns + 1)):
            yield self._begins[number], self._ends[number], self._over_ns[number]
