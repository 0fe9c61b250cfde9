"""The report's figures: what is drawn into which chart."""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise

from hdrh.histogram import HdrHistogram

from loadtest.measurement.models import ObjectiveResult, ProfileResult, Quantiles, Trial
from loadtest.profiles import KINDS
from loadtest.server.gauges import GAUGES
from steps.evaluate_staging.report.chart import Chart, Colour, label

_FIRST_SHARE = 0.02
_LAST_SHARE = 0.9995
_POINTS = 200  # of a curve; more cannot be seen
_SERVER_COLOURS: tuple[Colour, ...] = ("ours", "theirs", "soft")
_ROOM_FOR_WORDS = 1.25
"""How much higher than its lines a chart of the server is: their names stand above them."""
_GAP = 2.5
"""Samples that are further apart than so many times as usual are not joined."""
_SHARES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}


def distribution(ours: ProfileResult, theirs: ProfileResult | None, latency: str, title: str) -> str:
    """Draw the cumulative distribution of a latency, and that of production; empty without a sample.

    Its scale stretches the tail: each nine is as high as the one before. An objective's bound stands at its percentile: the curve must pass
    on its left.
    """
    found = ours.latencies_ms[latency]
    if found is None:
        return ""
    other = theirs.latencies_ms.get(latency) if theirs else None
    bounds = _bounds(ours, latency)
    curve, behind = cumulative(found), cumulative(other) if other is not None else []
    chart = Chart(title, "milliseconds", "share of samples within")
    values = [value for value, _ in [*curve, *behind]] + [result.bound for _, result in bounds]
    if not values:
        return ""
    chart.fit_x(values)
    chart.name_y(_nines(), _stretched(_LAST_SHARE))
    chart.line(behind, "theirs", words="in production")
    chart.line(curve, "ours", words="this version")
    for percentile, result in bounds:
        words = f"{percentile.replace('p999', 'p99.9')} {'≤' if result.bound_kind == 'at_most' else '≥'} {label(result.bound)} ms"
        chart.bound(
            result.bound,
            _stretched(_SHARES[percentile]),
            _colour(result.met),
            words,
            on_the_left=result.bound > 0.6 * max(values),
        )
    if behind:
        chart.legend()
    return chart.svg()


def throughput(profile: ProfileResult, title: str) -> str:
    """Draw the tokens in each whole second of the measured time; longer stretches are averaged where there are more seconds than pixels."""
    seconds = profile.tokens_per_s[: max(1, int(profile.duration_s))]
    width = -(-len(seconds) // _POINTS)
    groups = [seconds[first : first + width] for first in range(0, len(seconds), width)]
    points = [((number + 0.5) * width, sum(group) / len(group)) for number, group in enumerate(groups)]
    if len(points) == 1:
        points = [(0.0, points[0][1]), (1.0, points[0][1])]
    mean = profile.metrics.get("output_tokens_per_s") or 0.0
    result = profile.objectives.get("output_tokens_per_s")
    bound = result.bound if result is not None and result.bound != result.relative_bound else None
    chart = Chart(title, "seconds measured", "tokens a second")
    chart.fit_x([_seconds(profile)])
    chart.fit_y([value for _, value in points] + [mean] + ([bound] if bound is not None else []))
    chart.line(points, "ours", filled=True)
    chart.across(mean, "soft", f"mean {label(mean)}")
    if result is not None and bound is not None:
        chart.across(bound, _colour(result.met), f"at {result.bound_kind[3:]} {label(bound)}")
    return chart.svg()


def server(profile: ProfileResult, unit: str, title: str) -> str:
    """Draw what the server said of itself in this unit, on the time axis of `throughput`; empty where it said nothing."""
    found = profile.server
    told = {name: one for name, one in (found.metrics.items() if found else ()) if one.unit == unit and one.values}
    if found is None or not told:
        return ""
    percent = 100.0 if unit == "share" else 1.0
    chart = Chart(title, "seconds measured", "per cent" if unit == "share" else unit)
    chart.fit_x([_seconds(profile)])
    chart.fit_y([max(one.max for one in told.values()) * percent * _ROOM_FOR_WORDS])
    for (name, one), colour in zip(told.items(), _SERVER_COLOURS, strict=False):
        points = [(at_s, value * percent) for at_s, value in zip(one.at_s, one.values, strict=True)]
        words = GAUGES[name].words if name in GAUGES else name
        for number, stretch in enumerate(unbroken(points, found.every_s)):
            chart.line(stretch, colour, words="" if number else words)
    chart.legend()
    return chart.svg()


def _seconds(profile: ProfileResult) -> float:
    """Return how long the time axis is: whole seconds, one at least."""
    return float(max(1, int(profile.duration_s)))


def unbroken(points: Sequence[tuple[float, float]], every_s: float) -> list[list[tuple[float, float]]]:
    """Cut a line where samples are missing: nobody knows what was there. A point alone is drawn as long as it stands for."""
    usual_s = max(every_s, statistics.median([later[0] - one[0] for one, later in pairwise(points)] or [0.0]))
    found: list[list[tuple[float, float]]] = []
    for at_s, value in points:
        if found and at_s - found[-1][-1][0] <= _GAP * usual_s:
            found[-1].append((at_s, value))
        else:
            found.append([(at_s, value)])
    return [
        one if len(one) > 1 else [(one[0][0] - every_s / 2, one[0][1]), (one[0][0] + every_s / 2, one[0][1])] for one in found
    ]


def trials(profile: ProfileResult, metric: str, title: str) -> str:
    """Draw what a metric was at each rate or concurrency that was tried, and whether all objectives held there; empty where it never was."""
    tried = sorted(
        ((trial, value) for trial in profile.trials if (value := trial.metrics.get(metric)) is not None and math.isfinite(value)),
        key=lambda one: one[0].load,
    )
    if not tried:
        return ""
    unit = "milliseconds" if metric.endswith("_ms") else "a second"
    chart = Chart(title, KINDS[profile.load["kind"]].trial_load, unit)
    chart.fit_x([trial.load for trial, _ in tried])
    chart.fit_y([value for _, value in tried])
    chart.line(_means(tried), "line")
    for trial, value in tried:
        chart.dot(trial.load, value, _colour(trial.met))
    return chart.svg()


def _means(tried: Sequence[tuple[Trial, float]]) -> list[tuple[float, float]]:
    """Return one point a load: those that were tried twice are joined by their mean."""
    by_load: dict[float, list[float]] = {}
    for trial, value in tried:
        by_load.setdefault(trial.load, []).append(value)
    return [(load, sum(values) / len(values)) for load, values in by_load.items()]


def _bounds(profile: ProfileResult, latency: str) -> list[tuple[str, ObjectiveResult]]:
    """Return the absolute objectives on a latency, each with its percentile."""
    return [
        (name.split("_")[1], result)
        for name, result in profile.objectives.items()
        if name.startswith(f"{latency}_p") and result.bound != result.relative_bound
    ]


def _nines() -> list[tuple[float, str]]:
    return [(_stretched(share), f"{share:.1%}".replace(".0%", "%")) for share in (0.0, 0.5, 0.9, 0.99, 0.999)]


def _colour(met: bool) -> Colour:
    return "passed" if met else "failed"


def _stretched(share: float) -> float:
    """Place a share so that nines are evenly spaced: 90 %, 99 %, 99.9 %."""
    return -math.log10(max(1 - share, 1e-5))


def cumulative(latency: Quantiles) -> list[tuple[float, float]]:
    """Return latencies in milliseconds, and the stretched share of samples up to each: it ends below the share of those that failed."""
    found = HdrHistogram.decode(latency.histogram.encode())
    counts, values_us = [], []
    for step in found.get_recorded_iterator():
        counts.append(step.total_count_to_this_value)
        values_us.append(step.value_iterated_to)
    answered, total = (counts[-1] if counts else 0), latency.samples
    points = []
    for height in (place / _POINTS * _stretched(_LAST_SHARE) for place in range(_POINTS + 1)):
        share = 1 - 10**-height
        if share < _FIRST_SHARE:
            continue  # a few gaps of nothing, tokens that arrived together, would set the scale
        if share * total > answered - 0.5:
            break  # beyond the last answer
        points.append((values_us[bisect_left(counts, share * total)] / 1000, height))
    return points
