"""What is printed: calls by faults, tried and survived, and of each loss what it was and the command that shows it again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tests.faults.kinds import FAULTS
from tests.faults.runner import Result

_COMMAND = "python -m tests.faults"
_ALL = "all"


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
    """A line for each scenario with its calls, a column for each fault: how many cases were survived, and of how many where some were not."""
    tried, lost = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    calls: dict[str, set[tuple[str, str, str]]] = {}
    for result in results:
        scenario, injection = result.case.scenario, result.case.injection
        for row in (scenario, _ALL):
            calls.setdefault(row, set()).add((scenario, injection.caller, injection.call))
            for column in (injection.fault, _ALL):
                tried[row, column] += 1
                lost[row, column] += bool(result.problems)
    rows = [*(row for row in calls if row != _ALL), *([_ALL] if calls else [])]
    columns = [fault for fault in FAULTS if tried[_ALL, fault]] + [_ALL]
    head = ["", "calls", *columns]
    lines = [[row, str(len(calls[row])), *(_cell(tried[row, column], lost[row, column]) for column in columns)] for row in rows]
    widths = [max(len(line[place]) for line in [head, *lines]) for place in range(len(head))]
    return "\n".join(_line(line, widths) for line in [head, *lines])


def _cell(tried: int, lost: int) -> str:
    if not tried:
        return "-"
    return f"{tried - lost}/{tried}" if lost else str(tried)


def _line(cells: list[str], widths: list[int]) -> str:
    name, *more = (
        cell.rjust(width) if place else cell.ljust(width) for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join([name, *more])
