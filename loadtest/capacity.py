"""The highest rate that an endpoint sustains: found by doubling, then narrowing, then asking once more.

A trial costs a minute of an endpoint, so none is spent on what is known already: an endpoint that was asked for far too much still says
what it can do, by what it completed, and the next two trials are put right below and right above that. Where the latency objectives end
before the throughput does, these two agree, and what is left is bisected.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

_LOWEST_SHARE = 1 / 64  # of the rate tried first; an endpoint that cannot do that either has no capacity to speak of
_HOPELESS_SHARE = 0.9  # completed, of the rate asked for; less is no accident, and is not tried again
_BELOW, _ABOVE = 0.3, 0.65  # of the precision: where the first trials around what was completed are put


@dataclass(frozen=True)
class RateResult:
    """What one trial of a rate gave."""

    met: bool
    """Whether every objective held, and the endpoint kept up."""
    completed_per_s: float
    """How many requests it completed. A second."""


def search(trial: Callable[[float], RateResult], start: float, highest: float, precision: float) -> float | None:
    """Find the highest rate at which a trial is met.

    One bad trial may be chance, so a rate counts as too high only after a second one, or when the endpoint was far from it; and the
    answer was met twice.

    Args:
        trial: puts a rate on, requests a second, and says what it gave.
        start: the rate tried first. Requests a second.
        highest: where the search ends. Requests a second.
        precision: the share to which the answer is known at the end.

    Returns:
        The rate; None when not even a 64th of `start` is met.
    """
    return _Search(trial, start, highest, precision).run()


class _Search:
    def __init__(self, trial: Callable[[float], RateResult], start: float, highest: float, precision: float) -> None:
        self._trial, self._start, self._highest, self._precision = trial, start, highest, precision
        self._low: float | None = None
        self._high: float | None = None
        self._guesses: list[float] = []

    def run(self) -> float | None:
        rate = min(self._start, self._highest)
        while rate >= self._start * _LOWEST_SHARE:
            if self._surely(rate):
                self._low = rate
                if rate >= self._highest:
                    break
            else:
                self._high = rate
            if self._low is None:
                rate = self._guess() or rate / 2
            elif self._high is None:
                rate = min(rate * 2, self._highest)
            elif self._high / self._low > 1 + self._precision:
                rate = self._guess() or math.sqrt(self._low * self._high)
            else:
                break
        return self._confirmed()

    def _surely(self, rate: float) -> bool:
        first = self._trial(rate)
        if first.met:
            return True
        if first.completed_per_s < _HOPELESS_SHARE * rate:
            below, above = 1 - _BELOW * self._precision, 1 + _ABOVE * self._precision
            self._guesses = [first.completed_per_s * above, first.completed_per_s * below]
            return False
        return self._trial(rate).met

    def _guess(self) -> float | None:
        """Return the next rate that what was completed suggests; None when there is none, or it is known already."""
        low, high = self._low or 0.0, self._high or math.inf
        while self._guesses:
            guess = self._guesses.pop()
            if low < guess < high:
                return guess
        return None

    def _confirmed(self) -> float | None:
        while self._low is not None and not self._trial(self._low).met:
            self._low /= 1 + self._precision
            if self._low < self._start * _LOWEST_SHARE:
                self._low = None
        return self._low
