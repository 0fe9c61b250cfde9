"""report.html: one file that needs no network, drawn from evaluation.json alone, so that it can be drawn again from a stored one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from steps.evaluate_staging.judgement import number
from steps.evaluate_staging.models import Evaluation, ObjectiveResult
from steps.evaluate_staging.report import figures

_TEMPLATE = Path(__file__).with_name("report.html.j2")
_HEADLINES = (
    "ttft_p50_ms",
    "ttft_p99_ms",
    "itl_p50_ms",
    "itl_p99_ms",
    "e2e_p99_ms",
    "output_tokens_per_s",
    "requests_per_s",
    "goodput_per_s",
)


def render(evaluation: Evaluation, production: Evaluation | None = None) -> str:
    """The report as HTML. `production` is the evaluation of what is in production, drawn beside this one's."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        evaluation=evaluation,
        production=production,
        number=number,
        bar=_bar,
        headlines=_HEADLINES,
        verdict_word={"passed": "Passed", "failed": "Failed", "invalid": "Invalid"}[evaluation.verdict],
        figures={name: _figures(name, evaluation, production) for name in evaluation.profiles},
    )


def _figures(name: str, evaluation: Evaluation, production: Evaluation | None) -> list[tuple[str, str]]:
    """Title and SVG of each figure of a profile."""
    ours = evaluation.profiles[name]
    theirs = production.profiles.get(name) if production else None
    drawn = [
        ("Time to first token", figures.distribution(ours, theirs, "ttft")),
        ("Inter-token latency, every gap", figures.distribution(ours, theirs, "itl")),
        ("End to end", figures.distribution(ours, theirs, "e2e")),
        ("Output tokens a second", figures.throughput(ours)),
    ]
    if ours.trials:
        drawn.append(("Trials", figures.trials(ours)))
    return [(title, svg) for title, svg in drawn if svg]


def _bar(result: ObjectiveResult) -> dict[str, Any]:
    """Where the value, its interval and the bound are on a bar, in per cent of its length."""
    value = result.compared_value if abs(result.compared_value) < 1e11 else None
    scale = max([abs(one) for one in (value, result.bound, result.high) if one is not None] + [1e-9]) * 1.15
    if result.relative_bound == result.bound:  # compared as a ratio: the interval is in another unit
        low = high = None
    else:
        low, high = result.low, result.high
    return {
        "value": None if value is None else max(0.0, min(100.0, 100 * value / scale)),
        "bound": max(0.0, min(100.0, 100 * result.bound / scale)),
        "low": None if low is None else max(0.0, 100 * low / scale),
        "width": None if low is None or high is None else max(0.5, 100 * (high - low) / scale),
    }
