"""The highest rate that an endpoint sustains: found by doubling, then bisecting, then asking once more."""

from __future__ import annotations

import math
from collections.abc import Callable

_LOWEST_SHARE = 1 / 64  # of the rate tried first; an endpoint that cannot do that either has no capacity to speak of


def search(sustains: Callable[[float], bool], start: float, highest: float, precision: float) -> float | None:
    """The highest rate, to `precision` (a share), that `sustains` says yes to; None when not even a 64th of `start` is sustained.

    One bad trial may be chance, so a rate counts as too high only after a second one; and the answer was sustained twice.
    """

    def surely(rate: float) -> bool:
        return sustains(rate) or sustains(rate)

    low, high = _bracket(surely, start, highest)
    if low is None:
        return None
    while high is not None and high / low > 1 + precision:
        middle = math.sqrt(low * high)
        if surely(middle):
            low = middle
        else:
            high = middle
    while not sustains(low):
        low /= 1 + precision
        if low < start * _LOWEST_SHARE:
            return None
    return low


def _bracket(sustains: Callable[[float], bool], start: float, highest: float) -> tuple[float | None, float | None]:
    """A sustained rate and one that is not, a factor of two apart; the second is None where everything is sustained."""
    low: float | None = None
    high: float | None = None
    rate = min(start, highest)
    while low is None or high is None:
        if sustains(rate):
            low = rate
            if rate >= highest:
                return low, None
            rate = min(rate * 2, highest)
        else:
            high = rate
            rate /= 2
            if low is None and rate < start * _LOWEST_SHARE:
                return None, high
    return low, high
