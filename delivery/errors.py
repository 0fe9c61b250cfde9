"""The errors of this package, which the steps and the command share.

DeliveryError           something failed at run time: exit code 1
├─ InputError           what was given can never work; starting again changes nothing: exit code 2
├─ TransientError       may be gone the next time: it is retried, and never leaves `delivery.hub` otherwise
├─ LedgerBroken         the ledger's chain does not hold: an event was tampered with
├─ DecisionOvertaken    somebody else decided about the version meanwhile: nothing was changed
├─ ChangedByHand        somebody changed the production endpoint while a promotion looked it over: what serves now is their choice
├─ LeaseHeld            another execution works on the production endpoint
├─ LeaseLost            another execution took the lease over: this one must touch nothing more
└─ HostLost             another host of the same job failed or fell silent (`steps.evaluate_staging.coordination`)

A message names the thing, the value, what was expected and the next action. `loadtest` has a tree of its own (`loadtest.errors`), which
`steps.evaluate_staging.load_errors` translates; `config` has `ConfigError`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager


class DeliveryError(Exception):
    """Something failed at run time. The message says what, with which value, and what to do next. Exit code 1."""

    exit_code = 1


class InputError(DeliveryError):
    """What was given can never work; starting again changes nothing. Exit code 2.

    `key` is the model file's that is to be changed, as in `weights.revision`; None where it is not one key, or not known.
    """

    exit_code = 2

    def __init__(self, message: str, key: str | None = None) -> None:
        super().__init__(message)
        self.key = key


class TransientError(DeliveryError):
    """A failure that may be gone the next time: retryable. `retry_after_s` is the server's own word on when, in seconds."""

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class LedgerBroken(DeliveryError):
    """The ledger's chain does not hold: an event was changed or taken out. The message names the first bad one."""


class DecisionOvertaken(DeliveryError):
    """Somebody else decided about the version meanwhile; the message says who, when and what stands now."""


class ChangedByHand(DeliveryError):
    """Somebody gave the endpoint another config, or deleted it, while a promotion looked it over: what serves now is their choice."""


class LeaseHeld(DeliveryError):
    """Another execution works on the production endpoint; the message says which, and until when it may."""


class LeaseLost(DeliveryError):
    """Another execution took the lease over, or it could not be renewed in time: this one must touch nothing more."""


class HostLost(DeliveryError):
    """Another host of the same job failed or fell silent; the message says which, and what it said last."""


@contextmanager
def cleaning_up_after(error: DeliveryError) -> Iterator[None]:
    """Clean up because of `error`, which is raised behind the block: whatever fails in here is put behind it and does not take its place.

    A lost lease goes through as it is: one who lost it has nothing to clean up any more.

    Args:
        error: Why there is something to clean up.

    Raises:
        DeliveryError: `error` and the failure in here, in one message; of the kind that `error` is, with its exit code.
        LeaseLost: The lease was lost in here.

    Example:
        >>> try:
        ...     with cleaning_up_after(DeliveryError("the update failed")):
        ...         raise DeliveryError("the alarm could not be deleted")
        ... except DeliveryError as both:
        ...     print(both)
        the update failed; the alarm could not be deleted
    """
    try:
        yield
    except LeaseLost:
        raise
    except Exception as worse:  # noqa: BLE001  (whatever it is, the cause comes first)
        raise followed_by(error, worse) from error


def followed_by(error: DeliveryError, more: object) -> DeliveryError:
    """Return the error with what came of it behind its message; of the same kind, with its exit code.

    Args:
        error: The cause, which comes first.
        more: What is to be known, too.
    """
    both = copy.copy(error)
    both.args = (f"{error}; {more}",)
    return both
