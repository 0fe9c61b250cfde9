"""The report's first sentences, for managers: how the evaluation ended, and why, for whoever has never heard of a p99."""

from __future__ import annotations

import math
from collections.abc import Iterator

from loadtest.measurement.models import ObjectiveResult
from loadtest.profiles import CAPACITY, COST, ERRORS
from loadtest.report import standing
from steps.evaluate_staging.models import Evaluation
from steps.evaluate_staging.report import formatting

_LATENCIES = {
    "ttft": "time to the first token",
    "ttfo": "time to the first token of the answer",
    "itl": "time from one token to the next",
    "tpot": "time for each token after the first",
    "e2e": "time to the whole answer",
}
_PERCENTILES = {
    "p50": "median",
    "p90": "90th percentile",
    "p95": "95th percentile",
    "p99": "99th percentile",
    "p999": "99.9th percentile",
}
_QUANTITIES = {
    ERRORS: "share of requests that fail",
    "requests_per_s": "number of requests answered a second",
    "output_tokens_per_s": "number of tokens written a second",
    "total_tokens_per_s": "number of tokens a second, prompts included",
    "goodput_per_s": "number of requests a second that keep every bound",
    COST: "price of a million output tokens",
    CAPACITY: "number of requests a second that it can carry",
}
_SHOWN = 2
"""How many objectives are told of; the table below has all."""


def headline(evaluation: Evaluation) -> str:
    """Say in whole sentences how the evaluation ended, and why.

    Args:
        evaluation: What was measured, and judged.

    Returns:
        Two or three sentences: the decision with its reason in words, then how the rest stands.
    """
    if evaluation.verdict == "invalid":
        reason = _only_undecided(evaluation) or evaluation.summary.rstrip(".")
        return f"Not decided: {reason}. This says nothing about the version, which can be measured again."
    if evaluation.verdict == "passed":
        return f"Accepted: {_all_hold(evaluation)}."
    told = [*_wrong_answers(evaluation), *_of_objectives(evaluation, {"missed", "unmeasured"})]
    first, *others = told or [evaluation.summary.rstrip(".")]  # a page is drawn, whatever a stored evaluation says
    shown = [f"Refused: {first}.", *(f"{text[0].upper()}{text[1:]}." for text in others[: _SHOWN - 1])]
    return " ".join([*shown, _rest(len(others) - len(shown) + 1, len(list(_of_objectives(evaluation, {"undecided"}))))])


def _rest(missed: int, undecided: int) -> str:
    """Say how what is not told of stands."""
    found = [f"{missed} more {'does' if missed == 1 else 'do'} not hold"] if missed > 0 else []
    found += [f"{undecided} {'is' if undecided == 1 else 'are'} undecided"] if undecided else []
    return f"{' and '.join(found)}." if found else "Everything else holds."


def _only_undecided(evaluation: Evaluation) -> str:
    """Say which objective is undecided, where that is all that makes the run invalid: not a client that was late, or a denied request."""
    undecided = next(_of_objectives(evaluation, {"undecided"}), "")
    return undecided if evaluation.summary.startswith(tuple(_undecided_lines(evaluation))) else ""


def _undecided_lines(evaluation: Evaluation) -> Iterator[str]:
    """Yield what the summary begins with where nothing comes before an objective that is undecided: `verdicts.judge` puts it last."""
    for name, profile in evaluation.profiles.items():
        yield from (f"{name}: {result.undecided}" for result in profile.objectives.values() if result.undecided)
    yield from (f"lm-eval {task}: {result.undecided}" for task, result in evaluation.lm_eval.items() if result.undecided)


def _all_hold(evaluation: Evaluation) -> str:
    count = sum(len(profile.objectives) for profile in evaluation.profiles.values()) + len(evaluation.lm_eval)
    checks = len(evaluation.prompt_checks.results)
    held = "the one objective holds" if count == 1 else f"all {count} objectives hold"
    return held + (f", and {_counted(checks, 'prompt check')} {'is' if checks == 1 else 'are'} answered right" if checks else "")


def _counted(count: int, what: str) -> str:
    return f"the one {what}" if count == 1 else f"all {count} {what}s"


def _wrong_answers(evaluation: Evaluation) -> Iterator[str]:
    wrong = [result for result in evaluation.prompt_checks.results if not result.passed and not result.refused]
    for result in wrong:
        yield f"asked {result.prompt!r}, the model answers without {result.expect!r}"


def _of_objectives(evaluation: Evaluation, standings: set[str]) -> Iterator[str]:
    """Yield a clause for each objective that stands so."""
    several = len(evaluation.profiles) > 1
    for name, profile in evaluation.profiles.items():
        for metric, result in profile.objectives.items():
            if standing(result) in standings:
                where = f" under the load {name!r}" if several else ""
                yield f"the {_quantity(metric)}{where} {_stands(metric, result)}"
    for task, result in evaluation.lm_eval.items():
        if standing(result) in standings:
            yield f"the score in lm-eval's {task} {_stands(task, result)}"


def _quantity(metric: str) -> str:
    if metric in _QUANTITIES:
        return _QUANTITIES[metric]
    latency, percentile, _ = metric.split("_")
    return f"{_PERCENTILES[percentile]} of the {_LATENCIES[latency]}"


def _stands(metric: str, result: ObjectiveResult) -> str:
    """Say what was measured, and how that is to its bound."""
    if result.value is None:
        return "could not be measured"
    is_infinite = result.value == math.inf
    said = f"is {formatting.value(metric, result.value)}"
    if is_infinite:
        said = f"has no end: {result.note}" if result.note else "has no end, since so many requests failed"
    if result.undecided:
        return f"{said}, which does not decide whether it keeps {_allowed(metric, result)}"
    return said if is_infinite else f"{said}, {_beyond(metric, result)}"


def _beyond(metric: str, result: ObjectiveResult) -> str:
    """Say by how much a bound is missed: production's, where that is the one that is."""
    value, side = result.value or 0.0, "more" if result.bound_kind == "at_most" else "less"
    if result.relative_bound is not None and result.production:
        changed, allowed = value / result.production - 1, result.relative_bound - 1
        missed = changed > allowed if result.bound_kind == "at_most" else changed < allowed
        if missed:
            than = f"{formatting.percent(abs(changed))} {'more' if changed > 0 else 'less'} than" if changed else "as much as"
            return f"{than} production's {formatting.value(metric, result.production)}; {_tolerated(allowed, side)}"
    if not result.bound or metric == ERRORS:
        return f"and must be {_allowed(metric, result)}"
    beyond, wanted = formatting.percent(abs(value / result.bound - 1)), "is allowed" if side == "more" else "is asked for"
    return f"{beyond} {side} than the {formatting.value(metric, result.bound)} that {wanted}"


def _tolerated(allowed: float, side: str) -> str:
    """Say how far from production's a metric may be; to the better side, how far it must be."""
    worse = (allowed >= 0) == (side == "more")
    if worse:
        return f"at most {formatting.percent(abs(allowed))} {side} is allowed" if allowed else f"nothing {side} is allowed"
    return f"at least {formatting.percent(abs(allowed))} {'less' if side == 'more' else 'more'} is asked for"


def _allowed(metric: str, result: ObjectiveResult) -> str:
    side = result.bound_kind.replace("_", " ")
    if result.relative_bound is not None and (result.bound == result.relative_bound or _is_relative_open(result)):
        return f"{side} {formatting.percent(result.relative_bound)} of production's"
    return f"{side} {formatting.value(metric, result.bound)}"


def _is_relative_open(result: ObjectiveResult) -> bool:
    """Tell whether it is the bound relative to production that is undecided."""
    if not result.undecided or result.relative_bound is None or result.ratio_low is None:
        return False
    return result.ratio_low <= result.relative_bound <= (math.inf if result.ratio_high is None else result.ratio_high)
