"""AWS's llmeter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.load_client import observed
from benchmarks.load_client.observed import Observed
from benchmarks.load_client.run import Level

_PROGRAM = Path(__file__).with_name("llmeter_program.py")


class LLMeter:
    """Its OpenAI endpoint: that for SageMaker fails on OpenAI's chunks."""

    name = "llmeter"

    def command(self, environment: Path, url: str, level: Level, folder: Path) -> Sequence[str]:
        """Return a small program of ours that calls its runner: it is a library. -P: `import llmeter` is to find it, not this module."""
        arguments = [url, str(level.streams), f"{level.duration_s:g}", str(folder / "observed.json")]
        return [str(environment / "bin" / "python"), "-P", str(_PROGRAM), *arguments]

    def recording(self, command: Sequence[str]) -> Sequence[str] | None:
        """Return None: it has a moment of an answer's first and of its last token, and no more."""
        return None

    def observed(self, folder: Path) -> Observed:
        """As the program wrote it."""
        return observed.read(folder / "observed.json")
