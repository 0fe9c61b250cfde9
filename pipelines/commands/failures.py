"""How a subcommand's failure is shown: one message on standard error, and an exit code. A bug keeps its traceback."""

from __future__ import annotations

import json
import sys

from botocore.exceptions import BotoCoreError, ClientError

from config.errors import ConfigError
from delivery.errors import DeliveryError
from pipelines.errors import CommandError, Interrupted
from pipelines.setup.local import stack

USER_ERRORS = (ConfigError, CommandError, DeliveryError, ClientError, BotoCoreError)
"""The exceptions that are no bugs: `describe` has words for each."""


def report(error: Exception, *, as_json: bool) -> int | None:
    """Print to standard error what went wrong; with `as_json` also one JSON object to standard output: the known facts, and `error`.

    Returns:
        The exit code: 1 at run time, 2 for bad input, 130 after Ctrl-C. None, and nothing is printed, for a bug: its traceback is needed.
    """
    if not isinstance(error, USER_ERRORS):
        return None
    lines, exit_code = describe(error)
    before = "\n" if isinstance(error, Interrupted) else "error: "
    print(*(before + line for line in lines), sep="\n", file=sys.stderr)
    if as_json:
        facts = error.facts if isinstance(error, CommandError) else {}
        print(json.dumps({**facts, "error": "\n".join(lines)}))
    return exit_code


def describe(error: Exception) -> tuple[list[str], int]:
    """Return the messages of one of USER_ERRORS, one a problem, and the exit code that it stands for.

    >>> from pipelines.errors import UsageError
    >>> describe(UsageError("there is no version 7"))
    (['there is no version 7'], 2)
    """
    if isinstance(error, ConfigError):
        return [str(problem) for problem in error.problems], 2
    if isinstance(error, CommandError | DeliveryError):
        return [str(error)], error.exit_code
    return [stack.explain_lost_connection(error) or f"AWS refused or could not be reached: {error}"], 1
