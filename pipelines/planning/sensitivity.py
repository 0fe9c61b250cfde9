"""Which differences from production an evaluation can see, told from how exact production's own evaluation was.

An interval's width falls with the square root of the time. A bound relative to production passes a version that is like it when the ratio's
interval, around 1, ends before the bound; a smaller difference than the interval's is not told from none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from config.schema import Release
from loadtest.measurement.comparison import USUAL_RUN_TO_RUN
from loadtest.profiles import ERRORS, LOOKS_AT_MOST, ClosedLoop, Ladder, LoadProfile, MeasuredOn, OpenLoop

_BETWEEN_RUNS = 1.96 * math.sqrt(2) * USUAL_RUN_TO_RUN


@dataclass(frozen=True)
class Sensitivity:
    """What can be told of one objective that is relative to production."""

    profile: str
    metric: str
    smallest: float
    """The smallest difference that is told from none, as a share of production's value."""
    allowed: float
    """The difference that the bound allows, as a share."""
    longest_s: float
    """How long it is measured at most. Seconds."""
    wanted_s: float | None
    """How long it would have to be for a version like production to pass; None: no time suffices. Seconds."""
    halved_usd: float | None
    """What it costs to see half of it, which takes four times as long or more. US dollars; None: a price is missing, or no time suffices."""

    @property
    def is_enough(self) -> bool:
        """Whether a version like production passes."""
        return self.smallest <= self.allowed

    @property
    def sentence(self) -> str:
        """What a reader makes of it."""
        said = f"{self.metric} of {self.profile}: differences of {self.smallest:.1%} and more are seen, {self.allowed:.1%} is allowed"
        if self.is_enough:
            return said
        if self.wanted_s is None:
            return f"{said}: a version like production stays undecided; evaluation.baseline: interleaved sees more, and so does a longer duration_s"
        return f"{said}: a version like production stays undecided; duration_at_most_s: {self.wanted_s:.0f} is long enough, or allow more"


def sensitivities(release: Release, stored: Mapping[str, Any] | None) -> list[Sensitivity]:
    """Say what an evaluation can see.

    Args:
        release: The resolved model file.
        stored: The evaluation of the version in production, as it is stored; None: there is none.

    Returns:
        One for each objective that is relative to production and was measured of it with an interval.
    """
    evaluation = release.model.evaluation
    found = []
    for name, profile in evaluation.load_profiles.items():
        before: Mapping[str, Any] = ((stored or {}).get("profiles") or {}).get(name) or {}
        if not isinstance(profile, ClosedLoop | OpenLoop | Ladder) or before.get("load") != profile.load:
            continue  # decided on two values, or not compared at all
        for metric, objective in profile.objectives.items():
            result = (before.get("objectives") or {}).get(metric)
            if objective.relative is None or not result or metric == ERRORS:
                continue
            one = _sensitivity(release, name, profile, metric, result, float(before.get("duration_s") or 0))
            found += [one] if one is not None else []
    return found


def _sensitivity(
    release: Release, name: str, profile: LoadProfile, metric: str, result: Mapping[str, Any], measured_s: float
) -> Sensitivity | None:
    half = _half(result)
    relative = profile.objectives[metric].relative
    if half is None or relative is None or not measured_s:
        return None
    is_upper = profile.objectives[metric].is_upper
    is_interleaved = release.model.evaluation.is_interleaved(profile)
    longest_s = profile.looks_s[-1] if isinstance(profile, MeasuredOn) else profile.duration_s
    own = half * math.sqrt(measured_s / longest_s)
    fixed = 0.0 if is_interleaved else math.hypot(half, _BETWEEN_RUNS)
    theirs = own if is_interleaved else 0.0
    varying = own**2 + theirs**2
    smallest, allowed = math.sqrt(varying + fixed**2), math.log(relative) if is_upper else -math.log(relative)
    times = varying / (allowed**2 - fixed**2) if allowed > fixed else None
    halved = varying / ((smallest / 2) ** 2 - fixed**2) if smallest / 2 > fixed else None
    side = 1 if is_upper else -1
    return Sensitivity(
        name,
        metric,
        smallest=abs(math.expm1(side * smallest)),
        allowed=side * math.expm1(side * allowed),
        longest_s=longest_s,
        wanted_s=longest_s * times if times is not None and _can_be(profile, longest_s * times) else None,
        halved_usd=_usd(release, profile, longest_s * (halved - 1)) if halved is not None else None,
    )


def _can_be(profile: LoadProfile, measured_s: float) -> bool:
    """Tell whether a load can be measured for so long by its `duration_at_most_s`."""
    return isinstance(profile, MeasuredOn) and measured_s <= profile.duration_s * 2 ** (LOOKS_AT_MOST - 1)


def _half(result: Mapping[str, Any]) -> float | None:
    """Return how far the logarithm of what was measured could be off; None where an end is missing."""
    value, low, high = (result.get(key) for key in ("value", "low", "high"))
    if not all(isinstance(one, int | float) and 0 < one < math.inf for one in (value, low, high)):
        return None
    return max(math.log(high / value), math.log(value / low), 0.0)  # type: ignore[operator]  # numbers, all three


def _usd(release: Release, profile: LoadProfile, further_s: float) -> float | None:
    """Price so much more of a load."""
    evaluation = release.model.evaluation
    instance_type = (evaluation.staging.instance_types or [release.model.serving.instance_type])[0]
    price = release.environment.instance_usd_per_hour.get(instance_type)
    if price is None:
        return None
    times = 4 if evaluation.is_interleaved(profile) else 1  # two endpoints, each for both turns
    return further_s * times * evaluation.instance_count * price / 3600
