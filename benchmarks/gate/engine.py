"""A simulated engine, many runs of it at once: what the coverage of an interval is measured on.

It is an inference engine with continuous batching and chunked prefill mixed into the batch (Sarathi-Serve; SGLang's `enable-mixed-chunk`):

- An iteration makes one token for every request in the batch. It takes a fixed time, a time a request, and a time a prompt token of those
  that it admits, at most two of them: while a long prompt is read, every other request waits for its token.
- Requests that find no place in the batch wait, first come first served.
- Prompts and answers have log-normal lengths. A share of the requests finds most of its prompt in the prefix cache.
- The machine has moods: its speed is an Ornstein-Uhlenbeck process, and every iteration has noise of its own; now and then one takes much
  longer (a garbage collection, a retransmission).
- Each run draws a speed of its own (another host, another neighbour): runs differ more than their parts do.
- Requests fail by themselves, and more often in spells.

Load is open (Poisson arrivals) or closed (so many clients, each sends its next request when its last answer is complete). Nothing here knows
of `loadtest`: what it measures is handed on as arrays.

Runs are computed side by side, one iteration of each at a time, each by its own clock: an iteration of 800 runs costs numpy what one costs
Python.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy

_NOISE_BLOCK = 256
"""Iterations whose noise is drawn together."""
_FAR_S = 1e12
SPEED_NODES = (-math.sqrt(3.0), 0.0, math.sqrt(3.0))
SPEED_WEIGHTS = (1 / 6, 2 / 3, 1 / 6)
"""The speed of a run, in standard deviations, and how often each is drawn: three points with the mean, variance and kurtosis of a normal
distribution (Gauss and Hermite), so that the truth of each can be found once."""


@dataclass(frozen=True)
class Engine:
    """What an engine is like."""

    places: int = 32
    """The largest batch."""
    admitted: int = 2
    """How many requests an iteration takes from the queue at most."""
    iteration_ms: float = 22.0
    request_ms: float = 0.25
    """What each request in the batch adds to an iteration."""
    prompt_token_us: float = 25.0
    prompt_tokens: float = 1000.0
    """Mean; log-normal."""
    prompt_sigma: float = 0.5
    output_tokens: float = 128.0
    """Mean; log-normal."""
    output_sigma: float = 0.6
    cached_requests: float = 0.4
    """Which share of the requests finds its prefix in the cache."""
    cached_tokens: float = 0.75
    """Which share of its prompt that is."""
    mood_sigma: float = 0.03
    mood_s: float = 10.0
    """How long a mood lasts: the relaxation time of the Ornstein-Uhlenbeck process."""
    noise_sigma: float = 0.05
    hiccup_share: float = 0.0005
    """Of the iterations."""
    hiccup_ms: float = 150.0
    run_sigma: float = 0.02
    """The standard deviation of a run's own speed."""
    failures: float = 0.004
    """The share of requests that fail outside of spells."""
    spell_failures: float = 0.06
    spell_every_s: float = 60.0
    spell_s: float = 5.0


@dataclass(frozen=True)
class Load:
    """What is put on it: a rate, or a number of clients."""

    rate_per_s: float = 0.0
    clients: int = 0


@dataclass
class Runs:
    """What was seen of many runs: arrays of requests (run, number) and of iterations (number, run). Seconds, from each run's beginning."""

    due_s: Any
    first_s: Any
    """When the first token came; nan where it did not."""
    ended_s: Any
    tokens: Any
    failed: Any
    iteration_ended_s: Any
    iteration_s: Any
    decoding: Any
    """How many requests got a token after their first from an iteration: each of them waited as long as it took."""


def simulate(
    engine: Engine,
    load: Load,
    *,
    runs: int,
    duration_s: float,
    seed: int,
    speeds: Any = None,
    workload_seed: int | None = None,
) -> Runs:
    """Run the engine so many times, from empty.

    Args:
        engine: What it is like.
        load: What is put on it.
        runs: How many runs.
        duration_s: How long each is. Seconds.
        seed: Of all that is drawn.
        speeds: Each run's own speed, in standard deviations; none: all alike.
        workload_seed: Of arrivals and requests; another simulation with the same is asked the same. None: `seed`.
    """
    source = numpy.random.default_rng(seed)
    workload = source if workload_seed is None else numpy.random.default_rng(workload_seed)
    return _Simulation(engine, load, runs, duration_s, source, workload, speeds).run()


class _Simulation:
    def __init__(self, engine: Engine, load: Load, runs: int, duration_s: float, source: Any, workload: Any, speeds: Any) -> None:
        self._engine, self._load, self._runs, self._duration_s, self._source = engine, load, runs, duration_s, source
        self._workload = workload
        self._rows = numpy.arange(runs)
        self._level = numpy.exp(engine.run_sigma * numpy.asarray(speeds)) if speeds is not None else numpy.ones(runs)
        self._clock = numpy.zeros(runs)
        self._mood = source.standard_normal(runs)
        self._head = numpy.zeros(runs, dtype=numpy.int64)
        self._active = numpy.zeros(runs, dtype=numpy.int64)
        self._left = numpy.zeros((runs, engine.places), dtype=numpy.int16)
        """Tokens to come of the request in each place; 0: empty."""
        self._at = numpy.zeros((runs, engine.places), dtype=numpy.int32)
        """Number of the request in each place."""
        self._arrive()
        count = self._due.shape[1]
        self._tokens = (
            _lognormal(workload, engine.output_tokens, engine.output_sigma, (runs, count)).clip(2, 2000).astype(numpy.int16)
        )
        prompts = _lognormal(workload, engine.prompt_tokens, engine.prompt_sigma, (runs, count)).astype(numpy.float32)
        cached = workload.random((runs, count), dtype=numpy.float32) < engine.cached_requests
        self._prefill_s = prompts * (1 - engine.cached_tokens * cached) * (engine.prompt_token_us / 1e6)
        self._first = numpy.full((runs, count), numpy.nan)
        self._ended = numpy.full((runs, count), numpy.nan)

    def _arrive(self) -> None:
        runs, load = self._runs, self._load
        if load.clients:
            count = int(
                load.clients * (self._duration_s / (self._engine.output_tokens * self._engine.iteration_ms / 1e3) * 1.5 + 20)
            )
            self._due = numpy.full((runs, count), _FAR_S)
            self._due[:, : load.clients] = numpy.sort(self._workload.random((runs, load.clients)), axis=1)
            self._tail = numpy.full(runs, load.clients)
        else:
            mean = load.rate_per_s * self._duration_s
            count = int(mean + 6 * math.sqrt(mean) + 20)
            gaps = self._workload.standard_exponential((runs, count)) / load.rate_per_s
            self._due = numpy.cumsum(gaps, axis=1)
            self._due[:, -1] = _FAR_S

    def run(self) -> Runs:
        ends, lengths, decoding = [], [], []
        while self._clock.min() < self._duration_s:
            for noise in self._noise():
                waiting, length = self._iterate(noise)
                ends.append(self._clock.astype(numpy.float32))
                lengths.append(length.astype(numpy.float32))
                decoding.append(waiting.astype(numpy.uint8))
        return Runs(
            self._due,
            self._first,
            self._ended,
            self._tokens,
            self._failed(),
            numpy.array(ends),
            numpy.array(lengths),
            numpy.array(decoding),
        )

    def _noise(self) -> Any:
        """Draw how much slower than usual each iteration is, and what hiccups add to it. Seconds."""
        engine, shape = self._engine, (_NOISE_BLOCK, self._runs)
        around = numpy.exp(engine.noise_sigma * self._source.standard_normal(shape, dtype=numpy.float32))
        hiccups = (self._source.random(shape, dtype=numpy.float32) < engine.hiccup_share) * (engine.hiccup_ms / 1e3)
        changes = self._source.standard_normal(shape, dtype=numpy.float32)
        return zip(around, hiccups, changes, strict=True)

    def _iterate(self, noise: Any) -> tuple[Any, Any]:
        engine, (around, hiccup, change) = self._engine, noise
        waited = self._active.copy()
        prefill_s = numpy.zeros(self._runs)
        admitted = [found for _ in range(engine.admitted) if len((found := self._admit(prefill_s))[0])]
        is_idle = self._active == 0
        busy_s = engine.iteration_ms / 1e3 + engine.request_ms / 1e3 * self._active + prefill_s
        length = numpy.where(is_idle, 0.0, busy_s * self._level * around * numpy.exp(engine.mood_sigma * self._mood) + hiccup)
        kept = numpy.exp(-length / engine.mood_s)
        self._mood = self._mood * kept + numpy.sqrt(1 - kept**2) * change
        self._clock = numpy.where(
            is_idle, numpy.minimum(self._due[self._rows, self._head], self._duration_s + 1), self._clock + length
        )
        for runs, numbers in admitted:
            self._first[runs, numbers] = self._clock[runs]
        self._finish()
        return waited, length

    def _admit(self, prefill_s: Any) -> tuple[Any, Any]:
        """Take the next request of each run that has one waiting and a place for it."""
        is_due = (self._due[self._rows, self._head] <= self._clock) & (self._active < self._engine.places)
        runs = is_due.nonzero()[0]
        numbers = self._head[runs]
        places = self._left[runs].argmin(axis=1)
        self._left[runs, places] = self._tokens[runs, numbers]
        self._at[runs, places] = numbers
        prefill_s[runs] += self._prefill_s[runs, numbers]
        self._head[runs] += 1
        self._active[runs] += 1
        return runs, numbers

    def _finish(self) -> None:
        runs, places = (self._left == 1).nonzero()
        numpy.maximum(self._left - 1, 0, out=self._left)
        if not len(runs):
            return
        self._ended[runs, self._at[runs, places]] = self._clock[runs]
        counts = numpy.bincount(runs, minlength=self._runs)
        self._active -= counts
        if self._load.clients:
            offsets = numpy.arange(len(runs)) - (numpy.cumsum(counts) - counts)[runs]
            self._due[runs, self._tail[runs] + offsets] = self._clock[runs]
            self._tail += counts

    def _failed(self) -> Any:
        """Draw which requests fail: spells come like arrivals, and last as long each."""
        engine, source = self._engine, self._source
        count = int(self._duration_s / engine.spell_every_s * 2 + 20)
        begins = numpy.cumsum(source.standard_exponential((self._runs, count)) * engine.spell_every_s, axis=1) - engine.spell_s
        failed = numpy.zeros(self._due.shape, dtype=bool)
        for run, (due, begin) in enumerate(zip(self._due, begins, strict=True)):
            last = numpy.searchsorted(begin, due, side="right") - 1
            within = (last >= 0) & (due - begin[numpy.maximum(last, 0)] < engine.spell_s)
            failed[run] = source.random(len(due)) < numpy.where(within, engine.spell_failures, engine.failures)
        return failed


def _lognormal(source: Any, mean: float, sigma: float, shape: tuple[int, int]) -> Any:
    return mean * numpy.exp(sigma * source.standard_normal(shape, dtype=numpy.float32) - sigma**2 / 2)
