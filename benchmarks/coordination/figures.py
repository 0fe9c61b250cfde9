"""From stamps to figures."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Spread:
    """Some values, as one line of a table."""

    p50: float
    most: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the middle and the largest; NaN where there are none."""
        if not values:
            return cls(math.nan, math.nan, 0)
        ordered = sorted(values)
        middle = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
        return cls(middle, ordered[-1], len(ordered))


def of_all(stamps: Sequence[Mapping[int, int]]) -> list[list[int]]:
    """Bring the hosts' moments together: of each start that every host made, in their order, the moment of each host."""
    made = sorted(set.intersection(*map(set, stamps))) if stamps else []
    return [[host[number] for host in stamps] for number in made]


def skews_ms(starts: Sequence[Sequence[int]]) -> list[float]:
    """Return how far apart hosts started: of each start the last host's moment minus the first's. Milliseconds.

    Args:
        starts: Of each start the moment of each host, nanoseconds.
    """
    return [(max(moments) - min(moments)) / 1e6 for moments in starts]


def code_lines(path: Path) -> int:
    """Count the lines of a Python file that hold code: neither blank, nor comment, nor docstring."""
    text = path.read_text(encoding="utf-8")
    prose: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            prose.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = enumerate(text.splitlines(), start=1)
    return sum(bool(line.strip()) and not line.strip().startswith("#") and number not in prose for number, line in lines)
