"""What holds for every test: Hypothesis without a deadline, AWS's service models parsed once a worker, the longest files first."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import boto3
import pytest
from hypothesis import settings

from tests.support.clients import share_service_models

settings.register_profile("delivery", deadline=None)  # a deadline measures the machine
settings.load_profile("delivery")
share_service_models()

_ROOMS = ("config", "delivery", "loadtest", "pipelines", "steps", "sagemaker_local", "local_hub", "container")
_LONGEST_FIRST = (
    "tests/local/",
    "tests/steps/promote/test_updates.py",
    "tests/steps/evaluate_staging/",
    "tests/steps/promote/",
    "tests/steps/",
    "tests/pipelines/",
    "tests/sagemaker_local/",
    "tests/",
)
"""A file runs whole on one worker (`--dist loadfile`): a long one that came last would leave the other worker idle."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; within a file the order stays."""
    items.sort(key=lambda item: next(place for place, prefix in enumerate(_LONGEST_FIRST) if item.nodeid.startswith(prefix)))


@pytest.fixture(scope="module", autouse=True)
def no_session_of_another_module() -> Iterator[None]:
    """Forget boto3's default session: it keeps the credentials that it found first."""
    yield
    boto3.DEFAULT_SESSION = None


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Take away what a test set up for logging: steps send it to standard output, the command to standard error."""
    root = logging.getLogger()
    handlers = set(root.handlers)
    loggers = [root, *(logging.getLogger(name) for name in _ROOMS)]
    levels = [logger.level for logger in loggers]
    yield
    for handler in root.handlers[:]:
        if handler not in handlers and not type(handler).__module__.startswith("_pytest"):
            root.removeHandler(handler)
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
