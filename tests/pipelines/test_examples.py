"""The examples in the docstrings of the rooms' doors print what they say."""

from __future__ import annotations

import doctest
import importlib
import os
from unittest import mock

import pytest

DOORS = [
    "pipelines.checks.findings",
    "pipelines.commands.failures",
    "pipelines.definitions.documents",
    "pipelines.next_command",
    "pipelines.planning.differences",
    "pipelines.planning.plan",
    "pipelines.resolution",
    "pipelines.setup.environment_file",
    "pipelines.status.drift",
]


@pytest.mark.parametrize("name", DOORS)
def test_the_example_prints_what_it_says(name: str) -> None:
    with mock.patch.dict(os.environ):
        result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0
