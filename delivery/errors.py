"""How a step says that it cannot go on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class DeliveryError(Exception):
    """Something failed at run time. The message says what, with which value, and what to do next. Exit code 1."""

    exit_code = 1


class InputError(DeliveryError):
    """The step was given something that can never work; starting it again changes nothing. Exit code 2.

    `key` is the model file's that is to be changed, as in `weights.revision`; None where it is not one key, or not known.
    """

    exit_code = 2

    def __init__(self, message: str, key: str | None = None) -> None:
        super().__init__(message)
        self.key = key


class LedgerBroken(DeliveryError):
    """The ledger's chain does not hold: an event was changed or taken out. The message names the first bad one."""


class LeaseHeld(DeliveryError):
    """Another execution works on the production endpoint; the message says which, and until when it may."""


class LeaseLost(DeliveryError):
    """Another execution took the lease over, or it could not be renewed in time: this one must touch nothing more."""


@contextmanager
def cleaning_up_after(error: DeliveryError) -> Iterator[None]:
    """For what is done because of `error`, which is raised behind the block: a failure in here is put behind it and does not take its place.

    A lost lease goes through as it is: one who lost it has nothing to clean up any more.
    """
    try:
        yield
    except LeaseLost:
        raise
    except DeliveryError as worse:
        raise DeliveryError(f"{error}; {worse}") from error
