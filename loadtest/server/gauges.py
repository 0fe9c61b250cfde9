"""What the lines of a server's metrics page mean: SGLang's and vLLM's names for the same things.

Names are those of SGLang's `srt/observability/metrics_collector.py` (0.5.20) and vLLM's `v1/metrics/loggers.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from loadtest.server.exposition import Sample, samples

_REPLICAS = ("tp_rank", "pp_rank", "moe_ep_rank")
"""Labels of ranks that do one thing together: with `enable-metrics-for-all-schedulers`, each says the same again."""
_MOST = 1e12


@dataclass(frozen=True)
class Gauge:
    """One thing that servers say of themselves."""

    words: str
    """What it is, in the field's words."""
    unit: Literal["requests", "share", "tokens"]
    names: tuple[str, ...]
    """What servers call it; the first that is on a page counts."""
    total: Callable[[Iterable[float]], float]
    """What several replicas have together."""


def mean(values: Iterable[float]) -> float:
    """Return the arithmetic mean of some values."""
    listed = list(values)
    return math.fsum(listed) / len(listed)


HIT_RATE, DRAFTS = "cache_hit_rate", "accepted_draft_length"
GAUGES = {
    "running_requests": Gauge(
        "running requests", "requests", ("sglang:num_running_reqs", "vllm:num_requests_running"), math.fsum
    ),
    "queued_requests": Gauge("queued requests", "requests", ("sglang:num_queue_reqs", "vllm:num_requests_waiting"), math.fsum),
    "kv_cache_usage": Gauge(
        "KV cache usage", "share", ("sglang:token_usage", "vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"), mean
    ),
    HIT_RATE: Gauge("cache hit rate", "share", ("sglang:cache_hit_rate",), mean),
    DRAFTS: Gauge("accepted draft length", "tokens", ("sglang:spec_accept_length",), mean),
}
_REALTIME = "sglang:realtime_tokens_total"
_HITS = ("vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total")
_QUERIES = ("vllm:prefix_cache_queries_total", "vllm:gpu_prefix_cache_queries_total")
NAMES = frozenset({*(name for gauge in GAUGES.values() for name in gauge.names), _REALTIME, *_HITS, *_QUERIES})
"""Every name that is looked for on a page."""


@dataclass
class PageReader:
    """Reads the pages of one server, one after another: a rate out of counters is that between two pages."""

    _counted: tuple[float, float] | None = field(default=None, init=False)
    """The prompts' tokens that came from the prefix cache so far, and all of them."""

    def read(self, page: str) -> dict[str, float]:
        """Return what a page says, by the names of `GAUGES`; what it does not say, or says no finite number of, is not there.

        Raises:
            MalformedPage: it is not in Prometheus' text format.
        """
        return self.take(samples(page, NAMES))

    def take(self, page: Iterable[Sample]) -> dict[str, float]:
        """Return the same of a page that is read already."""
        found: dict[str, list[Sample]] = {}
        for sample in page:
            if math.isfinite(sample.value) and 0 <= sample.value <= _MOST and not sample.labels.get("priority"):
                found.setdefault(sample.name, []).append(sample)
        values = {}
        for metric, gauge in GAUGES.items():
            present = next((found[name] for name in gauge.names if name in found), None)
            if present is not None:
                values[metric] = gauge.total(_replicas(present))
        if values.get(DRAFTS) == 0:
            del values[DRAFTS]  # SGLang's word for no speculative decoding: with it, each step has a token at least
        values |= self._hit_rate(found)
        return {metric: value for metric, value in values.items() if not math.isnan(value)}

    def _hit_rate(self, found: Mapping[str, list[Sample]]) -> dict[str, float]:
        """Return the hit rate since the page before, where there are counters for it; not a number where no prompt was read since.

        They win over SGLang's gauge, which is of the last batch of prompts, and 0 again when the next batch of tokens is reported.
        """
        before, self._counted = self._counted, _counters(found)
        if self._counted is None:
            return {}
        hits, queries = (now - then for now, then in zip(self._counted, before or self._counted, strict=True))
        return {HIT_RATE: hits / queries} if queries > 0 and 0 <= hits <= queries else {HIT_RATE: math.nan}


def _counters(found: Mapping[str, list[Sample]]) -> tuple[float, float] | None:
    """Return the prompts' tokens that came from the prefix cache so far, and all of them; None where the page does not count them."""
    modes: dict[str, list[Sample]] = {}
    for sample in found.get(_REALTIME, ()):
        modes.setdefault(sample.labels.get("mode", ""), []).append(sample)
    if "prefill_compute" in modes:
        cached = math.fsum(_replicas(modes.get("prefill_cache", [])))
        return cached, cached + math.fsum(_replicas(modes["prefill_compute"]))
    for hits, queries in zip(_HITS, _QUERIES, strict=True):
        if hits in found and queries in found:
            return math.fsum(_replicas(found[hits])), math.fsum(_replicas(found[queries]))
    return None


def _replicas(found: Iterable[Sample]) -> list[float]:
    """Return one value for each replica: ranks that work together say the same, and the largest of them is the newest."""
    values: dict[frozenset[tuple[str, str]], float] = {}
    for sample in found:
        key = frozenset((name, value) for name, value in sample.labels.items() if name not in _REPLICAS)
        values[key] = max(values.get(key, 0.0), sample.value)
    return list(values.values())


def gauge_value(unit: str, value: float) -> str:
    """Return a value of a gauge as people want it: a share in per cent, everything else with three digits."""
    return f"{value:.1%}" if unit == "share" else f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
