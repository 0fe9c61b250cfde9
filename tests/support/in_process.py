"""A process's main function called in this process, as if it were one: starting another takes as long as all that most of them do."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from typing import Any
from unittest import mock

from tests.support.clients import new_default_session


def called(main: Callable[[], None], arguments: list[str], variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Call `main` with a process's arguments and environment variables; what it left. In the main thread, and one at a time."""
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    before = signal.getsignal(signal.SIGTERM)
    with mock.patch.object(sys, "argv", ["run", *arguments]), redirect_stdout(out), redirect_stderr(err):
        try:
            inside(main, variables)
        except SystemExit as ended:
            code = ended.code or 0
        finally:
            signal.signal(signal.SIGTERM, before)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def inside(work: Callable[[], None], variables: Mapping[str, str]) -> None:
    """Call something with these environment variables and no other, and with AWS clients made anew."""
    with mock.patch.dict(os.environ, variables, clear=True), new_default_session():
        work()
