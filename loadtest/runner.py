"""Load profiles, run: from what a profile says to what was measured."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from typing import TypeVar

from loadtest import interleaving
from loadtest.capacity import RateResult, search
from loadtest.errors import OutOfTime
from loadtest.generator import arrivals
from loadtest.generator.arrivals import ScheduledRequest
from loadtest.generator.load import Load
from loadtest.generator.worker_pool import WorkerPool
from loadtest.inputs import LoadInputs
from loadtest.measurement.measurement import Measurement
from loadtest.measurement.models import ProfileResult, Trial
from loadtest.measurement.scoring import is_undecided, is_worth_more, may_still_pass
from loadtest.measurement.steady_state import SteadyState
from loadtest.profiles import (
    CAPACITY,
    COST,
    LOOKS_AT_MOST,
    Capacity,
    ClosedLoop,
    Ladder,
    LoadProfile,
    MeasuredOn,
    Objective,
    OpenLoop,
    Ramp,
    Replay,
    Scheduled,
)
from loadtest.transports import Transport

Scored = TypeVar("Scored", bound=ProfileResult)
_OTHER_ARRIVALS = 1_000_003
"""What is added to the seed each time that a load is put on again: it has other arrivals, also than any other profile's."""
_OTHER_BLOCKS = 1009
"""What is added to it for each block of one."""


@dataclass
class ProfileRun:
    """What running a profile gave."""

    measurement: Measurement
    """What the objectives are scored on."""
    trials: list[Trial] = field(default_factory=list)
    extra_metrics: dict[str, float | None] = field(default_factory=dict)
    """Metrics that no single run measures."""
    baseline: ProfileRun | None = None
    """What the baseline measured meanwhile; None where it was not asked."""

    def extend(self, later: ProfileRun) -> None:
        """Take what was measured later of the same load."""
        self.measurement.extend(later.measurement)
        if self.baseline is not None and later.baseline is not None:
            self.baseline.extend(later.baseline)


@dataclass(frozen=True)
class _Asked:
    """What a server was asked so far: another that starts from there is asked the same."""

    loads: int = 0
    dealt_to: Mapping[Path, int] = field(default_factory=dict)
    """Where the recorded prompts that were asked end."""

    def merged(self, other: _Asked) -> _Asked:
        """Return what neither of two servers was asked beyond: from there on both are asked the same, and none what it knows."""
        files = {*self.dealt_to, *other.dealt_to}
        dealt = {file: max(self.dealt_to.get(file, 0), other.dealt_to.get(file, 0)) for file in files}
        return _Asked(max(self.loads, other.loads), dealt)


@dataclass
class Runner:
    """Runs load profiles over a pool of client processes, one after the other, so that they do not measure each other."""

    pool: WorkerPool
    transport: Callable[[LoadProfile], Transport]
    inputs: LoadInputs
    until_s: float = math.inf
    """When the endpoint expires, on the monotonic clock: the failures of one that was deleted under a load would look like the model's."""
    expiring: str = "endpoint"
    """What expires then, in the words of whoever reads it."""
    remedy: str = "let it live longer"
    """What to do about that."""
    lag_at_most_ms: float = math.inf
    """A client later than this is the bottleneck."""
    seed: str = ""
    """What prompts are made of: runs with the same ask the same, so a server that knows an earlier run's needs another."""
    baseline: Runner | None = None
    """Puts the same on another server, in alternating blocks (`interleaving`), where an objective is relative to it; None: there is no other."""
    _asked: _Asked = field(default_factory=_Asked)
    _known_prompts: str = ""
    """How a load of this profile was answered from what was asked before."""

    def run(self, profile: LoadProfile, seed: int, on_progress: Callable[[str], None], *, reserved_s: float = 0.0) -> ProfileRun:
        """Put one profile's load on, once.

        Args:
            profile: what is put on.
            seed: of an open loop's arrivals.
            on_progress: gets a line for people about once a second.
            reserved_s: how much of the endpoint's life others need after it: without time for another go its intervals need not allow for one.
                Seconds.

        Returns:
            What was measured. Where there is no time for it, it says so, and decides nothing.
        """
        if self.baseline is not None:
            self._asked = self.baseline._asked = self._asked.merged(self.baseline._asked)
        self._known_prompts, asked_before = "", self._asked
        load, outcome = self._common(profile), ProfileRun(Measurement.of((0, profile.duration_s), 0, []))
        try:
            match profile:
                case ClosedLoop() | OpenLoop():
                    self._first_go(profile, outcome, seed, on_progress, reserved_s)
                case Ladder():
                    self._ladder(profile, load, outcome, on_progress)
                case Capacity():
                    self._capacity(profile, load, outcome, seed, on_progress)
                case _:
                    due = self._schedule(profile, load.window_s[1], seed)
                    outcome.measurement = self._measure(replace(load, schedule=due), on_progress)
        except OutOfTime as error:
            outcome.measurement.invalid_reason = str(error)
        if not profile.is_in_blocks and not outcome.measurement.invalid_reason and (baseline := self._baseline_of(profile)):
            baseline._asked = asked_before
            outcome.baseline = baseline.run(profile, seed, _prefixed("the baseline", on_progress))
        outcome.measurement.invalid_reason = outcome.measurement.invalid_reason or self._known_prompts
        return outcome

    def measure_undecided(
        self,
        profiles: Mapping[str, LoadProfile],
        runs: Mapping[str, ProfileRun],
        score: Callable[[str], Scored],
        progress_of: Callable[[str], Callable[[str], None]],
    ) -> dict[str, Scored]:
        """Put closed and open loops that decide nothing yet on again, as long as all loads may still pass and there is time.

        Args:
            profiles: name → what was put on, all of them, in the order in which it was.
            runs: name → what `run` measured; gets what is measured now.
            score: scores what was measured of a name so far.
            progress_of: gives for a name what gets a line for people about once a second.

        Returns:
            Name → the score of all that was measured.
        """
        scores = {name: score(name) for name in runs}
        for seed, (name, profile) in enumerate(profiles.items()):
            if not may_still_pass(scores.values()) or any(
                is_undecided(scores[other]) and not _can_go_on(profiles[other], run.measurement) for other, run in runs.items()
            ):
                break
            while is_worth_more(scores[name]):
                went_on = self._go_on(profile, runs[name], seed, progress_of(name))
                scores[name] = score(name)  # also where it did not: the advice says why
                if not went_on:
                    return scores
        return scores

    def _go_on(self, profile: LoadProfile, run: ProfileRun, seed: int, on_progress: Callable[[str], None]) -> bool:
        """Put a load on once more, unless it is none that can be, it was on as long as it may, or there is no time."""
        measured = run.measurement
        if not isinstance(profile, ClosedLoop | OpenLoop) or not _can_go_on(profile, measured):
            return False
        duration_s = profile.looks_s[measured.looked] - measured.duration_s
        on_go = _prefixed("undecided, measuring on", on_progress)
        try:
            baseline = self.baseline if run.baseline is not None else None
            if self.until_s - time.monotonic() < _whole_s(profile, duration_s, baseline):
                raise OutOfTime
            further = self._for(profile, duration_s, seed + _OTHER_ARRIVALS * measured.looked, on_go, baseline)
        except OutOfTime:
            measured.longer_by = self.remedy
            return False
        run.extend(further)
        measured.looked += 1
        return True

    def _first_go(
        self,
        profile: ClosedLoop | OpenLoop,
        outcome: ProfileRun,
        seed: int,
        on_progress: Callable[[str], None],
        reserved_s: float,
    ) -> None:
        """Put a load on for its `duration_s`; its intervals allow for as many looks as there is time for."""
        baseline, left_s, looks, before_s = self._baseline_of(profile), self.until_s - time.monotonic(), 0, 0.0
        if left_s < _whole_s(profile, profile.duration_s, baseline):
            baseline = None  # there is no time for both
        left_s -= reserved_s
        for until_s in profile.looks_s:
            left_s -= _whole_s(profile, until_s - before_s, baseline)
            looks, before_s = looks + (left_s >= 0), until_s
        found = self._for(profile, profile.duration_s, seed, on_progress, baseline)
        outcome.measurement, outcome.baseline = found.measurement, found.baseline
        measured = outcome.measurement
        measured.looks = max(1, looks)
        if measured.looks < len(profile.looks_s):
            measured.longer_by = self.remedy
        elif 1 < measured.looks < LOOKS_AT_MOST:
            measured.longer_by = "duration_at_most_s"
        if outcome.baseline is not None:
            outcome.baseline.measurement.looks = measured.looks

    def _for(
        self,
        profile: ClosedLoop | OpenLoop,
        duration_s: float,
        seed: int,
        on_progress: Callable[[str], None],
        baseline: Runner | None,
    ) -> ProfileRun:
        """Put a load on for so long, alone or in blocks that alternate with the baseline's."""
        if baseline is None:
            return ProfileRun(self._measure(self._stretch(profile, duration_s, seed), on_progress))
        baseline._known_prompts = ""
        found: dict[bool, Measurement] = {}
        for number, block_s in enumerate(interleaving.blocks(profile, duration_s)):
            self._asked = baseline._asked = self._asked.merged(baseline._asked)
            for is_own in (True, False) if number % 2 == 0 else (False, True):
                runner, words = (self, "") if is_own else (baseline, "the baseline, ")
                block = runner._stretch(profile, block_s, seed + _OTHER_BLOCKS * number)
                measured = runner._measure(block, _prefixed(f"{words}block {number + 1}", on_progress))
                if is_own in found:
                    found[is_own].extend(measured)
                else:
                    found[is_own] = measured
        found[False].invalid_reason = found[False].invalid_reason or baseline._known_prompts
        return ProfileRun(found[True], baseline=ProfileRun(found[False]))

    def _baseline_of(self, profile: LoadProfile) -> Runner | None:
        """Return who asks the baseline; None where there is none, or no objective of the profile is relative to it."""
        return self.baseline if profile.is_relative else None

    def _stretch(self, profile: ClosedLoop | OpenLoop, duration_s: float, seed: int) -> Load:
        """Return the load for so long."""
        stretch = replace(self._common(profile), duration_s=duration_s)
        if isinstance(profile, ClosedLoop):
            return replace(stretch, concurrency=profile.concurrency)
        return replace(stretch, schedule=self._schedule(profile, stretch.window_s[1], seed))

    def _measure(self, load: Load, on_progress: Callable[[str], None]) -> Measurement:
        left_s, needed_s = self.until_s - time.monotonic(), load.window_s[1]
        if needed_s > left_s:
            raise OutOfTime(
                f"the {self.expiring} expires in {left_s:.0f} s and this load takes {needed_s:.0f} s: it was not put on ({self.remedy})"
            )
        asked, file = self._asked, load.prompts_file
        seed = f"{self.seed}/{asked.loads + 1}"  # no two loads ask the same
        fresh = replace(load, seed=seed, common_seed=seed, prompts_from=asked.dealt_to.get(file, 0) if file else 0)
        measurement = self.pool.measure(fresh, on_progress)
        dealt = {file: max(fresh.prompts_from, measurement.prompts_to)} if file else {}
        self._asked = _Asked(asked.loads + 1, {**asked.dealt_to, **dealt})
        self._known_prompts = self._known_prompts or measurement.known_prompts
        return measurement

    def _common(self, profile: LoadProfile) -> Load:
        return Load(
            transport=self.transport(profile),
            timeout_s=profile.timeout_s,
            prompt_tokens=profile.prompt_tokens,
            output_tokens=profile.output_tokens,
            warmup_s=profile.warmup_s,
            duration_s=profile.duration_s,
            exact_output=profile.exact_output,
            extra_body=profile.extra_body,
            shared_prefix=profile.shared_prefix,
            turns=profile.turns,
            tokenizer_file=self.inputs.tokenizer,
            prompts_file=self.inputs.required(profile.prompts) if profile.prompts else None,
        )

    def _schedule(self, profile: OpenLoop | Ramp | Replay | Scheduled, end_s: float, seed: int) -> tuple[ScheduledRequest, ...]:
        """Make the whole schedule, warm-up included."""
        match profile:
            case OpenLoop():
                return _until(end_s, arrivals.of_kind(profile.arrivals, profile.rate_per_s, profile.burstiness, seed))
            case Ramp():
                rates = profile.from_rate_per_s, profile.to_rate_per_s
                return _until(end_s, arrivals.ramp(*rates, profile.warmup_s, profile.duration_s))
            case Replay():
                return self.inputs.replayed(profile).schedule
            case Scheduled():
                return _until(end_s, profile.moments(seed))

    def _ladder(self, profile: Ladder, load: Load, outcome: ProfileRun, on_progress: Callable[[str], None]) -> None:
        for concurrency in profile.concurrencies:
            on_trial = _prefixed(f"at {concurrency}", on_progress)
            outcome.measurement = self._measure(replace(load, concurrency=concurrency), on_trial)
            outcome.trials.append(self._trial(concurrency, outcome.measurement, profile.objectives))

    def _capacity(
        self, profile: Capacity, load: Load, outcome: ProfileRun, seed: int, on_progress: Callable[[str], None]
    ) -> None:
        objectives = {name: bound for name, bound in profile.objectives.items() if name not in {CAPACITY, COST}}
        trials = outcome.trials

        def trial(rate: float) -> RateResult:
            due = _until(load.window_s[1], arrivals.of_kind(profile.arrivals, rate, 1.0, seed + len(trials)))
            on_trial = _prefixed(f"at {rate:.4g} requests/s", on_progress)
            outcome.measurement = self._measure(replace(load, schedule=due), on_trial)
            settled = SteadyState(outcome.measurement)
            keeps_up = settled.keeps_up(varies=profile.arrivals == "poisson")
            trials.append(self._trial(rate, outcome.measurement, objectives, keeps_up=keeps_up))
            return RateResult(trials[-1].met, settled.completed_per_s)

        found = search(trial, profile.start_rate_per_s, profile.highest_rate_per_s, profile.precision)
        outcome.extra_metrics[CAPACITY] = found
        outcome.measurement.invalid_reason = outcome.measurement.invalid_reason or _ended_by_the_client(trials, found or 0.0)

    def _trial(
        self, load: float, measurement: Measurement, objectives: Mapping[str, Objective], *, keeps_up: bool = True
    ) -> Trial:
        metrics = measurement.metrics(objectives)
        met = keeps_up and all(objective.met_by(metrics[name]) for name, objective in objectives.items())
        return Trial(
            load=load,
            met=met,
            metrics=metrics,
            bottleneck=measurement.client(self.lag_at_most_ms).bottleneck,
            cached_share=measurement.prompt_cache.share,
        )


def _whole_s(profile: ClosedLoop | OpenLoop, duration_s: float, baseline: Runner | None) -> float:
    """Return how long a load may keep the endpoint: its last request may come at its very end, and take until it times out. Seconds."""
    if baseline is not None:
        return interleaving.takes_s(profile, duration_s) + profile.timeout_s
    return profile.warmup_s + duration_s + profile.timeout_s


def _can_go_on(profile: LoadProfile, measured: Measurement) -> bool:
    """Tell whether a load may be put on again: those that are the same as long as they are on, and only so many times."""
    return isinstance(profile, MeasuredOn) and measured.looked < measured.looks


def _ended_by_the_client(trials: Sequence[Trial], found: float) -> str:
    """Why the rate that was found is the client's, not the endpoint's: at the next one that was tried the client was the bottleneck. Empty
    when it was not."""
    above = [trial for trial in trials if not trial.met and trial.load > found]
    ended = [trial for trial in above if trial.load == min(one.load for one in above)]
    if not ended or not all(trial.bottleneck for trial in ended):
        return ""
    return f"the search ended below {ended[0].load:.4g} requests/s, and there {ended[0].bottleneck}"


def _until(end_s: float, moments: Iterator[float]) -> tuple[ScheduledRequest, ...]:
    return tuple(ScheduledRequest(at_s) for at_s in takewhile(lambda at_s: at_s < end_s, moments))


def _prefixed(prefix: str, on_progress: Callable[[str], None]) -> Callable[[str], None]:
    return lambda detail: on_progress(f"{prefix}: {detail}")
