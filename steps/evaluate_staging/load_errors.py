"""Errors of `loadtest` as the step's own: the frame of a job knows no others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from delivery.errors import DeliveryError, InputError
from loadtest.errors import InvalidInput, LoadTestError


@contextmanager
def translate_load_errors() -> Iterator[None]:
    """Raise a load test's error as the step error that has the same exit code.

    Raises:
        InputError: a trace, a prompts file or the tokenizer can never work.
        DeliveryError: a load could not be put on.
    """
    try:
        yield
    except InvalidInput as error:
        raise InputError(str(error)) from error
    except LoadTestError as error:
        raise DeliveryError(str(error)) from error
