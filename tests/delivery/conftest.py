"""What a test changes of its process is set back."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator

import pytest

from tests.support.clients import new_default_session


@pytest.fixture(autouse=True)
def own_session() -> Iterator[None]:
    """Let no test have the credentials of another: boto3 keeps those that it found first."""
    with new_default_session():
        yield


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
