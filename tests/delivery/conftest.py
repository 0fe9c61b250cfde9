"""What the frame of a job sets for a process of its own is set back."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator

import pytest


@pytest.fixture
def own_process() -> Iterator[None]:
    """Keep the handlers and levels of logging, and what SIGTERM does."""
    handler, root = signal.getsignal(signal.SIGTERM), logging.getLogger()
    handlers, levels = (
        list(root.handlers),
        {name: logging.getLogger(name).level for name in ("delivery", "steps", "loadtest", "config")},
    )
    yield
    signal.signal(signal.SIGTERM, handler)
    root.handlers = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
