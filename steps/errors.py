"""How a step says that it cannot go on."""

from __future__ import annotations


class StepError(Exception):
    """Something failed at run time. The message says what, with which value, and what to do next. Exit code 1."""

    exit_code = 1


class InputError(StepError):
    """The step was given something that can never work; starting it again changes nothing. Exit code 2."""

    exit_code = 2
