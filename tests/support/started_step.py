"""A step that a test started as a process: its log, its end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.support.forked import ForkedProcess
from tests.support.waiting import HANG_S, wait_until


@dataclass
class StartedStep:
    """One start of a step."""

    process: ForkedProcess
    output: Path
    log: Path

    def wait(self, timeout_s: float = HANG_S) -> int:
        return self.process.wait(timeout_s)

    @property
    def text(self) -> str:
        return self.log.read_text()

    def wait_for(self, words: str) -> None:
        """Until the step's log has these words."""
        wait_until(lambda: words in self.text or self.process.poll() is not None, f"the step says {words!r}")
        assert words in self.text, f"it ended and never said {words!r}:\n{self.text}"
