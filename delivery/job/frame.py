"""The frame around every step: arguments, exit codes, SIGTERM, the failure message that SageMaker shows, logs and progress lines.

A step's `__main__.py` is `sys.exit(frame.main(step_main, sys.argv[1:]))`, where `step_main` takes the arguments and raises `DeliveryError`.
Modules log with `logging.getLogger(__name__)`; the frame sends what they log, from INFO on, to standard output, which is the job's log.
How far a step is goes through `progress`.
"""

from __future__ import annotations

import argparse
import errno
import logging
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from pydantic import ValidationError

from config.schema import Release
from delivery.errors import DeliveryError, InputError
from delivery.job import terminal

logger = logging.getLogger(__name__)

_MESSAGE_LIMIT = 1024  # characters of ExitMessage (API reference of DescribeProcessingJob)
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_OURS = ("config", "delivery", "loadtest", "steps")
"""Whose INFO is in the job's log; of libraries, warnings are."""


class Terminated(BaseException):
    """SIGTERM arrived. A BaseException, like KeyboardInterrupt: `finally` and context managers clean up, `except Exception` does not stop it."""


def main(step: Callable[[Sequence[str]], None], arguments: Sequence[str]) -> int:
    """Run a step and turn how it ended into an exit code.

    A DeliveryError is shown as its message alone; anything else is a bug and keeps its traceback. `--message-file FILE` is taken here,
    from every step's arguments: SageMaker shows that file, /opt/ml/output/message, as the job's ExitMessage.

    Args:
        step: Takes the arguments and does the work.
        arguments: The command line, without the program's name.

    Returns:
        The process's exit code: 0 done, 1 failed, 2 can never work, 143 terminated.

    Example:
        >>> def step(arguments):
        ...     raise InputError(f"there is no model {arguments[0]!r}")
        >>> main(step, ["qwen"])
        2
    """
    own = argparse.ArgumentParser(add_help=False)
    own.add_argument("--message-file", type=Path)
    known, rest = own.parse_known_args(arguments)
    message_file: Path | None = known.message_file
    signal.signal(signal.SIGTERM, _raise_terminated)
    try:
        with _log_to_standard_output():
            step(rest)
    except DeliveryError as error:
        return _fail(str(error), error.exit_code, message_file)
    except Terminated:
        return _fail("terminated by SIGTERM", 128 + signal.SIGTERM, message_file)
    except Exception as error:  # noqa: BLE001  (the last frame: everything must reach the failure message)
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            return _fail(_disk_full(error), 1, message_file)
        traceback.print_exc()
        return _fail(f"{type(error).__name__}: {error}", 1, message_file)
    terminal.end_line()
    return 0


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold SIGTERM back inside: what must be cleaned up is, even when the stop is asked for again while that is under way.

    A SIGTERM that arrived inside takes effect afterwards. Only in the main thread; elsewhere signals do not arrive anyway.

    Raises:
        Terminated: SIGTERM arrived inside.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: arrived.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
    if arrived:
        raise Terminated


def progress(detail: str) -> None:
    """Show how far the step is, as a line that `pipelines.run` shows beside the step: `progress: 45 MB of 98 MB, 120 MB/s`.

    At a terminal it is one line, drawn again each time.

    Args:
        detail: How far it is, without the word `progress`.
    """
    try:
        if sys.stdout.isatty():
            terminal.redraw(detail)
        else:
            print(f"progress: {detail}", flush=True)  # noqa: T201  (standard output is the job's log)
    except OSError as error:  # as on a full disk: a line of a log ends no work
        logger.debug(f"a progress line could not be written: {error}")


def read_release(path: Path) -> Release:
    """Read the resolved model file that the execution was given.

    Args:
        path: release.json.

    Returns:
        The release.

    Raises:
        InputError: The file is not there, or is no release file.
    """
    try:
        return Release.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise InputError(f"{path} is not a release file: {error}") from error


class _JobLog(logging.Handler):
    """Writes each message to standard output, below a progress line that is being drawn."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message. Whatever standard output is now gets it."""
        try:
            terminal.end_line()
            print(self.format(record), flush=True)  # noqa: T201  (standard output is the job's log)
        except Exception:  # noqa: BLE001  (as every handler: what cannot be logged ends no work)
            self.handleError(record)


@contextmanager
def _log_to_standard_output() -> Iterator[None]:
    """Send what modules log inside to standard output."""
    root, handler = logging.getLogger(), _JobLog()
    root.addHandler(handler)
    for name in _OURS:
        logging.getLogger(name).setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)


def _fail(message: str, exit_code: int, message_file: Path | None) -> int:
    terminal.end_line()
    print(f"error: {message}", file=sys.stderr, flush=True)  # noqa: T201
    if message_file is not None:
        try:
            message_file.parent.mkdir(parents=True, exist_ok=True)
            message_file.write_text(message[:_MESSAGE_LIMIT], encoding="utf-8")
        except OSError as unsaid:  # a full disk, as a rule: the log has the message, and the exit code stays what it is
            print(f"{message_file} could not be written: {unsaid}", file=sys.stderr, flush=True)  # noqa: T201
    return exit_code


def _disk_full(error: OSError) -> str:
    return (
        f"there is no room on the disk: {error}; make room (on AWS give the step's job a larger volume), and start the step again: what it "
        "finished before is kept"
    )


def _raise_terminated(_signal: int, _frame: FrameType | None) -> NoReturn:
    """Raise Terminated, once: the cleaning up that this begins is not to be broken off by an impatient second SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Terminated
