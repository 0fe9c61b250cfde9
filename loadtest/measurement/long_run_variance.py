"""How much the sum of a load's time slices varies from run to run, told from one run, although slices depend on those before them.

The estimator is the equal-weighted cosine one (EWC): the series is projected on the first B cosines of type II; each projection varies as the
sum itself does, as long as the spectrum is flat below their frequencies, and their mean square, with Student's t of B degrees of freedom, is
what Lazarus, Lewis, Stock and Watson recommend ("HAR Inference: Recommendations for Practice", Journal of Business & Economic Statistics 36,
2018, 541-559).

How many cosines are flat depends on how long the load remembers. Dou ("Optimal HAR Inference", Quantitative Economics 15, 2024, 1107-1149)
links B to the persistence and widens the critical value by what is left; here the persistence is estimated: the first 64 squared projections
are compared with spectra of a process that forgets exponentially plus white noise (Whittle's likelihood; Müller, "HAC Corrections for Strongly
Autocorrelated Time Series", JBES 32, 2014, 311-322, does so from low frequencies, too), weighed by how plausible each is before: engines forget
within seconds to a minute. The series of one metric says little of that, those of the whole run more: see `memory`.

Queues are skewed: a run that met no congestion is both too good and too sure. The t quantiles are bent by the skewness of twelve batches, as in
Skart (Tafazzoli, Wilson, Lada and Steiger, INFORMS Journal on Computing 23, 2011, 277-292; the transformation is Willink's, 2005).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy

SLICES = 480
_FREQUENCIES = 64
"""Of the cosines that say how long the load remembers."""
_COSINES = (4, 6, 8, 12, 16)
_T = {
    1: (2.776, 2.447, 2.306, 2.179, 2.120),
    2: (3.495, 2.969, 2.752, 2.560, 2.473),
    3: (3.961, 3.287, 3.016, 2.779, 2.673),
    4: (4.315, 3.521, 3.206, 2.934, 2.813),
    5: (4.604, 3.707, 3.355, 3.055, 2.921),
}
"""Looks (`profiles.LOOKS_AT_MOST`) → Student's t with so many degrees of freedom as there are cosines: 2.5 % by the number of looks are beyond it."""
_TOGETHER, CORRELATION_AT_MOST = 32, 0.95
"""How many cosines say how far two series vary together; what they have in common is an estimate, too: some of each one's own counts always."""
_BATCHES = 12
_RELAXATION_S, _RELAXATION_FACTOR = 15.0, 3.0
"""How long engines remember: about so long, within about this factor (log-normal). Longer than the run itself: it would not show."""
_CORNERS = numpy.exp(numpy.linspace(math.log(0.25), math.log(64), 17))
"""Where a spectrum begins to fall, counted in cosines: a process with the relaxation time r does at 1 / (2 pi r), cosine j is at j / (2 T)."""
_WHITE = numpy.array([0, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.85, 0.95, 1])
"""Which share of the spectrum is noise of the moment, at the first cosine."""
_ALL_WHITE = 0.3
"""How plausible it is that all of it is."""


def _spectra() -> tuple[Any, Any]:
    """Return the spectrum at each cosine for every corner and share of noise, and at frequency 0; both are 1 at the first cosine."""
    falling = 1 / (1 + (numpy.arange(1, _FREQUENCIES + 1) / _CORNERS[:, None]) ** 2)
    at_zero = 1 / falling[:, :1]
    falling = falling / falling[:, :1]
    return (1 - _WHITE)[None, :, None] * falling[:, None, :] + _WHITE[None, :, None], (1 - _WHITE) * at_zero + _WHITE


_SPECTRA, _AT_ZERO = _spectra()
_INVERSE, _LOG_DETERMINANT = 1 / _SPECTRA, 0.5 * numpy.log(_SPECTRA).sum(axis=2)
_UNDERSTATED = numpy.stack([_AT_ZERO / _SPECTRA[:, :, :count].mean(axis=2) for count in _COSINES])
"""How many times the variance of the sum is what the first cosines say, for each number of them, corner and share of noise."""
_NOISE = numpy.where(_WHITE == 1, _ALL_WHITE, (1 - _ALL_WHITE) / (len(_WHITE) - 1))
_BASIS = math.sqrt(2) * numpy.cos(
    numpy.pi * numpy.outer(numpy.arange(1, _FREQUENCIES + 1), (numpy.arange(SLICES) + 0.5) / SLICES)
)


@dataclass(frozen=True)
class Spread:
    """How far a sum may be from its expectation: 95 % of the time between `below` and `above` it."""

    below: float
    """How far the expectation may be below the sum."""
    above: float
    """How far above."""
    either: float
    """How far to either side, were it not skewed: for what has a skewness of its own, as the share of rare events has."""
    _cosines: int
    _factor: float

    def of(self, series: Any) -> float:
        """Return what `above` would be for another series with the same memory and skewness."""
        return self._factor * math.sqrt(_projections(series)[: self._cosines].mean())


def memory(duration_s: float, states: Sequence[Any]) -> Any:
    """Weigh how long the load may remember.

    Args:
        duration_s: how long was measured. Seconds.
        states: series of what the load's state shows in most: tokens, the shares of latencies above their median.

    Returns:
        The weight of each corner.
    """
    usual = max(1.0, duration_s / (math.pi * _RELAXATION_S))
    before = numpy.exp(-0.5 * (numpy.log(_CORNERS / usual) / math.log(_RELAXATION_FACTOR)) ** 2)
    before /= before.sum()
    seen = [_posterior(_projections(series), before).sum(axis=1) for series in states if numpy.any(series)]
    return numpy.mean(seen, axis=0) if seen else before


def spread(series: Any, corners: Any, looks: int = 1) -> Spread:
    """Estimate how far the sum of a series of slices may be from its expectation.

    Args:
        series: a value for each slice, less its mean.
        corners: the weights that `memory` returned.
        looks: how many times it is looked at as the measurement grows; what is said holds at all of them together.
    """
    squares = _projections(series)
    if not squares.any():
        return Spread(0.0, 0.0, 0.0, _COSINES[0], 0.0)
    understated = (_UNDERSTATED * _posterior(squares, corners)).sum(axis=(1, 2))
    quantiles = _T[looks]
    best = int(numpy.argmin(numpy.array(quantiles) * numpy.sqrt(understated)))
    count, factor = _COSINES[best], math.sqrt(understated[best])
    below, above = _bent(quantiles[best], series)
    deviation = factor * math.sqrt(squares[:count].mean())
    return Spread(below * deviation, above * deviation, quantiles[best] * deviation, count, above * factor)


def correlation(one: Any, other: Any) -> float:
    """Return how far the sums of two series surely vary together from run to run: their coherence at low frequencies, less one standard error (by
    R. A. Fisher's transformation, 1915). From 0, where that is not above it, to `CORRELATION_AT_MOST`.

    Args:
        one: a value for each slice, less its mean.
        other: the same slices of something else, measured meanwhile.
    """
    first, second = _BASIS[:_TOGETHER] @ one, _BASIS[:_TOGETHER] @ other
    scale = math.sqrt(float(first @ first) * float(second @ second))
    if not scale:
        return 0.0
    found = max(-0.9999, min(float(first @ second) / scale, 0.9999))
    return min(max(math.tanh(math.atanh(found) - 1 / math.sqrt(_TOGETHER - 3)), 0.0), CORRELATION_AT_MOST)


def _projections(series: Any) -> Any:
    """Return the squares of the projections on each cosine: each has the variance of the sum, where the spectrum is flat."""
    return (_BASIS @ series) ** 2


def _posterior(squares: Any, corners: Any) -> Any:
    """Weigh corners and shares of noise by Whittle's likelihood, whatever the scale."""
    logs = -_LOG_DETERMINANT - _FREQUENCIES / 2 * numpy.log(_INVERSE @ squares)
    weights = numpy.exp(logs - logs.max()) * corners[:, None] * _NOISE
    return weights / weights.sum()


def _bent(quantile: float, series: Any) -> tuple[float, float]:
    """Bend Student's t by the skewness of batches: how many deviations the expectation may be below the sum, and above it."""
    batches = series.reshape(_BATCHES, -1).sum(axis=1)
    around = batches - batches.mean()
    variance = (around**2).sum() / (_BATCHES - 1)
    if variance <= 0:
        return quantile, quantile
    skewness = (around**3).sum() * _BATCHES / ((_BATCHES - 1) * (_BATCHES - 2)) / variance**1.5
    bend = skewness / (6 * math.sqrt(_BATCHES))
    if abs(bend) < 1e-6:
        return quantile, quantile

    def bent(one: float) -> float:
        return float((numpy.cbrt(1 + 6 * bend * (one - bend)) - 1) / (2 * bend))

    return bent(quantile), -bent(-quantile)
