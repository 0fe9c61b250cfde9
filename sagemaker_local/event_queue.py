"""A queue of the events that SageMaker sends; ``events.rules`` takes them to the account's default bus (moto's)."""

from __future__ import annotations

import json
import logging
import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class SageMakerEvent:
    """An event from ``aws.sagemaker``."""

    region: str
    detail_type: str
    resources: tuple[str, ...]
    detail: dict[str, Any]


class EventQueue:
    """Takes events from any thread and hands them to its listeners, in order, on a thread of its own."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[SageMakerEvent], None]] = []
        self._queue: queue.SimpleQueue[SageMakerEvent | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def listen(self, listener: Callable[[SageMakerEvent], None]) -> None:
        """Call ``listener`` for every event from now on."""
        self._listeners.append(listener)

    def put(self, region: str, detail_type: str, resources: list[str], detail: dict[str, Any]) -> None:
        """Send an event; returns at once. ``detail`` is copied now."""
        event = SageMakerEvent(region, detail_type, tuple(resources), json.loads(json.dumps(detail)))
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="events", daemon=True)
                self._thread.start()
        self._queue.put(event)

    def close(self) -> None:
        """Deliver what was put until now, then stop."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(5.0)

    def _run(self) -> None:
        for event in iter(self._queue.get, None):
            for listener in self._listeners:
                try:
                    listener(event)
                except Exception:
                    _LOGGER.exception("event %s", event.detail_type)
