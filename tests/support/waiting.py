"""The one wait of all tests: until something holds, with what was last seen when it does not."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Seen = TypeVar("Seen")
HANG_S = 600.0
"""After this long a test is taken for hung. It measures nothing: a busy machine is no reason to fail."""
WHOLE_SYSTEM_S = 2700.0
"""The same for a test of whole systems, which waits for many things one after another."""
_LOOK_S = 0.02


def wait_until(condition: Callable[[], Seen | None], what: str, timeout_s: float = HANG_S) -> Seen:
    """Return the first true value of `condition`, asked every 20 ms.

    Args:
        condition: What is asked; its last value stands in the failure's message.
        what: What is waited for, for the failure's message.
        timeout_s: When to give up. Generous: it is there to end a hang.

    Raises:
        AssertionError: It did not come.
    """
    deadline = time.monotonic() + timeout_s
    while not (seen := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {what}; last seen: {seen!r}")
        time.sleep(_LOOK_S)
    return seen
