"""A report as text: metrics with units and intervals, objectives with their standing, the client's health."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from loadtest.measurement.confidence import Interval
from loadtest.measurement.models import ObjectiveResult
from loadtest.profiles import CAPACITY, COST, ERRORS
from loadtest.report import LoadTestReport, ProfileReport, answer_lengths, number, shown_metrics, standing
from loadtest.server.gauges import GAUGES, gauge_value

_UNITS = {ERRORS: "share", COST: "USD", CAPACITY: "requests/s", "requests_per_s": "requests/s", "goodput_per_s": "requests/s"}
_HEADING = ("metric", "value", "unit", "95 % interval", "objective", "")


def render(report: LoadTestReport) -> str:
    """Return the whole report as text for a terminal."""
    lines = [line for name, profile in report.profiles.items() for line in (*_profile(name, profile), "")]
    lines += [f"{report.verdict.upper()}: {report.target}", *(f"  {reason}" for reason in report.reasons)]
    return "\n".join(lines)


def _profile(name: str, profile: ProfileReport) -> Iterator[str]:
    yield f"{name}: {profile.requests} requests, {profile.output_tokens} tokens in {profile.duration_s:g} s"
    rows = [
        (
            metric,
            number(profile.metrics[metric]),
            _unit(metric),
            _interval(profile.intervals.get(metric)),
            _bound(profile.objectives.get(metric)),
            standing(profile.objectives[metric]) if metric in profile.objectives else "",
        )
        for metric in shown_metrics(profile)
    ]
    yield from _aligned([_HEADING, *rows])
    if math.inf in profile.metrics.values():
        yield "  infinite: so many requests failed (for ttfo: or ended within their thought) that this percentile is of one of them"
    for error, count in profile.errors.items():
        yield f"  {count} times {error}: {profile.error_examples.get(error, '')}"
    if said := answer_lengths(profile):
        yield f"  {said}"
    yield from _prompt_cache(profile)
    yield from _server(profile)
    health = profile.client
    lag = "unknown" if health.lag_p99_ms is None else f"{health.lag_p99_ms:.3g} ms"
    said = health.bottleneck or "not the bottleneck"
    processes = "1 process" if health.processes == 1 else f"{health.processes} processes"
    yield f"  client: {processes}, late by {lag} (p99), {health.cpu_share_max:.0%} of a core at most: {said}"


def _prompt_cache(profile: ProfileReport) -> Iterator[str]:
    cache = profile.prompt_cache
    if cache is None:
        return
    meant = f", at most {cache.meant:.0%} meant" if cache.meant is not None else ""
    share = "the server does not say (SGLang: --enable-cache-report)" if cache.share is None else f"{cache.share:.1%}{meant}"
    yield f"  prompts' tokens from the prefix cache: {share}"
    if cache.repeated:
        yield f"  {cache.repeated} requests asked a recorded prompt again: the file has too few, and a prefix cache knows them"


def _server(profile: ProfileReport) -> Iterator[str]:
    server = profile.server
    if server is None:
        return
    told = [
        f"{GAUGES[name].words if name in GAUGES else name} {gauge_value(metric.unit, metric.mean)} (at most "
        f"{gauge_value(metric.unit, metric.max)})"
        for name, metric in server.metrics.items()
    ]
    if told:
        yield f"  server, on average: {', '.join(told)}"
    if server.note:
        yield f"  the server's metrics at {server.source}: {server.note}"


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADING))]
    for row in rows:
        cells = [
            cell.rjust(width) if column == 1 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield f"  {'  '.join(cells)}".rstrip()


def _unit(metric: str) -> str:
    return _UNITS.get(metric) or ("ms" if metric.endswith("_ms") else "tokens/s")


def _interval(interval: Interval | None) -> str:
    if interval is None:
        return ""
    low, high = interval
    return f"{number(low)} … {number(high) if high is not None else 'no end'}"


def _bound(result: ObjectiveResult | None) -> str:
    if result is None:
        return ""
    side = result.bound_kind.replace("_", " ")
    times = f"{result.relative_bound:g} times the baseline" if result.relative_bound is not None else ""
    absolute = "" if times and result.bound == result.relative_bound else f"{result.bound:g}"
    return f"{side} {' and '.join(filter(None, (absolute, times)))}"
