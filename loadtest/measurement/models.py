"""What is said of a measured load: values that save and load themselves (pydantic models)."""

from __future__ import annotations

from typing import Any, Literal

from loadtest.base import Reading, Strict


class ObjectiveResult(Strict):
    """One objective, measured."""

    value: Reading | None
    """The metric, in the unit of its name; infinite where the percentile is of a failed request, None when it could not be measured."""
    low: Reading | None = None
    """Where its 95 % confidence interval begins; None when there was too little to say."""
    high: float | None = None
    """Where that ends; None when there were too few samples for an end, or too many failures."""
    production: Reading | None = None
    """The same metric of what is in production, for a relative objective; None when there is nothing to compare with."""
    compared_value: float
    """What the gate compares: the value (for an objective that is only relative, its ratio to production's), or one far on the losing
    side where there is none, or an infinite one (a condition compares numbers alone), or where the relative bound is missed."""
    bound: float
    """The bound that the gate compares it with."""
    bound_kind: Literal["at_most", "at_least"]
    """Which side of the bound is good."""
    relative_bound: float | None = None
    """The bound as a multiple of production's value; None when the objective is absolute."""
    ratio_low: float | None = None
    """Where the 95 % confidence interval of the value divided by production's begins; None where the two values alone decide."""
    ratio_high: float | None = None
    """Where that ends; None also where no end can be told."""
    met: bool
    """Whether all of it holds."""
    note: str = ""
    """What a reader must know: why there is nothing to compare with, or why the value is infinite."""
    undecided: str = ""
    """Why there is no value (lm-eval failed), or one that cannot decide: an interval with the bound in it, a percentile of too few samples. It
    makes the run invalid, unless another objective is missed. Empty when it decides."""
    more_helps: bool = False
    """Whether it is undecided for want of time: a longer measurement may decide it."""
    further_s: float | None = None
    """About how much longer it would have to be measured to decide; None where that cannot be told. Seconds."""


class Quantiles(Strict):
    """A latency's distribution, in milliseconds. Percentiles are exact, of every sample (see `percentiles`), never averages of percentiles.

    A request that failed is a sample too, an infinite one: a percentile that is of one is infinite.
    """

    samples: int
    """How many there are, those of failed requests among them."""
    failed: int = 0
    """How many are infinite."""
    p50: Reading
    p90: Reading
    p95: Reading
    p99: Reading
    p999: Reading
    max: Reading
    histogram: str
    """The HDR histogram of the finite samples (microseconds), in its standard base64 encoding: to be drawn, compared, or merged with others."""


class AnswerLengths(Strict):
    """How long answers were asked to be, and were. Tokens, of the answers that were complete."""

    asked: int
    """How long they might be, or, where lengths are exact, had to be, all together."""
    got: int
    """How long they were, by the server's word."""

    @property
    def share(self) -> float:
        """Which share of the length asked for the answers have."""
        return self.got / self.asked if self.asked else 1.0


class ClientHealth(Strict):
    """The measuring side, measured."""

    processes: int
    """How many client processes there were, on all hosts together."""
    hosts: int = 1
    """On how many instances."""
    lag_p99_ms: float | None
    """How late the client itself was: its event loop, and in an open loop its sending. Milliseconds."""
    cpu_share_max: float
    """The busiest process's share of one core."""
    bottleneck: str
    """Why the numbers say more about the client than about the endpoint; empty when they do not."""


class PromptCache(Strict):
    """What the server took from its prefix cache (RadixAttention), by its own word: `usage.prompt_tokens_details.cached_tokens`."""

    share: float | None
    """The share of the prompts' tokens that it took from there; None where it does not say (SGLang needs `enable-cache-report`)."""
    meant: float | None
    """The largest share that the load means it to: what prompts have in common, a chat's earlier turns, the chat template. None where the
    server does not count prompts."""
    repeated: int = 0
    """How many requests asked a recorded prompt that was asked before, since the file has no more."""


class Trial(Strict):
    """One rate that a capacity search tried, or one concurrency of a ladder."""

    load: float
    """Requests a second, or concurrent requests."""
    met: bool
    """Whether every objective held, and the endpoint kept up with the rate."""
    metrics: dict[str, Reading | None]
    """What was measured."""
    bottleneck: str = ""
    """Why the numbers say more about the client; empty when they do not."""
    cached_share: float | None = None
    """Which share of the prompts' tokens the server took from its prefix cache; None where it does not say."""


class ServerMetric(Strict):
    """One thing that the server said of itself in the measured time."""

    unit: str
    """`requests`, `share` (1 is all), `tokens`."""
    mean: float
    """Of all samples."""
    max: float
    """Of all samples, also of those that share a point."""
    at_s: list[float]
    """When each point is, from the measured beginning, pauses left out. Seconds."""
    values: list[float]
    """What it was then; where there were more samples than points are kept, the mean of a few that follow one another."""


class ServerMetrics(Strict):
    """The server beside the client: what it said of itself. It decides nothing."""

    source: str
    """Where it is from: the metrics page's address, or CloudWatch."""
    every_s: float
    """How often it was asked for, or published. Seconds."""
    note: str = ""
    """Why there is nothing, or less than there might be; empty where nothing is missing."""
    metrics: dict[str, ServerMetric] = {}
    """By name: `running_requests`, `queued_requests`, `kv_cache_usage`, `cache_hit_rate`, `accepted_draft_length`."""


class ProfileResult(Strict):
    """What one load profile measured."""

    load: dict[str, Any]
    """The profile without its objectives: numbers are only compared with those of the same load."""
    duration_s: float
    """The measured time, without the warm-up. Seconds."""
    goes: int = 1
    """How many times the load was put on for that, each with a warm-up."""
    looks: int = 1
    """How many times it might have been looked at: the intervals hold at all of them together."""
    requests: int
    """Requests due in it."""
    errors: dict[str, int]
    """How many of these failed, by kind."""
    error_examples: dict[str, str] = {}
    """What the first failure of each kind said."""
    finish_reasons: dict[str, int]
    """Why the answers ended, by the server's word."""
    output_tokens: int
    """Tokens that arrived in it."""
    usage_differs: float | None
    """In which share of the answers the server's token count is not that of the model's tokenizer (looked at in one answer of 20), or,
    where the weights have none, of the pieces that arrived; None without any answer."""
    latencies_ms: dict[str, Quantiles | None]
    """`ttft`, `ttfo`, `itl`, `tpot`, `e2e`; None where there was no sample."""
    tokens_per_s: list[float]
    """Tokens that arrived in each second."""
    metrics: dict[str, Reading | None]
    """Every metric that an objective may name."""
    answer_lengths: AnswerLengths | None = None
    """How long answers were asked to be, and were; None in files from before that was kept."""
    prompt_cache: PromptCache | None = None
    """What came out of the server's prefix cache; None in files from before it was looked at."""
    server: ServerMetrics | None = None
    """What the server said of itself meanwhile; None where nobody asked, and in files from before that was kept."""
    client: ClientHealth
    """The measuring side."""
    trials: list[Trial] = []
    """Every rate of a capacity search, every concurrency of a ladder, in order."""
    objectives: dict[str, ObjectiveResult]
    """The profile's objectives."""
