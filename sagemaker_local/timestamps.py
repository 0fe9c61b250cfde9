"""Times as AWS writes them."""

from __future__ import annotations

import time


def iso(seconds: float) -> str:
    """Return epoch seconds as ``2021-02-24T17:00:14Z``."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def iso_ms(seconds: float) -> str:
    """Return epoch seconds as ``2021-02-24T17:00:14.123Z``.

    >>> iso_ms(1614186014.123)
    '2021-02-24T17:00:14.123Z'
    """
    return f"{iso(seconds)[:-1]}.{int(seconds * 1000) % 1000:03d}Z"
