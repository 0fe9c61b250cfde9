"""The examples in the docstrings of delivery's rooms say what happens."""

from __future__ import annotations

import doctest
import importlib
import logging
import pkgutil

import pytest

import delivery

MODULES = [found.name for found in pkgutil.walk_packages(delivery.__path__, "delivery.")]
ROOMS = {"aws", "endpoint", "history", "hub", "job", "registry", "weights"}


def examples(name: str) -> list[doctest.DocTest]:
    found = doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name))
    return [test for test in found if test.examples]


@pytest.mark.usefixtures("own_process")
@pytest.mark.parametrize("name", [name for name in MODULES if examples(name)])
def test_an_example_is_what_happens(name: str) -> None:
    logging.disable(logging.CRITICAL)  # a job's frame, called in this process by another test, logs to standard output
    try:
        ran = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    finally:
        logging.disable(logging.NOTSET)
    assert ran.attempted > 0
    assert ran.failed == 0


def test_each_room_has_an_example_at_its_door() -> None:
    assert {name.split(".")[1] for name in MODULES if examples(name)} >= ROOMS
