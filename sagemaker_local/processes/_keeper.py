"""Ends every process group it was told of once its standard input closes: when the server is gone, however it went.

Started as ``python -I -S _keeper.py``; reads lines ``+PGID`` and ``-PGID``. It stays outside the server's session, so that
what ends the server does not end it.
"""

import os
import signal
import sys
import time

GRACE_S = 2.0


def main() -> None:
    """Read until end of file, then end what is left: SIGTERM, a grace, SIGKILL."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        if line[0] == "+":
            groups.add(group)
        else:
            groups.discard(group)
    if not groups:
        return
    for group in groups:
        _send(group, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_S
    while time.monotonic() < deadline and any(_send(group, 0) for group in groups):
        time.sleep(0.05)
    for group in groups:
        _send(group, signal.SIGKILL)


def _send(group: int, number: int) -> bool:
    """Signal a process group; False when it is gone."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    main()
