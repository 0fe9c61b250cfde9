"""The examples in the docstrings of sagemaker_local's rooms say what happens, and its tree of errors is whole."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import sagemaker_local
from sagemaker_local import errors

MODULES = [
    found.name
    for found in pkgutil.walk_packages(sagemaker_local.__path__, "sagemaker_local.")
    if not found.name.rpartition(".")[2].startswith("_")
]
ROOMS = {"api", "cloudwatch", "events", "hosting", "jobs", "logs", "pipelines", "processes", "registry", "state"}


def examples(name: str) -> list[doctest.DocTest]:
    found = doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name))
    return [test for test in found if test.examples]


@pytest.mark.parametrize("name", [name for name in MODULES if examples(name)])
def test_an_example_is_what_happens(name: str) -> None:
    ran = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert ran.attempted > 0
    assert ran.failed == 0


def test_each_room_has_an_example_at_its_door() -> None:
    assert {name.split(".")[1] for name in MODULES if examples(name)} >= ROOMS


def test_every_exception_is_in_the_one_tree_and_drawn_there() -> None:
    for name in MODULES:
        importlib.import_module(name)
    drawn = errors.__doc__ or ""

    def descendants(kind: type[Exception]) -> set[type[Exception]]:
        return {kind} | {found for below in kind.__subclasses__() for found in descendants(below)}

    own = {kind for kind in descendants(Exception) if kind.__module__.startswith("sagemaker_local")}
    assert own == descendants(errors.SagemakerLocalError)
    assert {kind.__name__ for kind in own if f" {kind.__name__} " not in f"{drawn.replace(chr(10), ' ')} "} == set()
