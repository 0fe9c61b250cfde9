"""Metrics, values and loads as people read them."""

from __future__ import annotations

import math

from loadtest import lengths
from loadtest.measurement.models import ObjectiveResult, ProfileResult
from loadtest.profiles import CAPACITY, COST, KINDS

_NAMES = {
    "error_rate": "Error rate",
    "requests_per_s": "Requests a second",
    "output_tokens_per_s": "Output tokens a second",
    "total_tokens_per_s": "Tokens a second, prompts included",
    "goodput_per_s": "Goodput, requests a second",
    COST: "A million output tokens",
    CAPACITY: "Capacity, requests a second",
}
_LATENCIES = {"ttft": "TTFT", "ttfo": "TTFO", "itl": "ITL", "tpot": "TPOT", "e2e": "End to end"}
_NOISE = 0.02
"""A change of less than this share is shown without a colour."""
_BEYOND = 1e11


def name(metric: str) -> str:
    """Name a metric: `ttft_p99_ms` → TTFT p99."""
    if metric in _NAMES:
        return _NAMES[metric]
    latency, _, rest = metric.partition("_")
    percentile = rest.removesuffix("_ms").replace("p999", "p99.9")
    return f"{_LATENCIES.get(latency, latency)} {percentile}"


def value(metric: str, found: float | None) -> str:
    """Format a value with its unit: 1,234 ms, 0.52%, $3.10."""
    if found == math.inf:
        return "∞"
    if found is None or abs(found) > _BEYOND:
        return "unmeasured"
    if metric == "error_rate":
        return f"{100 * found:.3g}%"
    if metric == COST:
        return f"${found:,.2f}" if found >= 0.1 else f"${found:.3g}"
    return number(found) + (" ms" if metric.endswith("_ms") else "")


def percent(share: float) -> str:
    """Format a share in per cent, with as many digits as it takes to tell it from nothing, and from 100 %."""
    off = min(abs(share), abs(share - 1)) or 1.0
    digits = 0 if off >= 0.01 else min(4, math.ceil(-math.log10(off)) - 2)
    return f"{share:.{digits}%}"


def number(found: float) -> str:
    """Format a number with three digits or more, thousands apart."""
    return f"{found:,.0f}" if abs(found) >= 1000 else f"{found:.3g}" if abs(found) < 100 else f"{found:.4g}"


def bounds(metric: str, result: ObjectiveResult) -> list[str]:
    """Format the bounds of an objective: `≤ 1,500 ms`, `≤ 110% of production's`, or both."""
    side = "≤" if result.bound_kind == "at_most" else "≥"
    found = [] if result.relative_bound == result.bound else [f"{side} {value(metric, result.bound)}"]
    return found if result.relative_bound is None else [*found, f"{side} {result.relative_bound:.0%} of production's"]


def interval(metric: str, result: ObjectiveResult) -> str:
    """Format its 95 % confidence interval; empty where there was too little to say."""
    if result.low is None:
        return ""
    if result.high is None:
        return f"{value(metric, result.low)} or more"
    return f"{value(metric, result.low).removesuffix(' ms').removesuffix('%')} to {value(metric, result.high)}"


def change(metric: str, ours: float | None, theirs: float | None) -> dict[str, str] | None:
    """Say by how much it differs from production, and whether that is better; None where there is nothing to compare."""
    if ours is None or theirs is None or not theirs or ours == theirs == math.inf:
        return None
    if ours == math.inf:
        return {"text": "∞", "kind": "missed"}
    share = ours / theirs - 1
    if abs(share) < _NOISE:
        return {"text": f"{share:+.1%}", "kind": ""}
    is_smaller_better = metric.endswith("_ms") or metric in {"error_rate", COST}
    return {"text": f"{share:+.1%}", "kind": "met" if (share < 0) == is_smaller_better else "missed"}


def bar(result: ObjectiveResult) -> dict[str, float | None]:
    """Place the value, its interval and the bound (of two, the tighter) on a bar, in per cent of its length."""
    bounds = [] if result.relative_bound == result.bound else [result.bound]
    if result.relative_bound is not None and result.production is not None:
        bounds.append(result.relative_bound * result.production)
    tightest = (min if result.bound_kind == "at_most" else max)(bounds) if bounds else None
    drawn = [abs(one) for one in (result.value, tightest, result.high) if one is not None and math.isfinite(one)]
    scale = max([*drawn, 1e-9]) * 1.15

    def place(one: float | None) -> float | None:
        return None if one is None else round(max(0.0, min(100.0, 100 * one / scale)), 2)

    low, high = place(result.low), place(result.high if result.high is not None else scale)
    width = None if low is None or high is None else max(0.5, high - low)
    return {"value": place(result.value), "bound": place(tightest), "low": low, "width": width}


def ratio(result: ObjectiveResult) -> str:
    """Format how many times production's it could be; empty where nobody can say."""
    if result.ratio_low is None:
        return ""
    return (
        f"{result.ratio_low:.3g} to {result.ratio_high:.3g} times it"
        if result.ratio_high
        else f"{result.ratio_low:.3g} times it or more"
    )


def load(measured: ProfileResult, *, is_beside: bool = False) -> str:
    """Describe the load that was put on in a sentence or two.

    Args:
        measured: What it gave.
        is_beside: Whether production's version was asked the same meanwhile.
    """
    profile = measured.load
    known = KINDS.get(profile.get("kind", ""))
    texts = [known.sentence.format(**profile)] if known else []
    if profile.get("start_s"):
        texts.append(f"from {profile['start_s']:g} s of the trace on")
    if profile.get("prompts"):
        texts.append(f"prompts from {profile['prompts']}")
    elif profile.get("kind") != "replay" and "prompt_tokens" in profile:
        exactly = "exactly " if profile.get("exact_output") else "at most "
        prompt, answer = lengths.describe(profile["prompt_tokens"]), lengths.describe(profile["output_tokens"])
        texts.append(f"prompts of {prompt} tokens, answers of {exactly}{answer}")
    if profile.get("shared_prefix"):
        texts.append(f"{profile['shared_prefix']:.0%} of each prompt is the same in all")
    if profile.get("turns", 1) > 1:
        texts.append(f"chats of {profile['turns']} turns")
    if "duration_s" in profile:
        is_longer = measured.goes > 1 and measured.duration_s > 1.01 * profile["duration_s"]
        on = f", and on while it was undecided, to {measured.duration_s:g} s" if is_longer else ""
        goes = f" in {measured.goes} {'blocks' if is_beside else 'goes'}" if measured.goes > 1 else ""
        texts.append(f"{profile['warmup_s']:g} s of warm-up, then {profile['duration_s']:g} s measured{on}{goes}")
    if is_beside:
        texts.append("production's version was asked the same, in turn")
    return "; ".join(texts)
