"""`check`: what is wrong with model and environment files, from the files alone. For editors, the hook before a commit, and CI.

It loads neither boto3 nor SageMaker's SDK: every file of the project takes less than a second of CPU.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from config.errors import ConfigError, Problem
from config.loader import ENVIRONMENTS, MODELS, find_model, inspect_environment, inspect_model
from config.reading.source import MAX_FILE_BYTES

_OF_ENVIRONMENTS = frozenset({"region", "account_id", "bucket", "roles"})
"""Keys at the top of environment files that no model file has."""


@dataclass(frozen=True)
class CheckedProblem:
    """One problem, as `--json` prints it."""

    file: str
    line: int | None
    """From 1; None: the file as a whole."""
    column: int | None
    """From 1."""
    code: str
    """What kind of mistake it is: words with dashes."""
    severity: Literal["error", "warning"]
    message: str


def check(files: list[str], *, as_json: bool) -> None:
    """Print every problem of the files; exit code 2 when one is an error.

    Args:
        files: Model and environment files, or models' names; empty: all of config/models and config/environments.
        as_json: Print one JSON object.
    """
    paths = (
        [find_model(name) for name in files] if files else [*sorted(MODELS.glob("*.yaml")), *sorted(ENVIRONMENTS.glob("*.yaml"))]
    )
    found = [problem for path in paths for problem in problems(path)]
    errors = sum(problem.severity == "error" for problem in found)
    if as_json:
        facts = {"files": [str(path) for path in paths], "problems": [asdict(problem) for problem in found]}
        wrong = [_line(problem) for problem in found if problem.severity == "error"]
        print(json.dumps({**facts, **({"error": "\n".join(wrong)} if wrong else {})}, indent=2, ensure_ascii=False))
    else:
        print(*map(_line, found), sep="\n", end="\n" if found else "")
        print(f"{len(paths)} files: {errors} errors, {len(found) - errors} warnings", file=sys.stderr)
    if errors:
        sys.exit(2)


def problems(path: Path) -> list[CheckedProblem]:
    """Return what is wrong with one file, and what of it is worth a thought.

    Args:
        path: A model file or an environment file; its folder or its keys tell which.
    """
    inspect = inspect_environment if _is_environment(path) else inspect_model
    try:
        warnings = inspect(path)[2]
    except ConfigError as error:
        return [_checked(problem, "error") for problem in error.problems]
    return [_checked(problem, "warning") for problem in warnings]


def _is_environment(path: Path) -> bool:
    if path.resolve().parent == ENVIRONMENTS.resolve():
        return True
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            beginning = file.read(MAX_FILE_BYTES)  # a longer file is neither
    except OSError:
        return False
    return bool({line.partition(":")[0] for line in beginning.splitlines() if line[:1].isalpha()} & _OF_ENVIRONMENTS)


def _checked(problem: Problem, severity: Literal["error", "warning"]) -> CheckedProblem:
    return CheckedProblem(str(problem.file), problem.line, problem.column, problem.code, severity, problem.message)


def _line(problem: CheckedProblem) -> str:
    place = ":".join(str(part) for part in (problem.file, problem.line, problem.column) if part is not None)
    return f"{place}: {problem.severity}: {problem.message} [{problem.code}]"
