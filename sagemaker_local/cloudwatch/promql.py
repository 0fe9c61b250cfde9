"""CloudWatch's PromQL API, ``/api/v1/query_range`` ("QueryMetrics", CloudWatch user guide), of as much PromQL as a chart of gauges takes.

A query is a selector of one metric by its name and labels that are equal to something, by itself or in ``avg_over_time``,
``last_over_time``, ``max_over_time`` or ``min_over_time`` of so many seconds; and several of these, joined by ``or``. All else is refused.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sagemaker_local.cloudwatch.otel_metrics import OtelMetrics
from sagemaker_local.errors import PromqlError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sagemaker_local.context import Context

QUERY_RANGE = "/api/v1/query_range"
NOT_EMULATED = "PromQL other than a selector with equal labels, in avg_, last_, max_ or min_over_time or by itself, and `or`, is not emulated."
_LOOKBACK_S = 300.0  # Prometheus' own: how old a sample may be that a selector by itself shows
_POINTS_AT_MOST = 11_000  # Prometheus' own, of a series
_SERIES_AT_MOST = 500  # "Result limit" of QueryMetrics
_TERM = re.compile(
    r"\s*+(?:(?P<function>avg|last|max|min)_over_time\(\s*+)?+"
    r'\{(?P<matchers>(?:[^"{}]|"(?:[^"\\]|\\.)*+")*+)\}(?:\[(?P<range>[0-9]{1,6})s\])?+(?(function)\s*+\))\s*+'
)
_MATCHER = re.compile(
    r'\s*+(?:"(?P<quoted>(?:[^"\\]|\\.)++)"|(?P<bare>[a-zA-Z_][a-zA-Z0-9_]*+))\s*+(?:=\s*+"(?P<value>(?:[^"\\]|\\.)*+)")?+\s*+(?:,|\Z)'
)
_FUNCTIONS: dict[str, Callable[[Sequence[float]], float]] = {
    "avg": lambda values: math.fsum(values) / len(values),
    "last": lambda values: values[-1],
    "max": max,
    "min": min,
}


@dataclass(frozen=True)
class _Term:
    name: str
    labels: Mapping[str, str]
    function: str | None
    range_s: float


def query_range(context: Context, region: str, parameters: Mapping[str, str]) -> dict[str, Any]:
    """Answer a range query.

    Args:
        context: the account's.
        region: where.
        parameters: ``query``, and ``start``, ``end`` and ``step`` in seconds.

    Returns:
        The body of the answer, a matrix.

    Raises:
        PromqlError: a parameter is missing or wrong, or the query has something that is not emulated.
    """
    start, end, step = (_seconds(parameters, name) for name in ("start", "end", "step"))
    if step <= 0 or end < start or (end - start) / step > _POINTS_AT_MOST:
        raise PromqlError(f"start, end and step must give 1 to {_POINTS_AT_MOST} points.")
    moments = [start + number * step for number in range(int((end - start) / step) + 1)]
    found: dict[frozenset[tuple[str, str]], dict[str, Any]] = {}
    for term in _terms(parameters.get("query", "")):
        for labels, values in _evaluated(context.part(OtelMetrics), region, term, moments):
            key = frozenset((name, value) for name, value in labels.items() if name != "__name__")
            if values and key not in found:  # ``or``: what is on the left already
                found[key] = {"metric": labels, "values": values}
    return {"status": "success", "data": {"resultType": "matrix", "result": list(found.values())[:_SERIES_AT_MOST]}}


def _evaluated(
    metrics: OtelMetrics, region: str, term: _Term, moments: Sequence[float]
) -> list[tuple[dict[str, str], list[list[Any]]]]:
    """Return each series of a term: its labels, and its value at each moment that it has one."""
    reduce = _FUNCTIONS[term.function or "last"]
    named = {} if term.function in ("avg", "max", "min") else {"__name__": term.name}
    return [
        (
            {**named, **series.labels},
            [[at, repr(reduce(values))] for at in moments if (values := series.within(at - term.range_s, at))],
        )
        for series in metrics.select(region, term.name, term.labels)
    ]


def _seconds(parameters: Mapping[str, str], name: str) -> float:
    text = parameters.get(name, "")
    try:
        value = float(text.removesuffix("s") if name == "step" else text)
    except ValueError as error:
        raise PromqlError(f"{name} must be a number of seconds, not {text!r}.") from error
    if not math.isfinite(value):
        raise PromqlError(f"{name} must be a number of seconds, not {text!r}.")
    return value


def _terms(query: str) -> list[_Term]:
    terms: list[_Term] = []
    place = 0
    while True:
        found = _TERM.match(query, place)
        if found is None or bool(found["function"]) != bool(found["range"]):
            raise PromqlError(f"{NOT_EMULATED} The query: {query[:200]!r}.")
        labels = _matchers(found["matchers"])
        name = labels.pop("__name__", "")
        if not name:
            raise PromqlError("The expression must select a metric by name.")
        terms.append(_Term(name, labels, found["function"], float(found["range"] or _LOOKBACK_S)))
        if found.end() == len(query):
            return terms
        if not query.startswith("or", found.end()):
            raise PromqlError(f"{NOT_EMULATED} The query: {query[:200]!r}.")
        place = found.end() + len("or")


def _matchers(text: str) -> dict[str, str]:
    """Return the labels that a selector asks for; the metric's name is ``__name__``."""
    labels: dict[str, str] = {}
    text, place = text.rstrip(), 0
    while place < len(text):
        found = _MATCHER.match(text, place)
        if found is None:
            raise PromqlError(f"{NOT_EMULATED} The labels: {text[:200]!r}.")
        word = re.sub(r"\\(.)", r"\1", found["quoted"] or found["bare"])
        if found["value"] is None:
            labels["__name__"] = word
        else:
            labels[word] = re.sub(r"\\(.)", r"\1", found["value"])
        place = found.end()
    return labels
