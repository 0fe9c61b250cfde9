"""How long prompts and answers are: one length for all, or a distribution from which each request has its own.

A distribution answers one question, `at(share)`: which length so large a share of the requests does not exceed (its inverse distribution function).
A request's two shares are made of the load's seed and the request's number alone (`shares`), so that the same load asks for the same lengths,
however many processes and hosts put it on.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from collections.abc import Mapping
from functools import cached_property
from itertools import accumulate, pairwise
from statistics import NormalDist
from typing import Annotated, Any, get_args

from pydantic import BeforeValidator, Discriminator, Field, Tag, TypeAdapter

from loadtest.base import Strict

_LONGEST = 10_000_000
Tokens = Annotated[int, Field(ge=1, le=_LONGEST)]
_SPREAD = 5.0
"""Where a normal distribution ends that has no `max`: so many standard deviations above its mean, as GuideLLM has it."""
_MEAN_OFF = 0.05
"""By which share of it the mean of what is drawn may differ from the mean that is written."""
_Weight = Annotated[float, Field(gt=0, le=1e12)]
_Percent = Annotated[float, Field(ge=0, le=100)]
_VALUES = 1000
"""How many lengths a distribution may name."""
_SHOWN = 6
"""How many of them a description names."""


def _numbered(value: Any) -> Any:
    """Return a mapping whose keys are numbers also where JSON had to write them as texts. What is none is left to be refused."""
    if not isinstance(value, Mapping):
        return value
    if not value:
        raise ValueError("is empty; write one length at least, or a number of tokens in its place")
    made: dict[Any, Any] = {}
    for key, item in value.items():
        read = _number(key)
        if read in made:
            raise ValueError(f"{key!r} stands there twice; keep one")
        made[read] = item
    return made


def _number(key: Any) -> Any:
    if not isinstance(key, str):
        return key
    try:
        return int(key) if key.isascii() and key.isdigit() else float(key)
    except ValueError:
        return key


class NormalLengths(Strict):
    """Lengths around a mean: a normal distribution, of which whole numbers from `min` to `max` are drawn and no others.

    GuideLLM, genai-perf, AIPerf and inference-perf, where it is told no other type, draw from a normal distribution, too; vllm bench from an even
    one. As with genai-perf and AIPerf, what is beyond an end is never drawn, and does not heap up there. That moves the mean: where it would be off
    by more than 5 %, as with a standard deviation of more than half the mean, the distribution is refused, and percentiles say what is meant.
    """

    mean: float = Field(ge=1, le=_LONGEST)
    """How long they are on average. Tokens."""
    stddev: float = Field(gt=0, le=_LONGEST)
    """By how much they differ: the standard deviation. Tokens."""
    min: Tokens = 1
    """The shortest. Tokens."""
    max: Tokens | None = None
    """The longest; 5 standard deviations above the mean where it is not said. Tokens."""

    def model_post_init(self, _context: object) -> None:
        """Refuse ends in the wrong order, and those that give lengths of another mean."""
        if self.most > _LONGEST:
            raise ValueError(
                f"lengths of up to {self.most:,} tokens are more than {_LONGEST:,}; give max, or lower mean or stddev"
            )
        if not self.min <= self.mean <= self.most:
            raise ValueError(f"mean is {self.mean:g}, and must be from min, {self.min:,}, to max, {self.most:,}")
        if abs(self._drawn_mean - self.mean) > _MEAN_OFF * self.mean:
            raise ValueError(
                f"what a normal distribution of mean {self.mean:g} and stddev {self.stddev:g} has from {self.min:,} to {self.most:,} is "
                f"{self._drawn_mean:.0f} on average; lower stddev, move min or max, or give percentiles or a histogram"
            )

    @property
    def least(self) -> int:
        """The shortest. Tokens."""
        return self.min

    @property
    def most(self) -> int:
        """The longest. Tokens."""
        return math.ceil(self.mean + _SPREAD * self.stddev) if self.max is None else self.max

    @property
    def words(self) -> str:
        """The distribution as a report has it."""
        ends = "" if (self.min, self.max) == (1, None) else f", {self.least:,} to {self.most:,}"
        return f"about {self.mean:,.10g} (sd {self.stddev:,.10g}{ends})"

    def at(self, share: float) -> int:
        """Return which length this share of the requests does not exceed; `share` is from 0 to 1."""
        low, high = self._ends
        place = low + share * (high - low)
        if not 0 < place < 1:
            return self.least if place <= 0 else self.most
        return max(self.least, min(self.most, _rounded(NormalDist(self.mean, self.stddev).inv_cdf(place))))

    @property
    def _ends(self) -> tuple[float, float]:
        """How much of the whole distribution is below the shortest and up to the longest, whose halves of a token belong to them."""
        whole = NormalDist(self.mean, self.stddev)
        return whole.cdf(self.least - 0.5), whole.cdf(self.most + 0.5)

    @property
    def _drawn_mean(self) -> float:
        """The mean of what is left of it: the first moment of a truncated normal distribution."""
        whole, (low, high) = NormalDist(self.mean, self.stddev), self._ends
        return self.mean + self.stddev**2 * (whole.pdf(self.least - 0.5) - whole.pdf(self.most + 0.5)) / (high - low)


class PercentileLengths(Strict):
    """Lengths with known percentiles: evenly spread between two of them."""

    percentiles: Annotated[dict[_Percent, Tokens], BeforeValidator(_numbered)] = Field(min_length=1, max_length=_VALUES)
    """Percentile → the length that so many per cent of the requests do not exceed, as in {50: 256, 90: 1024, 99: 4096}. 0 is the shortest, 1 token
    where it is not said; none is longer than the highest percentile that is. Tokens."""

    def model_post_init(self, _context: object) -> None:
        """Refuse shares in the place of percentiles, and lengths that fall."""
        points = self.points
        if 0 < points[-1][0] <= 1:
            percents = ", ".join(f"{percent * 100:.10g}" for percent in sorted(self.percentiles))
            raise ValueError(f"percentiles are from 0 to 100, and none here is above 1; write {percents}")
        for (lower, shorter), (upper, longer) in pairwise(points):
            if longer < shorter:
                raise ValueError(
                    f"the percentile {upper:.10g} is {longer:,}, less than the {shorter:,} of the percentile {lower:.10g}; put them in order"
                )

    @cached_property
    def points(self) -> list[tuple[float, int]]:
        """The percentiles in order, from 0 on: per cent, tokens."""
        return sorted({0.0: 1, **self.percentiles}.items())

    @property
    def least(self) -> int:
        """The shortest. Tokens."""
        return self.points[0][1]

    @property
    def most(self) -> int:
        """The longest. Tokens."""
        return self.points[-1][1]

    @property
    def words(self) -> str:
        """The distribution as a report has it."""
        named = [f"{tokens:,} (p{percent:.10g})" for percent, tokens in sorted(self.percentiles.items())]
        return _listed(named, self.least, self.most)

    def at(self, share: float) -> int:
        """Return which length this share of the requests does not exceed; `share` is from 0 to 1."""
        percent = 100 * share
        above = bisect_right(self.points, percent, key=lambda point: point[0])
        if above == len(self.points):
            return self.most
        (lower, shorter), (upper, longer) = self.points[above - 1 : above + 1]
        return _rounded(shorter + (longer - shorter) * (percent - lower) / (upper - lower))


class HistogramLengths(Strict):
    """Some lengths, each as often as it weighs."""

    histogram: Annotated[dict[Tokens, _Weight], BeforeValidator(_numbered)] = Field(min_length=1, max_length=_VALUES)
    """Length → weight: how many of the requests have it, in any unit, as in {128: 5, 512: 3, 2048: 1}. Tokens."""

    @cached_property
    def steps(self) -> tuple[list[int], list[float]]:
        """The lengths in order, and the weight of each and all before it."""
        lengths = sorted(self.histogram)
        return lengths, list(accumulate(self.histogram[length] for length in lengths))

    @property
    def least(self) -> int:
        """The shortest. Tokens."""
        return self.steps[0][0]

    @property
    def most(self) -> int:
        """The longest. Tokens."""
        return self.steps[0][-1]

    @property
    def words(self) -> str:
        """The distribution as a report has it."""
        lengths, upto = self.steps
        return _listed([f"{length:,} ({self.histogram[length] / upto[-1]:.2g})" for length in lengths], self.least, self.most)

    def at(self, share: float) -> int:
        """Return which length this share of the requests does not exceed; `share` is from 0 to 1."""
        lengths, upto = self.steps
        return lengths[min(bisect_right(upto, share * upto[-1]), len(lengths) - 1)]


Distribution = NormalLengths | PercentileLengths | HistogramLengths
_KINDS: dict[str, type[Distribution]] = {kind.__name__: kind for kind in get_args(Distribution)}
_TELLING = {
    "mean": "NormalLengths",
    "stddev": "NormalLengths",
    "percentiles": "PercentileLengths",
    "histogram": "HistogramLengths",
}
"""Key → the distribution that has it."""
_TOKENS = "tokens"


def _kind(value: Any) -> str:
    """Return which member of the union a value is meant to be; `_of_one_kind` has refused the others."""
    if isinstance(value, Mapping):
        return next(kind for key, kind in _TELLING.items() if key in value)
    return type(value).__name__ if isinstance(value, get_args(Distribution)) else _TOKENS


def _of_one_kind(value: Any) -> Any:
    """Refuse a mapping that is no distribution, or two."""
    if isinstance(value, Mapping):
        kinds = {kind for key, kind in _TELLING.items() if key in value}
        expected = "{mean: 512, stddev: 128}, {percentiles: {50: 256, 99: 4096}} or {histogram: {128: 5, 512: 3}}"
        if not kinds:
            raise ValueError(f"is no distribution of lengths, expected a number of tokens, {expected}")
        if len(kinds) > 1:
            given = ", ".join(key for key in _TELLING if key in value)
            raise ValueError(f"{given} are of two distributions; keep one: {expected}")
    return value


TokenLengths = Annotated[
    Annotated[Tokens, Tag(_TOKENS)]
    | Annotated[NormalLengths, Tag("NormalLengths")]
    | Annotated[PercentileLengths, Tag("PercentileLengths")]
    | Annotated[HistogramLengths, Tag("HistogramLengths")],
    Discriminator(_kind),
    BeforeValidator(_of_one_kind),
]
"""A number of tokens, the same for every request, or the distribution that each draws from."""
_ADAPTER: TypeAdapter[int | Distribution] = TypeAdapter(TokenLengths)


def keys_of(kind: str) -> list[str] | None:
    """Return which keys a distribution has, by the name of its class; None where it is the name of none."""
    return list(_KINDS[kind].model_fields) if kind in _KINDS else None


def longest(lengths: int | Distribution) -> int:
    """Return the greatest length that a request may have. Tokens."""
    return lengths if isinstance(lengths, int) else lengths.most


def drawn(lengths: int | Distribution, share: float) -> int:
    """Return the length of the request that has this share. Tokens."""
    return lengths if isinstance(lengths, int) else lengths.at(share)


def describe(written: Any) -> str:
    """Return lengths as a report has them, without their unit.

    >>> describe({"mean": 512, "stddev": 128})
    'about 512 (sd 128)'
    >>> describe(1024)
    '1,024'

    Args:
        written: as `LoadProfile.load` has them: the values of JSON.
    """
    lengths = _ADAPTER.validate_python(written)
    return f"{lengths:,}" if isinstance(lengths, int) else lengths.words


def shares(seed: str, number: int) -> tuple[float, float]:
    """Return where a request is in the distributions of prompts and of answers: two numbers from 0 up to, not with, 1.

    They are even over all requests, and independent of one another.

    Args:
        seed: of the load, the same in all processes.
        number: of the request, from 0.
    """
    digest = hashlib.blake2b(f"{seed}/{number}".encode(), digest_size=16).digest()
    return _share(digest[:8]), _share(digest[8:])


def _share(digits: bytes) -> float:
    return (int.from_bytes(digits) >> 11) * 2.0**-53


def _rounded(length: float) -> int:
    return math.floor(length + 0.5)


def _listed(named: list[str], least: int, most: int) -> str:
    return ", ".join(named) if len(named) <= _SHOWN else f"{least:,} to {most:,}, in {len(named)} steps"
