"""Whether an objective can be met and can be missed: a gate that cannot fail, or cannot pass, costs a staging endpoint and says nothing."""

from __future__ import annotations

from collections.abc import Iterator

from config.errors import Location
from config.evaluation import Evaluation
from config.rules.finding import Finding
from loadtest.profiles import CAPACITY, COST, ERRORS, LoadProfile, Objective

_OF_A_TOKEN = frozenset({"itl", "tpot"})
"""Latencies of one token, by their first word; the others are of a request."""
_FASTEST_MS, _FASTEST_TOKEN_MS = 5.0, 0.2
"""What no server of a language model is below, of a request and of a token. Milliseconds: a forward pass alone takes longer."""
_SECONDS_BELOW_MS, _SECONDS_BELOW_TOKEN_MS = 60.0, 1.0
"""Below this a bound in milliseconds is probably one in seconds."""
_MANY_ERRORS = 0.1
_STREAM_LIMIT_S = 480.0  # InvokeEndpointWithResponseStream (SageMaker developer guide, "Real-time inference")
_MULTIPLE = (0.2, 5.0)
"""Between these a bound relative to production is plausible as a multiple."""


def findings(evaluation: Evaluation) -> Iterator[Finding]:
    """Yield what is wrong with the objectives of every load profile, and with lm-eval's bounds."""
    for name, profile in evaluation.load_profiles.items():
        for metric, objective in profile.objectives.items():
            location: Location = ("evaluation", "load_profiles", name, "objectives", metric)
            yield from _side(location, metric, objective)
            yield from _relative(location, objective)
            yield from _value(location, metric, objective, profile)
    for task, bound in (evaluation.lm_eval.tasks if evaluation.lm_eval else {}).items():
        location = ("evaluation", "lm_eval", "tasks", task)
        yield from _relative(location, bound)
        if bound.absolute is not None and bound.absolute > 1 and any(word in bound.metric for word in ("match", "acc", "pass")):
            key = "at_most" if bound.is_upper else "at_least"
            message = f"{bound.absolute:g} will not do: {bound.metric} is a share from 0 to 1; write {bound.absolute / 100:g}"
            yield Finding((*location, key), message, "objective-cannot-be-met")


def _side(location: Location, metric: str, objective: Objective) -> Iterator[Finding]:
    """Refuse a floor below what should be small, and a ceiling above what should be large."""
    smaller_is_better = metric.endswith("_ms") or metric in {ERRORS, COST}
    if objective.is_upper == smaller_is_better:
        return
    wrong, right = ("at_least", "at_most") if smaller_is_better else ("at_most", "at_least")
    relative = "_production" if objective.absolute is None else ""
    better = "less" if smaller_is_better else "more"
    message = (
        f"{wrong}{relative} lets through only what is bad, since {better} is better; write {right}{relative}: {objective.bound:g}"
    )
    yield Finding((*location, wrong + relative), message, "objective-wrong-side")


def _relative(location: Location, objective: Objective) -> Iterator[Finding]:
    bound = objective.relative
    if bound is None or _MULTIPLE[0] <= bound <= _MULTIPLE[1]:
        return
    key = "at_most_production" if objective.is_upper else "at_least_production"
    likely = bound / 100 if bound > _MULTIPLE[1] else 1 + bound if objective.is_upper else 1 - bound
    message = f"{bound:g} will not do: it is how many times production's value; write {likely:g} for {likely * 100:g} % of it"
    yield Finding((*location, key), message, "objective-not-a-multiple")


def _value(location: Location, metric: str, objective: Objective, profile: LoadProfile) -> Iterator[Finding]:
    bound = objective.absolute
    if metric == CAPACITY and profile.kind != "capacity":
        message = f"only a load profile of the kind `capacity` measures it, and this is a {profile.kind}; choose another metric, or that kind"
        yield Finding(location, message, "objective-not-measured")
    if bound is None:
        return
    place = (*location, "at_most" if objective.is_upper else "at_least")
    if bound < 0 or (bound == 0 and metric != ERRORS):
        outcome = "can never be met" if objective.is_upper else "is always met"
        yield Finding(
            place, f"{bound:g} will not do: it {outcome}, since {metric} is more than 0; write a bound above 0", "objective-sign"
        )
    elif metric == ERRORS:
        yield from _share(place, bound)
    elif metric.endswith("_ms") and objective.is_upper:
        yield from _latency(place, metric.split("_")[0], bound, profile)


def _share(place: Location, bound: float) -> Iterator[Finding]:
    if bound >= 1:
        likely = f"; write {bound / 100:g} for {bound:g} %" if bound <= 100 else ""
        yield Finding(
            place, f"{bound:g} will not do: a share is from 0 to 1, so this cannot fail{likely}", "objective-cannot-fail"
        )
    elif bound > _MANY_ERRORS:
        message = f"{bound:g} lets {bound:.0%} of the requests fail; write {bound / 100:g} if per cent was meant"
        yield Finding(place, message, "objective-loose", is_error=False)


def _latency(place: Location, word: str, bound: float, profile: LoadProfile) -> Iterator[Finding]:
    of_a_token = word in _OF_A_TOKEN
    if bound < (_FASTEST_TOKEN_MS if of_a_token else _FASTEST_MS):
        message = (
            f"{bound:g} ms is less than any server takes, so this can never be met; write {bound * 1000:g} if seconds were meant"
        )
        yield Finding(place, message, "objective-cannot-be-met")
    elif bound < (_SECONDS_BELOW_TOKEN_MS if of_a_token else _SECONDS_BELOW_MS):
        message = f"{bound:g} ms is very little for {word}; write {bound * 1000:g} if seconds were meant"
        yield Finding(place, message, "objective-tight", is_error=False)
    limit_s = min(profile.timeout_s, _STREAM_LIMIT_S)
    if not of_a_token and bound >= limit_s * 1000:
        message = (
            f"{bound:g} ms cannot be missed: a request ends as an error after {limit_s:g} s (timeout_s; SageMaker's own limit of a stream "
            f"is {_STREAM_LIMIT_S:g} s); write less than {limit_s * 1000:g}"
        )
        yield Finding(place, message, "objective-cannot-fail")
