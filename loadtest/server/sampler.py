"""Samples a server's metrics page every second, in a thread beside the load: never in the processes that measure latencies.

It is a decoration. Whatever the page does, the load goes on and is judged as without it; what went wrong is a note.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple, Self

from loadtest.errors import HttpError, MalformedPage
from loadtest.measurement.measurement import Measurement
from loadtest.measurement.models import ServerMetrics
from loadtest.server.gauges import PageReader
from loadtest.server.page import MetricsPage
from loadtest.server.series import summarize

_log = logging.getLogger(__name__)
EVERY_S = 1.0
_KEPT = 50_000
"""Samples that are kept, the newest: 14 hours of them."""
_TRIES = 5
"""How many times a page is asked for that never came."""
_LONGEST_PAUSE_S = 30.0
_FAILURE_CHARACTERS = 200
_END_S = 2.0
"""How long the end of a load test waits for the thread. It is a daemon: what hangs in it hangs nobody."""


class ServerSample(NamedTuple):
    """What a page said."""

    at_ns: int
    """When, on the monotonic clock: between the request and the end of the answer."""
    values: dict[str, float]
    """By the names of `GAUGES`."""


class MetricsSampler:
    """The sampler of one page. A context manager: it samples until its end."""

    def __init__(self, url: str) -> None:
        """`url` is the page's, as `metrics_address` gives it."""
        self.url = url
        self._samples: deque[ServerSample] = deque(maxlen=_KEPT)
        self._asked, self._failed, self._failure = 0, 0, ""
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="server metrics", daemon=True)
        self._sampling: tuple[asyncio.AbstractEventLoop, asyncio.Task[None]] | None = None
        self._is_over = False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._is_over = True
        if self._sampling is not None:
            loop, task = self._sampling
            with suppress(RuntimeError):  # it has ended by itself
                loop.call_soon_threadsafe(task.cancel)
        self._thread.join(_END_S)

    def measured(self, measurement: Measurement) -> ServerMetrics:
        """Return what was sampled in the time of a measurement, and what went wrong."""
        with self._lock:
            samples, note = list(self._samples), self._note()
        return summarize(samples, measurement, self.url, EVERY_S, note)

    def _note(self) -> str:
        if not self._failed:
            return "" if self._samples else "no page has come yet"
        stopped = "; it was asked no more" if not self._samples and self._failed >= _TRIES else ""
        return f"{self._failed} of {self._asked} times there was no page to read, the last time: {self._failure}{stopped}"

    def _run(self) -> None:
        try:
            with suppress(asyncio.CancelledError):
                asyncio.run(self._sample())
        except Exception as error:  # noqa: BLE001  (of any kind: no load fails for it)
            self._note_failure(f"{type(error).__name__}: {error}")
            _log.debug("the sampling of %s ended", self.url, exc_info=True)

    async def _sample(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  (this runs in one)
        self._sampling = asyncio.get_running_loop(), task
        page, reader = MetricsPage(self.url), PageReader()
        in_a_row = 0
        try:
            while not self._is_over and (self._samples or self._asked < _TRIES):
                began_s = time.monotonic()
                in_a_row = 0 if await self._ask(page, reader) else in_a_row + 1
                await asyncio.sleep(_pause_s(time.monotonic() - began_s, in_a_row))
        finally:
            page.close()

    async def _ask(self, page: MetricsPage, reader: PageReader) -> bool:
        """Ask once; False where there was nothing to read."""
        began_ns = time.monotonic_ns()
        self._asked += 1
        try:
            values = reader.read(await page.fetch())
        except (HttpError, MalformedPage) as error:
            self._note_failure(str(error))
            return False
        if not values:
            self._note_failure("it has none of SGLang's and vLLM's gauges")
            return False
        with self._lock:
            self._samples.append(ServerSample((began_ns + time.monotonic_ns()) // 2, values))
        return True

    def _note_failure(self, failure: str) -> None:
        with self._lock:
            self._failed += 1
            self._failure = " ".join(failure.split())[:_FAILURE_CHARACTERS]


def _pause_s(took_s: float, failures: int) -> float:
    """Return how long to wait for the next page: no page takes more than half of the time, and one that fails is asked for less and less."""
    if failures:
        return min(EVERY_S * 2.0 ** min(failures, 10), _LONGEST_PAUSE_S)
    return max(EVERY_S - took_s, took_s)
