"""Running the server once its command is known.

Outside a container `serve` *becomes* the server (`execvp`): signals, exit code and process id are then the server's own
and nothing stands between. As process 1 of a container that does not do: the kernel drops signals for which process 1
has no handler (SGLang has none while it loads weights, which takes minutes), and orphans of SGLang's own children
would stay as zombies. There `serve` stays, passes signals on to the server, reaps, and exits with the server's code, or
128 + n when signal n ended it.

Signals go to the server alone, never to its children: on SIGTERM SGLang's main process finishes the requests that it
has and then ends its schedulers itself, which have no handler and would die with those requests in hand
(`sigterm_watchdog` in sglang/srt/managers/tokenizer_manager.py; sgl-project/sglang pull request 35202). SageMaker gives
it 30 seconds before SIGKILL ("Custom Inference Code with Hosting Services", SageMaker developer guide).
"""

from __future__ import annotations

import contextlib
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
    """Run `argv` as a child until it ends, and return the exit code to end with.

    Signals that arrive meanwhile go to the child. Orphans adopted as process 1 are reaped as they end.
    """
    # Blocked for good, and taken one by one: a handler of Python's runs between two of its instructions, so that a signal which
    # arrives just before a wait begins would be passed on only when the server has ended by itself.
    taken = {*_FORWARDED, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, taken)
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)  # a terminal's Ctrl-C reaches this process alone, and so the server's children neither
        signal.pthread_sigmask(signal.SIG_SETMASK, before - taken)
        try:
            become(argv)
        except LaunchRefused as error:
            os.write(2, f"serve: {error}\n".encode())
            os._exit(127)
    while True:
        number = signal.sigwait(taken)
        if number != signal.SIGCHLD:
            _pass_on(child, number)
        elif (status := _reap(child)) is not None:
            return _exit_code(status)


def _pass_on(child: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has just ended, and so will this process
        os.kill(child, number)


def _reap(child: int) -> int | None:
    """Reap what has ended, one signal for many perhaps; return the wait status of `child` if it is among them."""
    while True:
        process, status = os.waitpid(-1, os.WNOHANG)
        if process == child:
            return status
        if process == 0:
            return None


def _exit_code(status: int) -> int:
    """Say how the server ended, for whoever reads the container's last lines, and return the exit code that says the same."""
    if os.WIFEXITED(status):
        code = os.WEXITSTATUS(status)
        sys.stderr.write(f"serve: the server ended with code {code}\n")
        return code
    number = os.WTERMSIG(status)
    sys.stderr.write(f"serve: the server was ended by signal {number} ({signal.strsignal(number)})\n")
    return 128 + number
