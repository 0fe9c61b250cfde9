"""The faults that `make mutants` makes, and whether it tells a suite that notices from one that does not."""

from __future__ import annotations

import doctest

import pytest

from tooling import mutations
from tooling.mutants import TESTS
from tooling.mutations import mutants_of


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(mutations).failed == 0


@pytest.mark.parametrize(
    ("source", "faults"),
    [
        ("x = a < b", ["a < b → a <= b", "a < b → a >= b"]),
        ("x = a and (not b)", ["a and (not b) → a or not b", "not b → b"]),
        ("x: Annotated[int, Field(ge=1)] = 2", ["2 → 3", "1 → 2"]),
        ("def f() -> dict[str, int]:\n    return {'a': b}", ["return {'a': b} → return {}", "'a' → 'a?'"]),
        ("def f():\n    raise ValueError('never mind')", ["raise ValueError('never mind') → pass"]),
        ("if ready():\n    begin()", ["if ready(): begin() → if not ready(): begin()", "begin() → pass"]),
        ("_TAIL = 1.6", ["1.6 → 9.600000000000001"]),
    ],
)
def test_a_fault_in_each_place_that_decides(source: str, faults: list[str]) -> None:
    assert [mutant.what for mutant in mutants_of(source)] == faults


def test_words_for_people_and_types_are_left_alone() -> None:
    source = '"""Words."""\n__all__ = ["f"]\ndef f(a: Literal["x"]) -> "int":\n    """Do it."""\n    log.info("at %s", 3)\n    g = f"{a} is 4"\n'
    assert list(mutants_of(source)) == []


def test_each_mutant_is_the_whole_module_with_one_fault() -> None:
    [first, second] = mutants_of("x = 1\ny = 2\n")
    assert (first.line, first.source) == (1, "x = 2\ny = 2")
    assert (second.line, second.source) == (2, "x = 1\ny = 3")


def test_the_modules_that_decide_are_all_tried() -> None:
    assert {"config.updates", "delivery.endpoint.lease", "loadtest.measurement.confidence"} <= TESTS.keys()
