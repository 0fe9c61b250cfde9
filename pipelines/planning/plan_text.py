"""A plan as a person reads it in a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipelines.planning.plan import Plan
from pipelines.planning.prices import HOURS_A_MONTH, Span
from pipelines.planning.sensitivity import Sensitivity


def as_text(plan: Plan) -> str:
    """Write out the whole plan, without a newline at the end."""
    return "\n".join(_lines(plan))


def _lines(plan: Plan) -> Iterator[str]:
    yield f"{plan.model}: {plan.repository} at {plan.revision[:12]}, on {plan.environment}. Nothing is created by this command."
    yield from _section("What would happen", [[step.name, _time(step.span), step.what] for step in plan.steps])
    yield from _section("What it costs", list(_costs(plan)))
    yield from _section(
        "Quotas it needs",
        [
            [
                one.need.quota,
                f"{one.need.instances} of {one.available:g}" if one.available is not None else f"{one.need.instances}",
                f"in {one.need.account_id}: {one.need.reason}" + (f"\n{'TOO SMALL: ' + one.to_do}" if one.to_do else ""),
            ]
            for one in plan.quotas
        ],
    )
    yield from _section(
        _changes_title(plan), [[one.name, f"{_value(one.old)} → {_value(one.new)}"] for one in plan.differences or []]
    )
    yield from _section("Differences from production that are seen", [_sensitivity(one) for one in plan.sensitivities])
    yield from _section("Memory", [[name, line] for name, line in plan.memory.items()])
    yield from _section("Cannot work", [[refusal] for refusal in plan.refusals])
    yield from _section("Warnings", [[warning] for warning in plan.warnings])
    yield from _section("Not looked up", [[reason] for reason in plan.unknown])


def _costs(plan: Plan) -> Iterator[list[str]]:
    if not plan.costs:
        yield ["nothing", "", "this machine plays the instances"]
        return
    for cost in plan.costs:
        price = "unknown" if cost.usd_per_hour is None else f"${cost.usd_per_hour:,.2f} an hour each"
        amount = "" if cost.usd is None else _usd(cost.usd)
        yield [cost.what, amount, f"{cost.instances} x {cost.instance_type}, {_time(cost.span)}, {price}"]
    yield ["the release", "unknown" if plan.usd is None else _usd(plan.usd), "until the version is in production"]
    hourly = plan.production_usd_per_hour
    if hourly is not None:
        yield ["production", f"{_usd(hourly)} an hour", f"{_usd((hourly[0] * HOURS_A_MONTH, hourly[1] * HOURS_A_MONTH))} a month"]
    if plan.unpriced:
        names = ", ".join(plan.unpriced)
        yield [
            "no price for",
            "",
            f"{names}: add it to instance_usd_per_hour in the environment file (Amazon SageMaker AI pricing)",
        ]


def _sensitivity(one: Sensitivity) -> list[str]:
    halved = "" if one.halved_usd is None else f"; half of that costs ${one.halved_usd:,.2f} more"
    what = f"allowed {one.allowed:.1%}, measured for {_duration(one.longest_s)} at most, on each side{halved}"
    return [f"{one.profile} {one.metric}", f"{one.smallest:.1%}", what]


def _changes_title(plan: Plan) -> str:
    if plan.differences is None:
        return ""
    against = f"version {plan.production_version} in production"
    return f"What changes against {against}" if plan.differences else f"Nothing changes against {against}"


def _section(title: str, rows: list[list[str]]) -> Iterator[str]:
    """Yield a title and its rows, columns aligned; nothing without either."""
    if not title or (not rows and not title.startswith("Nothing")):
        return
    yield ""
    yield title
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)] if rows else []
    for row in rows:
        lead = "  " + "".join(f"{cell:<{width}}  " for cell, width in zip(row, widths, strict=False))
        for index, line in enumerate(row[-1].split("\n")):
            yield (lead if index == 0 else " " * len(lead)) + line


def _time(span: Span | None) -> str:
    if span is None:
        return ""
    least, most = _duration(span.least_s), _duration(span.most_s)
    return least if least == most else f"{least} to {most}"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def _usd(span: tuple[float, float]) -> str:
    least, most = (f"${amount:,.2f}" for amount in span)
    return least if least == most else f"{least} to {most}"


def _value(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
