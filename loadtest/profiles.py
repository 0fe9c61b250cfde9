"""The load profiles that a file may ask for, one class a kind: its settings, its sentence in the report, how often it surely measures.

Add a kind of open loop: a `Scheduled` class here; docs/extending.md does it. How the load of any other kind is put on, loadtest/runner.py says.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field, WithJsonSchema, field_validator

from loadtest.base import Strict
from loadtest.extra_body import ExtraBody
from loadtest.lengths import Distribution, TokenLengths, Tokens, longest


class Objective(Strict):
    """A bound that one metric of one load profile must keep: absolute, relative to what production measured, or both on the same side."""

    at_most: float | None = None
    """The metric must not exceed this, in the unit of its name."""
    at_least: float | None = None
    """The metric must not fall below this, in the unit of its name."""
    at_most_production: float | None = Field(default=None, gt=0)
    """The metric must not exceed this many times production's, as in 1.1; met while nothing is in production."""
    at_least_production: float | None = Field(default=None, gt=0)
    """The metric must not fall below this many times production's, as in 0.95; met while nothing is in production."""

    def model_post_init(self, _context: object) -> None:
        """Refuse an objective without a bound, or with bounds on both sides."""
        upper = (self.at_most is not None) + (self.at_most_production is not None)
        lower = (self.at_least is not None) + (self.at_least_production is not None)
        if bool(upper) == bool(lower):
            raise ValueError(
                "an objective needs exactly one bound: at_most or at_least, or, relative to production, at_most_production or "
                "at_least_production; a relative one may stand beside an absolute one of the same side"
            )

    @property
    def is_upper(self) -> bool:
        """Whether smaller is better."""
        return self.at_most is not None or self.at_most_production is not None

    @property
    def absolute(self) -> float | None:
        """The absolute bound, in the unit of the metric."""
        return self.at_most if self.is_upper else self.at_least

    @property
    def relative(self) -> float | None:
        """The bound as a multiple of production's value."""
        return self.at_most_production if self.is_upper else self.at_least_production

    @property
    def bound(self) -> float:
        """What the gate compares with: the absolute bound; the relative one where there is no other."""
        bound = self.absolute if self.absolute is not None else self.relative
        assert bound is not None  # noqa: S101  (held by model_post_init)
        return bound

    def met_by(self, value: float | None) -> bool:
        """Whether `value` keeps the absolute bound; a value that could not be measured (None) never does."""
        if value is None:
            return False
        return self.absolute is None or self.within(value, self.absolute)

    def within(self, value: float, bound: float) -> bool:
        """Whether `value` is on the good side of `bound`."""
        return value <= bound if self.is_upper else value >= bound


_LATENCIES = [f"{name}_p{p}_ms" for name in ("ttft", "ttfo", "itl", "tpot", "e2e") for p in ("50", "90", "95", "99", "999")]
CAPACITY = "capacity_per_s"
COST = "usd_per_million_output_tokens"
ERRORS = "error_rate"
_ERRORS_AT_MOST = 0.01
"""Where a load profile names no bound."""
METRICS = (
    *_LATENCIES,
    ERRORS,
    "requests_per_s",
    "output_tokens_per_s",
    "total_tokens_per_s",
    "goodput_per_s",
    COST,
    CAPACITY,
)
"""Every name that an objective may have: latencies as NAME_pPERCENTILE_ms (p999 is the 99.9th), rates per second, shares from 0 to 1, the
price of a million output tokens, and for the kind `capacity` the rate that it found."""

Rate = Annotated[float, Field(gt=0, le=100_000)]
Clients = Annotated[int, Field(ge=1, le=100_000)]
"""How many requests are under way at once: beyond this the client itself could not be."""
LOOKS_AT_MOST = 5
"""How many times a measurement may be looked at: each doubles it."""
_WORTH_A_LOOK = 1.5
"""How many times as long it must have been measured since the last look: each makes all intervals wider."""
_TIMES_AS_LONG = 4.0
"""How many times as long as duration_s is measured at most, where a profile does not say."""
S3_ADDRESS = r"^s3://[^/]+/.+"
TimestampUnit = Literal["s", "ms", "us", "ns"]
"""What a number counts that says when: of a recorded trace."""
FileAddress = Annotated[str, WithJsonSchema({"type": "string", "pattern": S3_ADDRESS})]
"""`s3://BUCKET/KEY`, or, for a load test that runs here, a path as well. Model files, whose editors read the schema, take S3 addresses only:
`config` refuses the rest."""


class _Profile(Strict):
    """What all load profiles share."""

    sentence: ClassVar[str]
    """The load as the report describes it; `{key}` stands for the profile's own setting."""
    trial_load: ClassVar[str] = "requests at the same time"
    """What differs from trial to trial, where several are made: an axis of the report's figures."""

    prompt_tokens: TokenLengths = 256
    """How long each prompt is, in tokens of the model: by its own tokenizer, where the weights have a tokenizer.json. A number, or a distribution
    that each request draws from: {mean: 512, stddev: 128}, {percentiles: {50: 256, 99: 4096}} or {histogram: {128: 5, 512: 3}}."""
    output_tokens: TokenLengths = 128
    """How many tokens each answer may have: a number, or a distribution, as of prompt_tokens."""
    exact_output: bool = False
    """Whether each answer must have that many (SGLang's ignore_eos), so that runs are comparable."""
    extra_body: ExtraBody = {}
    """What is merged into the JSON of each request: temperature, top_p, response_format, tools, chat_template_kwargs, …; not what the load
    itself sets (model, messages, stream, max_tokens, ignore_eos, …)."""
    shared_prefix: float = Field(default=0.0, ge=0, lt=1)
    """Which share of each prompt is the same in all, as a system prompt is: what a prefix cache can save. Of prompts of several lengths, the shorter
    prefix is the beginning of the longer."""
    turns: int = Field(default=1, ge=1, le=1000)
    """How many messages of the user a chat has; each request carries those before it. 1: no chat."""
    prompts: FileAddress | None = None
    """S3 address of a JSON-lines file of conversations (ShareGPT's form, or {"prompt": …}) to ask instead of synthetic prompts."""
    client: Literal["sagemaker", "openai"] = "sagemaker"
    """Over which API: InvokeEndpointWithResponseStream, or the endpoint's OpenAI path."""
    warmup_s: float = Field(default=5.0, ge=0)
    """Load before the measurement starts; its requests are not counted. Seconds."""
    timeout_s: float = Field(default=60.0, gt=0)
    """A request without an answer after this long is an error. Seconds; SageMaker itself cuts a request at 60 s, a stream at 8 minutes."""
    duration_s: float = Field(gt=0)
    """How long is measured, after the warm-up. Seconds."""
    objectives: dict[str, Objective] = Field(min_length=1)
    """Metric → bound. The gate passes only if every one is met. A request that failed is slower than every bound of a latency, and how many may
    fail is always among the objectives: where error_rate has no absolute bound, at most 0.01. In closed loops, open loops and ladders a latency or
    rate is met when all of its 95 % confidence interval keeps the bound, and missed when none does; between, it is undecided: closed and open loops
    are measured on then, and what is undecided at the end makes the run invalid, with about how much longer it would have to be. A bound relative to
    production is held against the 95 % confidence interval of the ratio in the same way."""

    def model_post_init(self, _context: object) -> None:
        """Bound the share of failed requests: an endpoint that refuses half of its load answers the other half fast."""
        named = self.objectives.get(ERRORS, Objective(at_most=_ERRORS_AT_MOST))
        unbounded = named.is_upper and named.absolute is None  # met by anything while nothing is in production
        self.objectives[ERRORS] = named.model_copy(update={"at_most": _ERRORS_AT_MOST}) if unbounded else named

    @property
    def load(self) -> dict[str, Any]:
        """What is put on, without how it is decided: numbers of the same load are comparable."""
        empty = set() if self.extra_body else {"extra_body"}  # reports from before there was one are of the same load
        return self.model_dump(mode="json", exclude={"objectives", "duration_at_most_s", *empty})

    @property
    def is_relative(self) -> bool:
        """Whether an objective is a multiple of what a baseline measured."""
        return any(objective.relative is not None for objective in self.objectives.values())

    @property
    def longest_request(self) -> int:
        """How many tokens its longest request may have, prompt and answer, with all turns of its chat: of lengths that are drawn, the greatest that
        can be. Those of files are not known here."""
        return self.turns * (longest(self.prompt_tokens) + longest(self.output_tokens))

    @property
    def is_in_blocks(self) -> bool:
        """Whether two servers are put under it in alternating blocks; else one after the other."""
        return False

    @property
    def least_runs(self) -> int:
        """How many times a warm-up and what is measured after it follow one another, at least."""
        return 1

    @property
    def least_s(self) -> float:
        """How long it takes at least, warm-ups included. Seconds."""
        return self.least_runs * (self.warmup_s + self.duration_s)


class MeasuredOn(_Profile):
    """A load that is the same for as long as it is on: where it does not decide, it is measured on."""

    duration_at_most_s: float | None = Field(default=None, gt=0)
    """When everything else is measured, and nothing is missed but something undecided, the load is put on again, for as long as it has been
    measured so far: up to this long in all, at most 16 times duration_s, while the staging endpoint lives, and unless another load stays undecided.
    The intervals are wider for each time that this may happen, so that looking again makes no error of theirs more likely. 4 times duration_s where
    it is not said; the same as duration_s measures once. Seconds."""

    def model_post_init(self, context: object) -> None:
        """Refuse an end before the beginning's, and more looks than there are quantiles for."""
        super().model_post_init(context)
        if self.duration_at_most_s is not None and not 1 <= self.duration_at_most_s / self.duration_s <= 2 ** (LOOKS_AT_MOST - 1):
            raise ValueError(
                f"duration_at_most_s is {self.duration_at_most_s:g}, and must be from duration_s, {self.duration_s:g}, to "
                f"{2 ** (LOOKS_AT_MOST - 1)} times that, {2 ** (LOOKS_AT_MOST - 1) * self.duration_s:g}"
            )

    @property
    def is_in_blocks(self) -> bool:
        """As it is the same for as long as it is on, it can be cut."""
        return True

    @property
    def looks_s(self) -> tuple[float, ...]:
        """How long has been measured, in all, each time that the objectives are looked at. Seconds."""
        most_s = _TIMES_AS_LONG * self.duration_s if self.duration_at_most_s is None else self.duration_at_most_s
        looks = [self.duration_s]
        while 2 * looks[-1] <= most_s:
            looks.append(2 * looks[-1])
        if most_s >= _WORTH_A_LOOK * looks[-1]:
            looks.append(most_s)
        elif len(looks) > 1:
            looks[-1] = most_s
        return tuple(looks)

    @property
    def most_s(self) -> float:
        """How long it takes at most, a warm-up for each time that it is put on included. Seconds."""
        return len(self.looks_s) * self.warmup_s + self.looks_s[-1]


class Scheduled(_Profile, ABC):
    """An open loop whose class says when its requests are due: the runner needs no line for it."""

    @abstractmethod
    def moments(self, seed: int) -> Iterator[float]:
        """Yield when each request is due, in order and without end. Seconds from the beginning of the run, warm-up included."""


class ClosedLoop(MeasuredOn):
    """A fixed number of clients; each sends its next request when its last answer is complete."""

    sentence = "Closed loop: {concurrency} clients, each sends its next request when its last answer is complete"

    kind: Literal["closed_loop"]
    """Which kind of load this is."""
    concurrency: Clients
    """How many clients."""


class Ladder(_Profile):
    """A closed loop at rising concurrencies. Each is reported; the objectives are scored at the last."""

    sentence = "Closed loop at {concurrencies} clients, one after the other; scored at the last"

    kind: Literal["ladder"]
    """Which kind of load this is."""
    concurrencies: list[Clients] = Field(min_length=1)
    """How many clients, one after the other."""
    duration_s: float = Field(gt=0)
    """How long each is measured, after a warm-up each. Seconds."""

    @property
    def least_runs(self) -> int:
        """One at each concurrency."""
        return len(self.concurrencies)


class OpenLoop(MeasuredOn):
    """Requests arrive whether or not the last ones are answered, as those of real users do."""

    sentence = "Open loop: {arrivals} arrivals, {rate_per_s:g} requests a second"

    kind: Literal["open_loop"]
    """Which kind of load this is."""
    arrivals: Literal["constant", "poisson", "gamma"] = "poisson"
    """How they are spaced: evenly, independently, or in bursts."""
    rate_per_s: Rate
    """How many arrive. A second."""
    burstiness: float = Field(default=0.5, gt=0)
    """For gamma: the shape. 1 is Poisson, less is burstier, more is more even."""


class Ramp(_Profile):
    """An open loop whose rate rises (or falls) evenly."""

    sentence = "Open loop that goes from {from_rate_per_s:g} to {to_rate_per_s:g} requests a second"

    kind: Literal["ramp"]
    """Which kind of load this is."""
    from_rate_per_s: Rate
    """The rate at the beginning, and during the warm-up. Requests a second."""
    to_rate_per_s: Rate
    """The rate at the end. Requests a second."""


class Replay(_Profile):
    """A recorded trace, request by request: when, how long the prompt, how long the answer. It has no warm-up but its own beginning."""

    sentence = "Replay of {trace} at {speed:g} times its speed"

    kind: Literal["replay"]
    """Which kind of load this is."""
    trace: FileAddress
    """S3 address of a CSV: TIMESTAMP, ContextTokens, GeneratedTokens (Azure's traces) or Timestamp, Request tokens, Response tokens
    (BurstGPT's); or of JSON lines with timestamp, input_length, output_length and hash_ids (Mooncake's). It replaces prompt_tokens and
    output_tokens (with prompts, output_tokens alone), and hash_ids, the blocks that prompts have in common, shared_prefix and turns."""
    speed: float = Field(default=1.0, gt=0)
    """How many times faster than it was recorded."""
    start_s: float = Field(default=0.0, ge=0)
    """Where the replay begins, after the trace's first request, in the trace's own time. Seconds."""
    timestamp_unit: TimestampUnit | None = None
    """What the trace's timestamps count, where they are numbers: s, ms, us, ns. Where it is not said: milliseconds in JSON lines; in a CSV the
    unit of times since 1970, by their size, and else seconds."""
    block_tokens: Tokens = 512
    """How many tokens each of hash_ids stands for: 512 in Mooncake's traces."""
    exact_output: bool = True
    """Whether each answer must be as long as it was recorded (SGLang's ignore_eos): else it is the model that decides what load this is. False for a
    server that refuses ignore_eos."""
    duration_s: float = Field(gt=0)
    """How long is measured, after the warm-up; what the trace has beyond is left out. Seconds."""

    @field_validator("prompt_tokens", "output_tokens")
    @classmethod
    def _lengths_are_the_traces(cls, value: int | Distribution) -> int | Distribution:
        if not isinstance(value, int):
            raise ValueError("a replay's lengths are those of its trace; leave it out")
        return value


class Capacity(_Profile):
    """The highest rate of Poisson or evenly spaced arrivals at which every objective holds: found by doubling, then bisecting."""

    sentence = "Capacity search: the highest rate ({arrivals} arrivals) at which every objective holds"
    trial_load = "requests a second"

    kind: Literal["capacity"]
    """Which kind of load this is."""
    arrivals: Literal["constant", "poisson"] = "poisson"
    """How requests are spaced."""
    start_rate_per_s: Rate
    """The rate tried first. Requests a second."""
    highest_rate_per_s: Rate = 1000.0
    """Where the search ends. Requests a second."""
    precision: float = Field(default=0.03, gt=0, lt=0.5)
    """The search ends when the answer is known to this share."""
    duration_s: float = Field(gt=0)
    """How long each rate is measured, after a warm-up each. Seconds."""

    @property
    def least_runs(self) -> int:
        """The first rate, and the answer once more: it must be met twice."""
        return 2


LoadProfile = Annotated[ClosedLoop | Ladder | OpenLoop | Ramp | Replay | Capacity, Field(discriminator="kind")]
"""Every kind of load profile."""

KINDS: dict[str, type[_Profile]] = {
    get_args(member.model_fields["kind"].annotation)[0]: member for member in get_args(get_args(LoadProfile)[0])
}
"""Kind → its class."""
