"""The simulated engine: a batch with a limited number of places, and tokens at their times.

Every request keeps a schedule of its own, in absolute times of the event loop's clock, so lateness of one token never
shifts the next. There is no task a request and none a token: a token is one timer, one write, and the next timer, which
is what lets 256 streams run on a fraction of a core.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import json
import os
import random
import sys
import time
from collections.abc import Callable
from typing import TextIO

from container.engines.chat import ChatError, ChatRequest, Sink, Usage
from container.engines.http import Exchange
from container.engines.metrics import Metrics
from container.engines.simulated.prefix_cache import PrefixCache
from container.engines.simulated.settings import Settings
from container.errors import EngineError

__all__ = ["Simulated"]

_WORDS = """
    a the of to in is that it for on as with was by at from this are be or an but not which one all were we when your can
    there use how each she do their time if will way about many then them write would like so these her long make thing
    see him two has look more day could go come did number sound no most people my over know water than call
""".split()  # noqa: SIM905 - a list of literals would be a page long


_POOL_TOKENS = 262_144
"""What the KV cache has room for where `--max-total-tokens` does not say. It is counted, and limits nothing."""


class Simulated:
    """Answers by `Settings`, as an `Engine` (see `container.engines.surface`)."""

    name = "simulated"

    def __init__(
        self,
        settings: Settings,
        context_length: int | None,
        *,
        reports_cache: bool = False,
        max_total_tokens: int | None = None,
    ) -> None:
        self.metrics = Metrics()
        self.metrics.pool_tokens = max_total_tokens or _POOL_TOKENS
        self.settings = settings
        self.cache = PrefixCache(settings.cache_tokens)
        self.reports_cache = reports_cache
        self.max_model_len = context_length or 131072
        self.tokens_planned = 0
        self.ready_at = 0.0
        self._arrived = 0
        self._running: set[_Stream] = set()
        self._waiting: collections.deque[_Stream] = collections.deque()
        self._record: TextIO | None = None

    async def load(self) -> None:
        """Become ready after `load_s`, or never, or end as `crash_at_start` says."""
        if self.settings.crash_at_start:
            raise EngineError("crash at start, as the simulation asks (crash_at_start)")
        if self.settings.record:
            self._record = open(self.settings.record, "a", encoding="utf-8", buffering=1)  # noqa: ASYNC230, SIM115, PTH123
        await asyncio.sleep(self.settings.load_s)
        if self.settings.never_healthy:
            await asyncio.Event().wait()
        self.ready_at = asyncio.get_running_loop().time()

    def submit(self, request: ChatRequest, sink: Sink) -> Callable[[], None]:
        """Take a request into the batch, or into the queue when the batch is full."""
        settings = self.settings
        self._arrived += 1
        number = self._arrived
        if settings.crash_after_requests and number > settings.crash_after_requests:
            sys.stderr.write(f"simulated: crash after {settings.crash_after_requests} requests, as the simulation asks\n")
            sys.stderr.flush()
            os._exit(1)
        failing = settings.error_after_requests and number > settings.error_after_requests
        if failing or (settings.error_every and number % settings.error_every == 0):
            raise ChatError("an error that the simulation asks for", 500, "InternalServerError")
        stream = _Stream(self, number, request, sink)
        if stream.usage_prompt + stream.total > self.max_model_len:
            raise ChatError(
                f"the request asks for {stream.usage_prompt} prompt and {stream.total} completion tokens;"
                f" the context length is {self.max_model_len}"
            )
        self._waiting.append(stream)
        self._fill()
        return stream.cancel

    def finished(self, stream: _Stream, stamps: list[int]) -> None:
        """Give the place of a stream that has ended, one way or another, to the next in the queue."""
        if stream in self._running:
            self._running.discard(stream)
            self.metrics.used_tokens -= stream.usage_prompt + len(stamps)
        else:
            self._waiting.remove(stream)
        if self._record is not None:
            line = {"request": stream.number, "received_ns": stream.request.received_ns, "sent_ns": stamps}
            self._record.write(json.dumps(line) + "\n")
        self._fill()

    def itl_s(self) -> float:
        """Seconds between two tokens now, before jitter."""
        settings = self.settings
        others = max(0, len(self._running) - 1)
        return (settings.itl_ms + settings.itl_per_running_ms * others) * settings.latency_factor / 1000

    def after_pause(self, due: float) -> float:
        """`due`, or the end of the pause in which it would fall."""
        if not self.settings.pause_ms:
            return due
        start = self.ready_at + self.settings.pause_after_s
        end = start + self.settings.pause_ms / 1000
        return end if start <= due < end else due

    async def close(self) -> None:
        """Close the record."""
        if self._record is not None:
            self._record.close()

    def control(self, exchange: Exchange) -> bool:
        """`PATCH /simulated/settings` changes settings from the next request on and answers with all of them."""
        if exchange.path != "/simulated/settings":
            return False
        try:
            changes = json.loads(exchange.body or b"{}")
            self.settings = self.settings.changed(changes, "PATCH /simulated/settings")
            if "cache_tokens" in changes:
                self.cache = PrefixCache(self.settings.cache_tokens)
        except (EngineError, ValueError) as error:
            exchange.respond_json(400, {"object": "error", "message": str(error), "type": "BadRequestError", "code": 400})
            return True
        exchange.respond_json(200, dataclasses.asdict(self.settings))
        return True

    def _fill(self) -> None:
        while self._waiting and len(self._running) < self.settings.max_running:
            stream = self._waiting.popleft()
            self._running.add(stream)
            stream.start()
        self.metrics.running, self.metrics.queued = len(self._running), len(self._waiting)


class _Stream:
    """One request's answer, token by token."""

    def __init__(self, engine: Simulated, number: int, request: ChatRequest, sink: Sink) -> None:
        self.number = number
        self.request = request
        self._prompt = request.text.split()
        self.usage_prompt, self._cached = len(self._prompt), 0
        self._engine = engine
        self._settings = engine.settings
        self._sink = sink
        self._random = random.Random(f"{engine.settings.seed}/{number}")  # noqa: S311 - must repeat, not be secret
        self._tokens, self._natural = self._plan()
        self.total = len(self._tokens)
        self._sent = 0
        self._due = 0.0
        self._stamps: list[int] = []
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def _plan(self) -> tuple[list[str], bool]:
        """Return the words of the answer, and whether it ends by itself rather than at the limit."""
        settings, text = self._settings, self.request.text
        limit = self.request.max_tokens or settings.default_max_tokens
        if settings.empty_output:
            return [], True
        known = next((answer for part, answer in settings.answers.items() if part in text), None)
        if known is not None:
            words = known.split()
        else:
            # The same prompt gets the same words, whatever else runs: an answer is a function of seed and prompt.
            source = random.Random(f"{settings.seed}/{text}")  # noqa: S311
            words = source.choices(_WORDS, k=settings.output_tokens or limit)
        kept = words[:limit]
        natural = len(words) <= limit and (known is not None or settings.output_tokens > 0)
        return [word if place == 0 else " " + word for place, word in enumerate(kept)], natural

    def start(self) -> None:
        """Take the place in the batch: the first token is due after the time to first token."""
        settings, cache = self._settings, self._engine.cache
        self._cached = cache.match(self._prompt)
        fresh = self.usage_prompt - self._cached
        self._engine.metrics.prefilled(self._cached, fresh)
        self._engine.metrics.used_tokens += self.usage_prompt
        seconds = (settings.ttft_ms + settings.ttft_per_prompt_token_us * fresh / 1000) / 1000
        self._schedule(self._loop.time(), seconds * settings.latency_factor)

    def cancel(self) -> None:
        """Drop a request whose client has gone."""
        if self._timer is not None:
            self._timer.cancel()
        self._engine.metrics.aborted += 1
        self._engine.finished(self, self._stamps)

    def _schedule(self, base: float, seconds: float) -> None:
        settings, engine = self._settings, self._engine
        if settings.jitter:
            seconds *= 1 + settings.jitter * self._random.uniform(-1, 1)
        if settings.stall_ms and self._stalls():
            seconds += settings.stall_ms / 1000
        self._due = engine.after_pause(base + seconds)
        self._timer = self._loop.call_at(self._due, self._step)

    def _stalls(self) -> bool:
        settings = self._settings
        if settings.stall_every_tokens:
            self._engine.tokens_planned += 1
            return self._engine.tokens_planned % settings.stall_every_tokens == 0
        return self._sent + 1 == settings.stall_at_token

    def _step(self) -> None:
        settings = self._settings
        if self._sent == self.total:
            self._finish()
            return
        self._sent += 1
        if self._sent == 1:
            self._engine.cache.keep(self._prompt)
        text = self._tokens[self._sent - 1]
        if settings.invalid_utf8 and self._sent == 2:
            text += "\udcff"
        now = time.monotonic_ns()
        self._stamps.append(now)
        self._engine.metrics.used_tokens += 1
        self._sink.token(text, f'"sent_monotonic_ns":{now}' if settings.stamp else "")
        cut = settings.truncate_after_tokens
        if cut and self._sent == cut and self.number % settings.truncate_every == 0:
            self._sink.abort()
            self._engine.finished(self, self._stamps)
        elif self._sent == self.total:
            self._finish()
        else:
            self._schedule(self._due, self._engine.itl_s())

    def _finish(self) -> None:
        reason = self._settings.finish_reason or ("stop" if self._natural else "length")
        self._engine.cache.keep([*self._prompt, *map(str.strip, self._tokens)])
        self._sink.finish(reason, Usage(self.usage_prompt, self.total, self._cached if self._engine.reports_cache else 0))
        self._engine.finished(self, self._stamps)
