"""report.html: one file that needs no network, drawn from evaluation.json alone, so that it can be drawn again from a stored one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

from loadtest.measurement.models import ProfileResult
from loadtest.report import answer_lengths, shown_metrics, standing
from steps.evaluate_staging.models import Evaluation
from steps.evaluate_staging.report import figures, formatting
from steps.evaluate_staging.report.headline import headline

_TEMPLATE = Path(__file__).with_name("report.html.j2")
_TILES = (
    "capacity_per_s",
    "ttft_p50_ms",
    "ttft_p99_ms",
    "ttfo_p99_ms",
    "itl_p50_ms",
    "itl_p99_ms",
    "e2e_p99_ms",
    "output_tokens_per_s",
    "requests_per_s",
    "goodput_per_s",
    "error_rate",
    "usd_per_million_output_tokens",
)
_SERVER_FIGURES = {
    "requests": "In the server: running and queued requests over time",
    "share": "In the server: KV cache usage and cache hit rate over time",
    "tokens": "In the server: accepted draft length over time",
}


def render(evaluation: Evaluation, production: Evaluation | None = None) -> str:
    """Render the report as HTML.

    Args:
        evaluation: What is reported.
        production: The stored evaluation of what is in production, drawn beside this one's where that was not measured meanwhile.

    Returns:
        One page that needs no network.
    """
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    stored = production.profiles if production else {}
    profiles = {
        name: _section(profile, evaluation.beside.get(name, stored.get(name)), is_beside=name in evaluation.beside)
        for name, profile in evaluation.profiles.items()
    }
    return template.render(
        evaluation=evaluation,
        sections=profiles,
        formatting=formatting,
        standing=standing,
        headline=headline(evaluation),
        compared=production is not None or bool(evaluation.beside),
        verdict_word={"passed": "Passed", "failed": "Failed", "invalid": "Invalid"}[evaluation.verdict],
    )


def _section(ours: ProfileResult, theirs: ProfileResult | None, *, is_beside: bool) -> dict[str, Any]:
    """Collect what the page shows of one profile."""
    metrics = [name for name in shown_metrics(ours) if ours.metrics[name] is not None]
    return {
        "profile": ours,
        "load": formatting.load(ours, is_beside=is_beside),
        "answer_lengths": answer_lengths(ours),
        "tiles": [_row(name, ours, theirs) for name in _TILES if name in metrics],
        "rows": [_row(name, ours, theirs) for name in metrics],
        "figures": _figures(ours, theirs),
        "other_load": theirs is not None and theirs.load != ours.load,
    }


def _row(metric: str, ours: ProfileResult, theirs: ProfileResult | None) -> dict[str, Any]:
    """Put one metric beside production's."""
    value, other = ours.metrics[metric], theirs.metrics.get(metric) if theirs else None
    return {
        "metric": metric,
        "name": formatting.name(metric),
        "value": formatting.value(metric, value),
        "production": formatting.value(metric, other) if other is not None else "",
        "change": formatting.change(metric, value, other),
    }


def _figures(ours: ProfileResult, theirs: ProfileResult | None) -> list[tuple[str, str]]:
    """Draw each figure of a profile: its title and SVG."""
    titles = {"ttft": "Time to first token", "itl": "Inter-token latency, every gap", "e2e": "End to end"}
    drawn = [(title, figures.distribution(ours, theirs, latency, title)) for latency, title in titles.items()]
    drawn.append(("Output tokens over time", figures.throughput(ours, "Output tokens over time")))
    drawn += [(title, figures.server(ours, unit, title)) for unit, title in _SERVER_FIGURES.items()]
    for metric in ("ttft_p99_ms", "output_tokens_per_s"):
        title = (
            f"{formatting.name(metric)} at each {'rate' if ours.load.get('kind') == 'capacity' else 'concurrency'} that was tried"
        )
        drawn.append((title, figures.trials(ours, metric, title)))
    return [(title, svg) for title, svg in drawn if svg]
