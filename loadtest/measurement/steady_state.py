"""Whether an endpoint keeps up with an open loop, and how many requests it completes a second."""

from __future__ import annotations

from loadtest.measurement.measurement import Measurement

_BACKLOG_SHARE = 0.03
"""An endpoint that ends a trial with this share of its requests more unanswered than half-way does not keep up."""
_BACKLOG_REQUESTS = 3
_BACKLOG_DEVIATIONS = 3
"""With independent arrivals the number of unanswered requests varies by itself: by its square root, as Poisson's distribution does."""


class SteadyState:
    """An open loop once answers come: at its beginning, long ones are all still under way."""

    def __init__(self, measurement: Measurement) -> None:
        self._results, self._end_ns = measurement.results, measurement.time.end_ns
        self._middle_ns = (measurement.time.begin_ns + measurement.time.end_ns) // 2
        ended = (result.ended_ns for result in measurement.results if result.is_ok)
        self._completed_ns = sorted(moment for moment in ended if measurement.time.begin_ns <= moment < measurement.time.end_ns)

    @property
    def completed_per_s(self) -> float:
        """How many requests were completed, from the first that was. A second."""
        if not self._completed_ns:
            return 0.0
        return (len(self._completed_ns) - 1) * 1e9 / (self._end_ns - self._completed_ns[0])

    def keeps_up(self, *, varies: bool) -> bool:
        """Tell whether about as many requests are unanswered at its end as in its middle.

        An endpoint that cannot keep up shows here before its latencies have grown past a bound.

        Args:
            varies: whether arrivals are independent.
        """
        due = sum(self._middle_ns <= result.intended_ns < self._end_ns for result in self._results)
        before, after = self._unanswered(self._middle_ns), self._unanswered(self._end_ns)
        allowed = max(_BACKLOG_REQUESTS, _BACKLOG_SHARE * due, _BACKLOG_DEVIATIONS * before**0.5 if varies else 0)
        return after - before <= allowed

    def _unanswered(self, moment_ns: int) -> int:
        return sum(result.intended_ns <= moment_ns < result.ended_ns for result in self._results)
