"""The report's figures, as SVG text: matplotlib without a screen."""

from __future__ import annotations

import io
from typing import Any

from hdrh.histogram import HdrHistogram

from steps.evaluate_staging.models import ProfileResult

_OURS, _THEIRS, _GRID = "#2563eb", "#9ca3af", "#e5e7eb"
_FIRST_SHARE = 0.02
_POINTS = 240  # of a curve; more cannot be seen


def distribution(ours: ProfileResult, theirs: ProfileResult | None, latency: str) -> str:
    """The cumulative distribution of a latency, and that of production; empty without a sample. The scale stretches the tail."""
    found = ours.latencies_ms[latency]
    if found is None:
        return ""
    figure, axes = _axes()
    other = theirs.latencies_ms[latency] if theirs else None
    if other is not None:
        axes.plot(*_curve(other.histogram), color=_THEIRS, linewidth=1.5, label="in production")
    axes.plot(*_curve(found.histogram), color=_OURS, linewidth=2, label="this version")
    bounds = []
    for name, result in ours.objectives.items():
        if name.startswith(f"{latency}_p") and result.bound != result.relative_bound:
            bounds.append(result.bound)
            share = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}[name.split("_")[1]]
            axes.plot(
                [result.bound],
                [_stretched(share)],
                marker="v",
                color="#dc2626" if not result.met else "#16a34a",
                linestyle="none",
            )
    ticks = [0.5, 0.9, 0.99, 0.999]
    axes.set_yticks([_stretched(tick) for tick in ticks], [f"{tick:.1%}".replace(".0%", "%") for tick in ticks])
    axes.set_ylim(0, _stretched(0.9995))
    axes.set_xlabel("ms")
    _readable_scale(axes, [found.p50, found.p999, *([other.p50, other.p999] if other else []), *bounds])
    if other is not None:
        axes.legend(frameon=False, fontsize=8)
    return _svg(figure)


def _readable_scale(axes: Any, values_ms: list[float]) -> None:
    """Logarithmic where a tail would squeeze the rest, with numbers that people read."""
    if max(values_ms) > 20 * max(min(values_ms), 1e-3):
        from matplotlib.ticker import NullFormatter, ScalarFormatter

        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())


def throughput(profile: ProfileResult) -> str:
    """Tokens in each whole second of the measured time."""
    seconds = profile.tokens_per_s[: max(1, int(profile.duration_s))]
    figure, axes = _axes()
    axes.plot(range(len(seconds)), seconds, color=_OURS, linewidth=1.5, marker="." if len(seconds) < 30 else "")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("s")
    return _svg(figure)


def trials(profile: ProfileResult) -> str:
    """What each rate or concurrency that was tried gave: its TTFT, and whether the objectives held."""
    tried = [(trial.load, trial.metrics.get("ttft_p99_ms"), trial.met) for trial in profile.trials]
    figure, axes = _axes()
    for met, colour, label in ((True, "#16a34a", "objectives met"), (False, "#dc2626", "missed")):
        points = [(load, value) for load, value, was_met in tried if was_met is met and value is not None]
        if points:
            axes.plot([x for x, _ in points], [y for _, y in points], "o", color=colour, label=label)
    axes.set_xlabel("requests/s" if profile.load["kind"] == "capacity" else "concurrency")
    axes.set_ylabel("TTFT p99, ms")
    axes.legend(frameon=False, fontsize=8)
    return _svg(figure)


def _axes() -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "release"  # the same identifiers for the same figure
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 2.5), layout="constrained")
    axes = figure.subplots()
    axes.grid(color=_GRID, linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    return figure, axes


def _svg(figure: Any) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    return text[text.index("<svg") :]


def _stretched(share: float) -> float:
    """Nines are evenly spaced: 90 %, 99 %, 99.9 %."""
    import math

    return -math.log10(max(1 - share, 1e-5))


def _curve(encoded: str) -> tuple[list[float], list[float]]:
    """Latencies in milliseconds, and the stretched share of samples up to each."""
    found = HdrHistogram.decode(encoded.encode())
    count = found.get_total_count()
    xs, ys = [], []
    steps = [place / _POINTS * _stretched(0.9995) for place in range(_POINTS + 1)]
    for step in steps:
        share = 1 - 10**-step
        if share < _FIRST_SHARE:
            continue  # a few gaps of nothing, tokens that arrived together, would set the scale
        if share * count > count - 0.5:
            break  # beyond the last sample
        xs.append(max(found.get_value_at_percentile(100 * share), 1) / 1000)
        ys.append(step)
    return xs, ys
