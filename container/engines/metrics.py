"""Prometheus metrics under SGLang's names, for whatever SGLang counts that these engines can count too."""

from __future__ import annotations

import bisect

__all__ = ["Metrics"]

_TTFT_BUCKETS_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 4, 6, 8, 10, 20, 40, 60, 80, 100, 200, 400)
_E2E_BUCKETS_S = (0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 4, 6, 8, 10, 20, 40, 60, 80, 100, 200, 400, 600, 1200, 1800, 2400)


class _Histogram:
    """Counts of observations by upper bound, in seconds."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value_s: float) -> None:
        self.counts[bisect.bisect_left(self.bounds, value_s)] += 1
        self.total += value_s

    def lines(self, name: str, labels: str) -> list[str]:
        found, running = [f"# TYPE {name} histogram"], 0
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            running += count
            found.append(f'{name}_bucket{{{labels},le="{bound}"}} {running}')
        return [*found, f"{name}_sum{{{labels}}} {self.total}", f"{name}_count{{{labels}}} {running}"]


class Metrics:
    """What an engine has done so far. Gauges are set by assignment, requests recorded with `finished` and `prefilled`."""

    def __init__(self) -> None:
        self.running = 0
        self.queued = 0
        self.requests = 0
        self.aborted = 0
        self.prompt_tokens = 0
        self.cached_tokens = 0
        self.completion_tokens = 0
        self.used_tokens = 0
        """Tokens of the requests that run, prompts and answers."""
        self.pool_tokens: int | None = None
        """How many the KV cache has room for; None for an engine that does not know, and says nothing of it."""
        self._prefill_cached, self._prefill_computed, self._hit_rate = 0, 0, 0.0
        self._ttft = _Histogram(_TTFT_BUCKETS_S)
        self._e2e = _Histogram(_E2E_BUCKETS_S)

    def finished(self, prompt_tokens: int, completion_tokens: int, ttft_s: float, e2e_s: float) -> None:
        """Record one request that was answered whole."""
        self.requests += 1
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens
        self._ttft.observe(ttft_s)
        self._e2e.observe(e2e_s)

    def prefilled(self, cached: int, computed: int) -> None:
        """Record that a request came into the batch: how many of its prompt's tokens were in the prefix cache, and how many were not."""
        self._prefill_cached += cached
        self._prefill_computed += computed
        self.cached_tokens += cached
        self._hit_rate = cached / max(1, cached + computed)

    def render(self, model: str) -> str:
        """Return the text that `GET /metrics` answers with."""
        escaped = model.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        labels = f'model_name="{escaped}"'
        values = (
            ("sglang:num_requests_total", "counter", self.requests),
            ("sglang:num_aborted_requests_total", "counter", self.aborted),
            ("sglang:prompt_tokens_total", "counter", self.prompt_tokens),
            ("sglang:cached_tokens_total", "counter", self.cached_tokens),
            ("sglang:generation_tokens_total", "counter", self.completion_tokens),
        )
        lines = self._of_the_scheduler(labels)
        lines += [line for name, kind, value in values for line in (f"# TYPE {name} {kind}", f"{name}{{{labels}}} {value}")]
        lines += self._ttft.lines("sglang:time_to_first_token_seconds", labels)
        lines += self._e2e.lines("sglang:e2e_request_latency_seconds", labels)
        return "\n".join(lines) + "\n"

    def _of_the_scheduler(self, labels: str) -> list[str]:
        """Return what SGLang's scheduler counts, with the labels of the one rank that reports."""
        labels = f'{labels},engine_type="unified",tp_rank="0",pp_rank="0",moe_ep_rank="0"'
        gauges: list[tuple[str, float]] = [("num_running_reqs", self.running), ("num_queue_reqs", self.queued)]
        if self.pool_tokens is not None:
            gauges += [
                ("num_used_tokens", self.used_tokens),
                ("max_total_num_tokens", self.pool_tokens),
                ("token_usage", min(1.0, self.used_tokens / self.pool_tokens)),
                ("cache_hit_rate", self._hit_rate),
            ]
        lines = [
            line
            for name, value in gauges
            for line in (f"# TYPE sglang:{name} gauge", f"sglang:{name}{{{labels}}} {float(value)}")
        ]
        if self.pool_tokens is not None:
            lines.append("# TYPE sglang:realtime_tokens_total counter")
            for mode, count in (("prefill_cache", self._prefill_cached), ("prefill_compute", self._prefill_computed)):
                lines.append(f'sglang:realtime_tokens_total{{{labels},mode="{mode}"}} {float(count)}')
        return lines
