"""What can go wrong in the command itself."""

from __future__ import annotations


class CommandError(Exception):
    """Something went wrong; the message says what and what to do next. `exit_code` is what the command exits with."""

    exit_code = 1


class UsageError(CommandError):
    """What was asked for cannot be done as asked; nothing was changed."""

    exit_code = 2


class ExecutionError(CommandError):
    """An execution failed, or cannot be followed."""


class LocalError(CommandError):
    """What runs on this machine did not start, or is gone."""
