"""What can go wrong in the command, as one tree.

    CommandError                exit code 1: the message says what failed and what to do next
    ├─ UsageError               exit code 2: what was asked for cannot be done as asked; nothing was changed
    ├─ ExecutionError           an execution failed, or cannot be followed
    ├─ LocalError               what runs on this machine did not start, or is gone
    └─ Interrupted              exit code 130: Ctrl-C while an execution was followed; it goes on

A command also ends on errors of other rooms: `config.errors.ConfigError` (a model or environment file is wrong), the tree of
`delivery.errors.DeliveryError`, and botocore's. `pipelines.commands.failures` shows them all.
"""

from __future__ import annotations

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
    """Add to the facts of every CommandError that is raised inside; facts that the error has already stay."""
    try:
        yield
    except CommandError as error:
        error.facts = {**facts, **error.facts}
        raise
