"""What is wrong with a file that a person wrote.

Exception
├── ConfigError        a file that cannot be used, with every problem in it; what callers of config catch
└── ValueError
    └── MisplacedValue one value in a section, raised by the checks inside; the loader makes a Problem of it
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

Location = tuple[str | int, ...]
"""The way to a value in a file: keys and list indexes from the top."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where it stands, what it is, what was expected and what to do next."""

    file: Path
    message: str
    line: int | None = None
    column: int | None = None
    """From 1."""
    code: str = "invalid"
    """What kind of mistake it is, for programs: words with dashes."""

    def __str__(self) -> str:
        place = str(self.file) if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.message}"


class ConfigError(Exception):
    """A model or environment file that cannot be used; nothing has been created when it is raised.

    `problems` is never empty; the command prints one a line and exits with 2.
    """

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class MisplacedValue(ValueError):
    """A mistake in one entry of a mapping, found while the whole mapping was checked; `location` leads from there to the entry."""

    def __init__(self, location: Location, message: str) -> None:
        self.location = location
        super().__init__(message)
