"""A step that a test started as a process: its log, its end."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar


@dataclass
class StartedStep:
    """One start of a step."""

    END_WITHIN_S: ClassVar[float] = 60
    SAY_WITHIN_S: ClassVar[float] = 40

    process: subprocess.Popen[str]
    output: Path
    log: Path

    def wait(self, timeout_s: float | None = None) -> int:
        return self.process.wait(timeout_s or self.END_WITHIN_S)

    @property
    def text(self) -> str:
        return self.log.read_text()

    def wait_for(self, words: str, timeout_s: float | None = None) -> None:
        """Until the step's log has these words."""
        deadline = time.monotonic() + (timeout_s or self.SAY_WITHIN_S)
        while words not in self.text:
            assert self.process.poll() is None and time.monotonic() < deadline, f"never said {words!r}:\n{self.text}"
            time.sleep(0.02)
