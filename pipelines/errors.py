"""What can go wrong in the command itself, and how it says so."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class CommandError(Exception):
    """Something went wrong; the message says what and what to do next. `exit_code` is what the command exits with.

    `facts` is what is known all the same, by the names that the command's `--json` has when all goes well.
    """

    exit_code = 1

    def __init__(self, message: str, facts: dict[str, Any] | None = None) -> None:
        self.facts = facts or {}
        super().__init__(message)


class UsageError(CommandError):
    """What was asked for cannot be done as asked; nothing was changed."""

    exit_code = 2


class ExecutionError(CommandError):
    """An execution failed, or cannot be followed."""


class LocalError(CommandError):
    """What runs on this machine did not start, or is gone."""


class Interrupted(CommandError):
    """A person pressed Ctrl-C while an execution was followed. It goes on."""

    exit_code = 130


@contextmanager
def attach_facts(facts: dict[str, Any]) -> Iterator[None]:
    """Add to the facts of what fails in here."""
    try:
        yield
    except CommandError as error:
        error.facts = {**facts, **error.facts}
        raise


def failed(error: Exception, *, as_json: bool) -> int | None:
    """Say on standard error what went wrong; with `--json` also as one JSON object on standard output: what is known, and `error`.

    Returns the exit code: 1 at run time, 2 for bad input. None, and nothing is said, when it is a bug, whose traceback is what is needed.
    """
    lines, exit_code = _said(error)
    if not lines:
        return None
    before = "\n" if isinstance(error, Interrupted) else "error: "
    print(*(before + line for line in lines), sep="\n", file=sys.stderr)
    if as_json:
        facts = error.facts if isinstance(error, CommandError) else {}
        print(json.dumps({**facts, "error": "\n".join(lines)}))
    return exit_code


def _said(error: Exception) -> tuple[list[str], int]:
    from config.errors import ConfigError
    from delivery.errors import StepError

    if isinstance(error, ConfigError):
        return [str(problem) for problem in error.problems], 2
    if isinstance(error, CommandError | StepError):
        return [str(error)], error.exit_code
    if not type(error).__module__.startswith("botocore."):
        return [], 1
    from pipelines.setup import local

    return [local.ended(error) or f"AWS refused or could not be reached: {error}"], 1
