"""Running the server once its command is known.

Outside a container `serve` *becomes* the server (`execvp`): signals, exit code and process id are then the server's own
and nothing stands between. As process 1 of a container that does not do: the kernel drops signals for which process 1
has no handler (SGLang has none while it loads weights, which takes minutes), and orphans of SGLang's own children
would stay as zombies. There `serve` stays, starts the server in a process group of its own, passes signals on to the
whole group, reaps, and exits with the server's code, or 128 + n when signal n ended it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from container.errors import LaunchRefused

__all__ = ["become", "run", "supervise"]

_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def run(argv: Sequence[str]) -> NoReturn:
    """Run `argv` as the server: `supervise` as process 1, `become` elsewhere. Raises `LaunchRefused` if it is absent."""
    sys.stdout.flush()
    sys.stderr.flush()
    if os.getpid() == 1:
        raise SystemExit(supervise(argv))
    become(argv)


def become(argv: Sequence[str]) -> NoReturn:
    """Replace this process by `argv`."""
    try:
        os.execvp(argv[0], list(argv))  # noqa: S606 - a list of arguments, no shell
    except OSError as error:
        raise LaunchRefused(f"cannot start {argv[0]}: {error.strerror}") from error


def supervise(argv: Sequence[str]) -> int:
    """Run `argv` as a child in its own process group until it ends, and return the exit code to end with.

    Signals that arrive meanwhile go to the whole group. Orphans adopted as process 1 are reaped as they end.
    """
    # Blocked until the child exists, so that a signal in between is neither lost nor ends this process.
    signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED)
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
        try:
            become(argv)
        except LaunchRefused as error:
            os.write(2, f"serve: {error}\n".encode())
            os._exit(127)
    for number in _FORWARDED:
        signal.signal(number, lambda received, _frame: _signal_group(child, received))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
    return _reap_until(child)


def _signal_group(leader: int, number: int) -> None:
    try:
        os.killpg(leader, number)
    except (ProcessLookupError, PermissionError):
        # Not a group leader yet (it has just been forked), or gone.
        os.kill(leader, number)


def _reap_until(child: int) -> int:
    while True:
        process, status = os.wait()
        if process == child:
            return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
