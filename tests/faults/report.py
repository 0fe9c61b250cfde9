"""What is printed: a line for each scenario, and of each loss what it was and the command that shows it again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tests.faults.runner import Result

_HEAD = ("scenario", "calls", "cases", "survived", "lost")
_COMMAND = "python -m tests.faults"


def losses(results: Sequence[Result]) -> list[str]:
    """Of each loss what it was, and how to see it again."""
    return [
        "\n".join(
            [f"LOST {result.case.id}", *(f"     {problem}" for problem in result.problems), f"     {_COMMAND} {result.case.id}"]
        )
        for result in results
        if result.problems
    ]


def table(results: Sequence[Result]) -> str:
    """A line for each scenario, and what all of them come to."""
    cases, lost = Counter[str](), Counter[str]()
    calls: dict[str, set[tuple[str, str]]] = {}
    for result in results:
        name = result.case.scenario
        cases[name] += 1
        lost[name] += bool(result.problems)
        calls.setdefault(name, set()).add((result.case.injection.caller, result.case.injection.call))
    rows = [(name, len(calls[name]), number, number - lost[name], lost[name]) for name, number in cases.items()]
    rows.append(("all", sum(map(len, calls.values())), cases.total(), cases.total() - lost.total(), lost.total()))
    return "\n".join(f"{row[0]:<18}" + "".join(f"{cell!s:>10}" for cell in row[1:]) for row in (_HEAD, *rows))


def by_fault(results: Sequence[Result]) -> str:
    """How many cases of each fault were tried and survived."""
    tried, survived = Counter[str](), Counter[str]()
    for result in results:
        tried[result.case.injection.fault] += 1
        survived[result.case.injection.fault] += not result.problems
    return ", ".join(f"{fault} {survived[fault]} of {number}" for fault, number in tried.items())
