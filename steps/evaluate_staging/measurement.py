"""What a load run measured: which requests count, and the metrics over them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal

from hdrh.histogram import HdrHistogram

from config.load_profiles import Objective
from steps.evaluate_staging.models import ObjectiveResult, ProfileResult, Quantiles
from steps.evaluate_staging.results import RequestResult

_LOWEST_US, _HIGHEST_US, _DIGITS = 1, 3_600_000_000, 3  # 1 µs to 1 h, to three digits
_PERCENTILES = {"p50": 500, "p90": 900, "p95": 950, "p99": 990, "p999": 999}  # in thousandths
_LOSING = 1e12
"""What an objective without a value is compared as: beyond every bound that a person would write."""


class Measurement:
    """Requests, and the time in which they count: those due in it are counted, and tokens that arrived in it are."""

    def __init__(self, begin_ns: int, end_ns: int) -> None:
        self._begin_ns = begin_ns
        self._end_ns = end_ns
        self._results: list[RequestResult] = []
        self._all = 0

    def add(self, result: RequestResult) -> None:
        """Take a finished request; one that was due in the warm-up only counts by the tokens that arrived after it."""
        self._all += 1
        if result.ended_ns >= self._begin_ns:
            self._results.append(result)

    @property
    def counted(self) -> list[RequestResult]:
        """The requests that were due in the measured time."""
        return [result for result in self._results if self._begin_ns <= result.intended_ns < self._end_ns]

    @property
    def duration_s(self) -> float:
        """The measured time. Seconds."""
        return (self._end_ns - self._begin_ns) / 1e9

    def line(self, now_ns: int) -> str:
        """How it goes, for people."""
        if now_ns < self._begin_ns:
            return f"warming up, {self._all} requests"
        elapsed = max((min(now_ns, self._end_ns) - self._begin_ns) / 1e9, 1e-9)
        counted = self.counted
        failed = sum(not result.is_ok for result in counted)
        rate = self._tokens_between(self._begin_ns, self._end_ns) / elapsed
        return f"{len(counted)} requests, {rate:.0f} tokens/s" + (f", {failed} failed" if failed else "")

    def result(self, objectives: Mapping[str, Objective]) -> ProfileResult:
        """The metrics, and the objectives scored."""
        counted = self.counted
        good = [result for result in counted if result.is_ok]
        latencies = {
            "ttft": _quantiles(result.ttft_ms for result in good),
            "itl": _quantiles(gap for result in good for gap in result.gaps_ms),
            "tpot": _quantiles(result.tpot_ms for result in good if result.tpot_ms is not None),
            "e2e": _quantiles(result.e2e_ms for result in good),
        }
        tokens = self._tokens_between(self._begin_ns, self._end_ns)
        metrics = self._metrics(counted, good, tokens, objectives)
        for name, quantiles in latencies.items():
            for percentile in _PERCENTILES:
                metrics[f"{name}_{percentile}_ms"] = getattr(quantiles, percentile) if quantiles else None
        return ProfileResult(
            duration_s=self.duration_s,
            requests=len(counted),
            errors=dict(sorted(Counter(result.error for result in counted if not result.is_ok).items())),
            output_tokens=tokens,
            latencies_ms=latencies,
            metrics=metrics,
            objectives={name: _score(objective, metrics[name]) for name, objective in objectives.items()},
        )

    def _metrics(
        self, counted: list[RequestResult], good: list[RequestResult], tokens: int, objectives: Mapping[str, Objective]
    ) -> dict[str, float | None]:
        completed = [result for result in self._results if result.is_ok and self._begin_ns <= result.ended_ns < self._end_ns]
        prompt_tokens = sum(result.prompt_tokens for result in completed)
        return {
            "error_rate": 1 - len(good) / len(counted) if counted else None,
            "requests_per_s": len(completed) / self.duration_s,
            "output_tokens_per_s": tokens / self.duration_s,
            "total_tokens_per_s": (tokens + prompt_tokens) / self.duration_s,
            "goodput_per_s": sum(_is_good(result, objectives) for result in completed) / self.duration_s,
        }

    def _tokens_between(self, begin_ns: int, end_ns: int) -> int:
        return sum(begin_ns <= moment < end_ns for result in self._results for moment in result.token_ns)


def _is_good(result: RequestResult, objectives: Mapping[str, Objective]) -> bool:
    """Whether one request by itself keeps every latency bound: an ITL bound by its worst gap."""
    own = {
        "ttft": result.ttft_ms,
        "itl": max(result.gaps_ms, default=None),
        "tpot": result.tpot_ms,
        "e2e": result.e2e_ms,
    }
    return all(
        value is None or objective.met_by(value)
        for name, objective in objectives.items()
        if name.endswith("_ms")
        for value in [own[name.split("_", 1)[0]]]
    )


def _quantiles(values_ms: Iterable[float]) -> Quantiles | None:
    """From one HDR histogram of every value; None when there is no value."""
    histogram = HdrHistogram(_LOWEST_US, _HIGHEST_US, _DIGITS)
    for value in values_ms:
        histogram.record_value(min(max(round(value * 1000), _LOWEST_US), _HIGHEST_US))
    samples = histogram.get_total_count()
    if not samples:
        return None
    found = {name: _at_least(thousandths, histogram, samples) / 1000 for name, thousandths in _PERCENTILES.items()}
    return Quantiles(samples=samples, max=histogram.get_max_value() / 1000, **found)


def _at_least(thousandths: int, histogram: HdrHistogram, samples: int) -> float:
    """The smallest value that this share of the samples does not exceed. Microseconds.

    The library rounds the rank to the nearest, which makes the 90th percentile of seven samples the sixth: too kind by one.
    """
    rank = -(-thousandths * samples // 1000)
    return float(histogram.get_value_at_percentile(100 * rank / samples))


def _score(objective: Objective, value: float | None) -> ObjectiveResult:
    kind: Literal["at_most", "at_least"] = "at_most" if objective.at_most is not None else "at_least"
    losing = _LOSING if objective.at_most is not None else -_LOSING
    return ObjectiveResult(
        value=value,
        compared_value=losing if value is None else value,
        bound=objective.bound,
        bound_kind=kind,
        met=objective.met_by(value),
    )
