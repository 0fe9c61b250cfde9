"""What a load run measured: which requests count, and the metrics over them."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping

from loadtest.measurement.confidence import STATES, Interval, TimeSlices
from loadtest.measurement.estimates import Estimates
from loadtest.measurement.long_run_variance import SLICES
from loadtest.measurement.measured_time import MeasuredTime
from loadtest.measurement.models import AnswerLengths, ClientHealth, PromptCache, Quantiles
from loadtest.measurement.percentiles import PERCENTILES, percentile, quantiles
from loadtest.measurement.request_record import RequestRecord
from loadtest.measurement.worker_result import WorkerResult
from loadtest.profiles import CAPACITY, COST, METRICS, Objective

_BUSY_SHARE = 0.9
"""Of one core; an event loop that is busier makes its own latencies."""
_FEW_TOKENS, _FEW_SHARE = 2, 0.02  # by which two counts of one answer may differ
_OVERCLAIM = 1.2
"""What a server may count for each token that the text has. Text that is cut into tokens again has a few per cent fewer of them than were
made; a count that has the prompt in it, or the drafts of speculative decoding, is far off."""
_ALIKE_TOKENS, _KNOWN_SHARE = 3, 0.02
"""Prompts of random words may begin alike by chance, with a word or two; a load of which a larger share than this was known is no accident."""
LATENCIES = ("ttft", "ttfo", "itl", "tpot", "e2e")


class Measurement:
    """Requests, and the time in which they count: those due in it are counted, and tokens that arrived in it are.

    It may have pauses: where it was measured on, the load ended and was put on again, and what was between counts for nothing.
    """

    def __init__(self, begin_ns: int, end_ns: int) -> None:
        self.time = MeasuredTime(begin_ns, end_ns)
        """When it was measured."""
        self.looked = 1
        """How many times it was looked at so far: before each but the first, it was measured on."""
        self.looks = 1
        """How many times it may be looked at as it grows: its intervals hold at all of them together."""
        self.longer_by = "duration_s"
        """What makes it longer: in advice."""
        self.results: list[RequestRecord] = []
        self.hosts = 1
        """On how many instances it was measured."""
        self.invalid_reason = ""
        """Why it decides nothing, whatever it shows: a host failed and its share of the load is missing, or time was up."""
        self.prompts_to = 0
        """Where the recorded prompts that were asked end, in the order in which all loads take them."""
        self._repeated = 0
        self._lag_ns = array("q")
        self._cpu_shares: list[float] = []
        self._processes = 1

    @classmethod
    def of(cls, window_s: tuple[float, float], begin_ns: int, found: Iterable[WorkerResult]) -> Measurement:
        """Put together what client processes measured in a window of a load that began at `begin_ns`.

        Args:
            window_s: from when to when requests count, from the load's beginning. Seconds.
            begin_ns: the load's beginning, on the monotonic clock. Nanoseconds.
            found: what each process measured.
        """
        made = cls(begin_ns + int(window_s[0] * 1e9), begin_ns + int(window_s[1] * 1e9))
        for one in found:
            made.merge(one)
        return made

    def merge(self, found: WorkerResult) -> None:
        """Take what one client process measured. Requests are put together, never percentiles."""
        for result in found.results:
            self.add(result)
        self._lag_ns.extend(found.lag_ns)
        self._cpu_shares.append(found.cpu_share)
        self._processes = len(self._cpu_shares)
        self.prompts_to = max(self.prompts_to, found.prompts_to)
        self._repeated += found.prompts_repeated

    def extend(self, later: Measurement) -> None:
        """Take what was measured later of the same load."""
        self.time.extend(later.time)
        self.results += later.results
        self.invalid_reason = self.invalid_reason or later.invalid_reason
        self.prompts_to = max(self.prompts_to, later.prompts_to)
        self._repeated += later._repeated
        self._lag_ns.extend(later._lag_ns)
        self._cpu_shares += later._cpu_shares
        self._processes = max(self._processes, later._processes)

    def add(self, result: RequestRecord) -> None:
        """Take a finished request; one that was due in the warm-up only counts by the tokens that arrived after it."""
        self.results.append(result)

    @property
    def counted(self) -> list[RequestRecord]:
        """The requests that were due in the measured time."""
        return [result for result in self.results if result.intended_ns in self.time]

    @property
    def duration_s(self) -> float:
        """The measured time, without pauses. Seconds."""
        return self.time.duration_ns / 1e9

    @property
    def errors(self) -> dict[str, int]:
        """How many counted requests failed, by kind."""
        return dict(sorted(Counter(result.error for result in self.counted if not result.is_ok).items()))

    @property
    def finish_reasons(self) -> dict[str, int]:
        """Why the counted answers ended."""
        return dict(sorted(Counter(result.finish_reason for result in self.counted if result.finish_reason).items()))

    @property
    def usage_differs(self) -> float | None:
        """In which share of the answers the server counted other tokens than there were: by the model's own tokenizer, in those that it was
        asked about; without one, by the pieces that arrived."""
        good = [result for result in self.counted if result.is_ok]
        asked = [result for result in good if result.counted_tokens]
        if asked:
            return sum(_disagree(result.output_tokens, result.counted_tokens) for result in asked) / len(asked)
        return sum(result.output_tokens != len(result.token_ns) for result in good) / len(good) if good else None

    @property
    def answer_lengths(self) -> AnswerLengths:
        """How long the counted answers were asked to be, and were."""
        good = [result for result in self.counted if result.is_ok]
        return AnswerLengths(asked=sum(result.asked_tokens for result in good), got=sum(result.output_tokens for result in good))

    @property
    def overclaimed(self) -> str:
        """How the server counts far more tokens than its answers have by the model's own tokenizer, which makes it look faster and cheaper than
        it is. Empty where it does not, and where nobody counted."""
        asked = [result for result in self.counted if result.is_ok and result.counted_tokens]
        claimed, counted = sum(result.output_tokens for result in asked), sum(result.counted_tokens for result in asked)
        if claimed <= _OVERCLAIM * counted + _FEW_TOKENS * len(asked):
            return ""
        return f"the server counts {claimed / counted:.2g} tokens for each that its answers have by the model's tokenizer"

    @property
    def prompt_cache(self) -> PromptCache:
        """What the server took from its prefix cache, and what it may."""
        told = [result for result in self.counted if result.is_ok and result.prompt_tokens]
        tokens = sum(result.prompt_tokens for result in told)
        cached = [result.cached_tokens for result in told if result.cached_tokens is not None]
        return PromptCache(
            share=sum(cached) / tokens if cached else None,
            meant=sum(_known(result) for result in told) / tokens if told else None,
            repeated=self._repeated,
        )

    @property
    def known_prompts(self) -> str:
        """How the server was asked what it knew already, which makes it look faster than it is. Empty where it was not, or does not say."""
        told = [result for result in self.counted if result.is_ok and result.prompt_tokens]
        beyond = sum(max(0, _beyond(result)) for result in told if not result.in_any_order)
        beyond += max(0, sum(_beyond(result) for result in told if result.in_any_order))
        tokens = sum(result.prompt_tokens for result in self.counted if result.is_ok)
        if beyond <= _KNOWN_SHARE * tokens:
            return ""
        cache = self.prompt_cache
        return (
            f"the server took {cache.share:.0%} of the prompts' tokens from its prefix cache, and at most {cache.meant:.0%} are meant to be "
            "in it: it was asked the same before (restart it or empty its cache, or give more prompts)"
        )

    @property
    def output_tokens(self) -> int:
        """The tokens that arrived in the measured time; a piece counts for as many as the server says its answer had a piece."""
        return round(sum(amount for _, amount in self._tokens()))

    @property
    def tokens_per_s(self) -> list[float]:
        """In each second of it."""
        seconds = [0.0] * max(1, -(-self.time.duration_ns // 1_000_000_000))
        for moment, amount in self._tokens():
            seconds[moment // 1_000_000_000] += amount
        return seconds

    def client(self, lag_at_most_ms: float) -> ClientHealth:
        """Judge the measuring side.

        Args:
            lag_at_most_ms: a client that was later than this (p99) is the bottleneck. Milliseconds.
        """
        lag_ns = percentile(self._lag_ns, 990)
        lag_ms = None if lag_ns is None else lag_ns / 1e6
        busiest = max(self._cpu_shares, default=0.0)
        reasons = [reason for reason in dict.fromkeys((self.invalid_reason, self.known_prompts)) if reason]
        if lag_ms is not None and lag_ms > lag_at_most_ms:
            reasons.append(f"the client was {lag_ms:.3g} ms late (p99), more than {lag_at_most_ms:g} ms")
        if busiest > _BUSY_SHARE:
            reasons.append(f"a client process used {busiest:.0%} of its core")
        return ClientHealth(
            processes=self._processes,
            hosts=self.hosts,
            lag_p99_ms=lag_ms,
            cpu_share_max=busiest,
            bottleneck="; ".join(reasons),
        )

    def latencies(self) -> dict[str, Quantiles | None]:
        """Return each latency's distribution, over all counted requests: one that failed is slower than any answer."""
        counted = self.counted
        return {name: quantiles(value for result in counted for value in samples(result, name)) for name in LATENCIES}

    def metrics(self, objectives: Mapping[str, Objective], usd_per_hour: float | None = None) -> dict[str, float | None]:
        """Return every metric that an objective may name.

        Args:
            objectives: whose latency bounds a request must keep to be good (`goodput_per_s`).
            usd_per_hour: what the endpoint costs; None: not known. US dollars an hour.
        """
        counted = self.counted
        completed = self._completed()
        tokens_per_s = self.output_tokens / self.duration_s
        prompt_tokens = sum(result.prompt_tokens or result.planned_tokens for result in completed)
        found: dict[str, float | None] = {
            "error_rate": sum(not result.is_ok for result in counted) / len(counted) if counted else None,
            "requests_per_s": len(completed) / self.duration_s,
            "output_tokens_per_s": tokens_per_s,
            "total_tokens_per_s": tokens_per_s + prompt_tokens / self.duration_s,
            "goodput_per_s": sum(is_good(result, objectives) for result in completed) / self.duration_s,
            COST: usd_per_hour / 3600 / tokens_per_s * 1e6 if usd_per_hour is not None and tokens_per_s else None,
            CAPACITY: None,
        }
        for name, distribution in self.latencies().items():
            for share in PERCENTILES:
                found[f"{name}_{share}_ms"] = getattr(distribution, share) if distribution else None
        return {name: found[name] for name in METRICS}

    def intervals(
        self, names: Collection[str], objectives: Mapping[str, Objective], usd_per_hour: float | None = None
    ) -> dict[str, Interval | None]:
        """Return the 95 % confidence intervals of the metrics with these names; None where there was too little to say."""
        found = self.estimates(names, objectives, usd_per_hour)
        return {name: found.interval(name) for name in names}

    def estimates(
        self, names: Collection[str], objectives: Mapping[str, Objective], usd_per_hour: float | None = None
    ) -> Estimates:
        """Return what can be said of the metrics with these names.

        Args:
            names: of metrics.
            objectives: whose latency bounds a request must keep to be good (`goodput_per_s`).
            usd_per_hour: what the endpoint costs; None: not known. US dollars an hour.
        """
        latencies = {name.split("_", 1)[0] for name in names} & set(LATENCIES) | {*STATES}
        return Estimates(self._slices(objectives, latencies), usd_per_hour)

    def _slices(self, objectives: Mapping[str, Objective], latencies: Iterable[str]) -> TimeSlices:
        slices, length = TimeSlices(self.duration_s, self.looks), max(1, self.time.duration_ns // SLICES)
        for result in self.counted:
            place = self.time.before(result.intended_ns) // length
            slices.count("due", place)
            slices.count("failed", place, not result.is_ok)
            for name in latencies:
                values = samples(result, name)
                ends = [*result.token_ns[1:], result.ended_ns] if name == "itl" else [result.intended_ns]
                slices.sample(name, [self.time.before(end) // length for end in ends[: len(values)]], values)
        for result in self._completed():
            place = self.time.before(result.ended_ns) // length
            slices.count("completed", place)
            slices.count("good", place, is_good(result, objectives))
            slices.count("all_tokens", place, result.prompt_tokens or result.planned_tokens)
        for moment, amount in self._tokens():
            slices.count("tokens", moment // length, amount)
            slices.count("all_tokens", moment // length, amount)
        return slices

    def _completed(self) -> list[RequestRecord]:
        return [result for result in self.results if result.is_ok and result.ended_ns in self.time]

    def _tokens(self) -> Iterator[tuple[int, float]]:
        """Yield how much of the measured time was over when text arrived in it (nanoseconds), and how many tokens it was."""
        for result in self.results:
            moments = result.token_ns
            if not moments:
                continue
            amount = result.output_tokens / len(moments) if result.is_ok else 1.0
            for begin, end, over in self.time.within(moments[0], moments[-1]):
                for moment in moments:
                    if begin <= moment < end:
                        yield over + moment - begin, amount


def _known(result: RequestRecord) -> int:
    """Return how many of a prompt's tokens may be in the server's prefix cache: all but those that are meant to be fresh."""
    return max(0, result.prompt_tokens - result.fresh_tokens)


def _beyond(result: RequestRecord) -> int:
    """Return how many of a prompt's tokens the server knew beyond those that it may; less than none where it knew fewer."""
    return (result.cached_tokens or 0) - _known(result) - _ALIKE_TOKENS


def _disagree(claimed: int, counted: int) -> bool:
    """Compare two counts: text does not always become the tokens again that it was made of, and the last, which ends an answer, has none."""
    return abs(claimed - counted) > max(_FEW_TOKENS, _FEW_SHARE * counted)


def samples(result: RequestRecord, latency: str) -> list[float]:
    """Return what one request adds to a latency's distribution. Milliseconds.

    One that failed is infinitely slow, whatever it had until then; of its gaps those that were seen count, and one that did not end.
    """
    if latency == "itl":
        return result.gaps_ms if result.is_ok else [*result.gaps_ms, math.inf]
    if not result.is_ok:
        return [math.inf]
    value = {"ttft": result.ttft_ms, "ttfo": result.ttfo_ms, "tpot": result.tpot_ms, "e2e": result.e2e_ms}[latency]
    return [] if value is None else [value]


def is_good(result: RequestRecord, objectives: Mapping[str, Objective]) -> bool:
    """Return whether one request by itself keeps every absolute latency bound: an ITL bound by its worst gap."""
    for name, objective in objectives.items():
        if name.endswith("_ms") and objective.absolute is not None:
            values = samples(result, name.split("_", 1)[0])
            if values and not objective.within(max(values), objective.absolute):
                return False
    return True
