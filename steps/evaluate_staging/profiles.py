"""Load profiles, run: from what the model file says of one to what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path

from config.load_profiles import CAPACITY, COST, Capacity, ClosedLoop, Ladder, LoadProfile, OpenLoop, Ramp, Replay
from steps import s3
from steps.errors import InputError
from steps.evaluate_staging import arrivals
from steps.evaluate_staging.arrivals import Due
from steps.evaluate_staging.capacity import Answer, search
from steps.evaluate_staging.fleet import Fleet
from steps.evaluate_staging.load import Load
from steps.evaluate_staging.measurement import Measurement
from steps.evaluate_staging.models import Trial
from steps.evaluate_staging.scoring import all_met
from steps.evaluate_staging.transports import Transport

_BACKLOG_SHARE = 0.03
"""An endpoint that ends a trial with this share of its requests more unanswered than half-way does not keep up."""
_BACKLOG_REQUESTS = 3
_BACKLOG_DEVIATIONS = 3
"""With independent arrivals the number of unanswered requests varies by itself: by its square root, as Poisson's distribution does."""


@dataclass
class Materials:
    """The files that loads are made of, fetched from S3 once."""

    client: s3.S3Client
    folder: Path
    weights_prefix: str
    _found: dict[str, Path | None] = field(default_factory=dict)

    @property
    def tokenizer(self) -> Path | None:
        """The model's tokenizer.json; None where the weights have none (GGUF keeps it inside)."""
        return self._file(f"{self.weights_prefix}tokenizer.json")

    def required(self, uri: str) -> Path:
        """A file that the model file names; InputError when it is not there."""
        found = self._file(uri)
        if found is None:
            raise InputError(f"{uri} is not there; the model file names it as a load profile's trace or prompts")
        return found

    def _file(self, uri: str) -> Path | None:
        if uri not in self._found:
            body = s3.read(self.client, s3.S3Uri.parse(uri))
            path = self.folder / f"{len(self._found)}-{uri.rsplit('/', 1)[1]}"
            if body is not None:
                path.write_bytes(body)
            self._found[uri] = path if body is not None else None
        return self._found[uri]


@dataclass
class Outcome:
    """What running a profile gave."""

    measurement: Measurement
    """What the objectives are scored on."""
    trials: list[Trial] = field(default_factory=list)
    more: dict[str, float | None] = field(default_factory=dict)
    """Metrics that no single run measures."""


@dataclass
class Runner:
    """Runs load profiles over a fleet of client processes, one after the other, so that they do not measure each other."""

    fleet: Fleet
    transport: Callable[[LoadProfile], Transport]
    materials: Materials

    def run(self, profile: LoadProfile, seed: int, on_progress: Callable[[str], None]) -> Outcome:
        """Put one profile's load on."""
        load = self._common(profile, seed)
        match profile:
            case ClosedLoop():
                return Outcome(self.fleet.measure(replace(load, concurrency=profile.concurrency), on_progress))
            case Ladder():
                return self._ladder(profile, load, on_progress)
            case Capacity():
                return self._capacity(profile, load, seed, on_progress)
            case _:
                return Outcome(self.fleet.measure(replace(load, dues=self._dues(profile, seed)), on_progress))

    def _common(self, profile: LoadProfile, seed: int) -> Load:
        return Load(
            transport=self.transport(profile),
            timeout_s=profile.timeout_s,
            prompt_tokens=profile.prompt_tokens,
            output_tokens=profile.output_tokens,
            warmup_s=profile.warmup_s,
            duration_s=profile.duration_s,
            exact_output=profile.exact_output,
            shared_prefix=profile.shared_prefix,
            turns=profile.turns,
            seed=seed,
            tokenizer_file=self.materials.tokenizer,
            prompts_file=self.materials.required(profile.prompts) if profile.prompts else None,
        )

    def _dues(self, profile: OpenLoop | Ramp | Replay, seed: int) -> tuple[Due, ...]:
        """The whole schedule, warm-up included."""
        end_s = profile.warmup_s + profile.duration_s
        match profile:
            case OpenLoop():
                return _until(end_s, _arrivals(profile.arrivals, profile.rate_per_s, profile.burstiness, seed))
            case Ramp():
                rates = profile.from_rate_per_s, profile.to_rate_per_s
                return _until(end_s, arrivals.ramp(*rates, profile.warmup_s, profile.duration_s))
            case Replay():
                text = self.materials.required(profile.trace).read_text(encoding="utf-8-sig")
                return tuple(due for due in arrivals.replay(text, profile.speed, profile.trace) if due.at_s < end_s)

    def _ladder(self, profile: Ladder, load: Load, on_progress: Callable[[str], None]) -> Outcome:
        trials: list[Trial] = []
        for concurrency in profile.concurrencies:
            measurement = self.fleet.measure(replace(load, concurrency=concurrency), _prefixed(f"at {concurrency}", on_progress))
            metrics = measurement.metrics(profile.objectives)
            trials.append(Trial(load=concurrency, met=all_met(measurement, profile.objectives), metrics=metrics))
        return Outcome(measurement, trials)

    def _capacity(self, profile: Capacity, load: Load, seed: int, on_progress: Callable[[str], None]) -> Outcome:
        objectives = {name: bound for name, bound in profile.objectives.items() if name not in {CAPACITY, COST}}
        trials: list[Trial] = []
        last: Measurement | None = None

        def trial(rate: float) -> Answer:
            nonlocal last
            due = _until(load.window_s[1], _arrivals(profile.arrivals, rate, 1.0, seed + len(trials)))
            last = self.fleet.measure(replace(load, dues=due), _prefixed(f"at {rate:.4g} requests/s", on_progress))
            settled = Settled(last)
            met = all_met(last, objectives) and settled.keeps_up(varies=profile.arrivals == "poisson")
            trials.append(Trial(load=rate, met=met, metrics=last.metrics(objectives)))
            return Answer(met, settled.completed_per_s)

        found = search(trial, profile.start_rate_per_s, profile.highest_rate_per_s, profile.precision)
        assert last is not None  # noqa: S101  (the search tries at least once)
        return Outcome(last, trials, {CAPACITY: found})


class Settled:
    """An open loop once answers come: at its beginning, long ones are all still under way."""

    def __init__(self, measurement: Measurement) -> None:
        self._results, self._end_ns = measurement.results, measurement.end_ns
        self._middle_ns = (measurement.begin_ns + measurement.end_ns) // 2
        ended = (result.ended_ns for result in measurement.results if result.is_ok)
        self._completed_ns = sorted(moment for moment in ended if measurement.begin_ns <= moment < measurement.end_ns)

    @property
    def completed_per_s(self) -> float:
        """How many requests were completed, from the first that was. A second."""
        if not self._completed_ns:
            return 0.0
        return (len(self._completed_ns) - 1) * 1e9 / (self._end_ns - self._completed_ns[0])

    def keeps_up(self, *, varies: bool) -> bool:
        """Whether about as many requests are unanswered at its end as in its middle: an endpoint that cannot keep up shows here before
        its latencies have grown past a bound. `varies`: arrivals are independent."""
        due = sum(self._middle_ns <= result.intended_ns < self._end_ns for result in self._results)
        before, after = self._unanswered(self._middle_ns), self._unanswered(self._end_ns)
        allowed = max(_BACKLOG_REQUESTS, _BACKLOG_SHARE * due, _BACKLOG_DEVIATIONS * before**0.5 if varies else 0)
        return after - before <= allowed

    def _unanswered(self, moment_ns: int) -> int:
        return sum(result.intended_ns <= moment_ns < result.ended_ns for result in self._results)


def _arrivals(kind: str, rate_per_s: float, burstiness: float, seed: int) -> Iterator[float]:
    made: dict[str, Callable[[], Iterator[float]]] = {
        "constant": lambda: arrivals.constant(rate_per_s),
        "poisson": lambda: arrivals.poisson(rate_per_s, seed),
        "gamma": lambda: arrivals.gamma(rate_per_s, burstiness, seed),
    }
    return made[kind]()


def _until(end_s: float, moments: Iterator[float]) -> tuple[Due, ...]:
    return tuple(Due(at_s) for at_s in takewhile(lambda at_s: at_s < end_s, moments))


def _prefixed(prefix: str, on_progress: Callable[[str], None]) -> Callable[[str], None]:
    return lambda detail: on_progress(f"{prefix}: {detail}")
