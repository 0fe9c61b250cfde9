"""What a scenario is: an account, one thing that is done to it, and what must hold."""

from __future__ import annotations

import io
import resource
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

from delivery.job import frame
from tests.faults.injector import Injection, Injector
from tests.faults.kinds import Killed
from tests.support.fake_aws import FakeAws
from tests.support.virtual_time import VirtualClock

BY_HAND = ("endpoint-deleted", "endpoint-set-back", "version-deleted", "bucket-emptied")
"""Events that are somebody's doing, whom nothing asks."""
StepMain = Callable[[Sequence[str]], None]


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    exit_code: int
    message: str
    """What SageMaker shows as the job's ExitMessage, or the command's last word."""
    text: str
    """All that it wrote."""


class Scenario(ABC):
    """One thing that is done, on an account of its own. Everything but `prepare` happens in a process that is thrown away."""

    name = ""
    moments: ClassVar[Mapping[str, tuple[str, ...]]] = {"clock-ahead": ("",), "clock-behind": ("",), "disk-full": ("",)}
    """At the last of which calls an event happens; an empty name is the first call of all."""

    def __init__(self, folder: Path, clock: VirtualClock) -> None:
        self.folder, self.clock = folder, clock
        self.injector = Injector()
        self.injector.events = {
            "clock-ahead": lambda: self._set_clock(3600),
            "clock-behind": lambda: self._set_clock(-3600),
            "disk-full": lambda: limit_file_size(0),
        }
        self.aws = FakeAws(layer=self.injector)
        self.aws.now = clock.now

    def _set_clock(self, ahead_s: float) -> None:
        """Let the services' clock be so far ahead of this machine's."""
        self.aws.now = lambda: self.clock.now() + timedelta(seconds=ahead_s)

    @abstractmethod
    def prepare(self) -> None:
        """Make what is there before."""

    def end_of_fault(self) -> None:
        """Let the fault be over: calls are answered, the disk has room again. The clock stays as it is."""
        self.injector.injection = None
        limit_file_size(resource.RLIM_INFINITY)

    def close(self) -> None:
        """End what was started for all cases."""
        return

    @abstractmethod
    def attack(self, execution: str) -> Ended:
        """Do it, each caller's calls on record."""

    def again(self, execution: str) -> Ended:
        """Do it again, the fault being over; `attack`, where nothing else is said."""
        return self.attack(execution)

    @abstractmethod
    def after_attack(self, ended: Ended, injection: Injection | None) -> Iterator[str]:
        """Yield what is wrong after a run with that fault."""

    @abstractmethod
    def after_all(self, ended: Ended) -> Iterator[str]:
        """Yield what is wrong after the run without a fault that followed."""


def empty_bucket(aws: FakeAws, bucket: str) -> None:
    """Delete everything in it."""
    s3 = aws.client("s3")
    for found in s3.list_objects_v2(Bucket=bucket)["Contents"]:
        s3.delete_object(Bucket=bucket, Key=found["Key"])


def limit_file_size(size_bytes: int) -> None:
    """Let this process write no file that is longer."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # an OSError instead, as of a full disk
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))


def run_step(main: StepMain, arguments: Sequence[str], folder: Path) -> Ended:
    """Run a step in this process, in the frame of every job."""
    message = folder / "message"
    message.unlink(missing_ok=True)
    written = io.StringIO()
    before = signal.getsignal(signal.SIGTERM)
    try:
        with redirect_stdout(written), redirect_stderr(written):
            code = frame.main(main, [*arguments, "--message-file", str(message)])
    except Killed:
        code = 128 + signal.SIGKILL
    finally:
        signal.signal(signal.SIGTERM, before)
    text = written.getvalue()
    if "could not be written" in text:  # then the log alone has it
        return Ended(code, text[text.rfind("error: ") :], text)
    return Ended(code, message.read_text() if message.exists() else "", text)
