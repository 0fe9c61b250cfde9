"""The public load clients, each in an environment of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from benchmarks.load_client.observed import Observed
from benchmarks.load_client.run import Level

_HERE = Path(__file__).parent


class Peer(Protocol):
    """A load client that speaks OpenAI chat completions."""

    name: str

    def command(self, environment: Path, url: str, level: Level, folder: Path) -> Sequence[str]:
        """Return the command that puts the load on, as the peer's users would: nothing recorded beyond what it records by itself."""

    def recording(self, command: Sequence[str]) -> Sequence[str] | None:
        """Return the same command, told to record the moment of every token, where that costs it extra; None: it records all it can by itself."""

    def observed(self, folder: Path) -> Observed:
        """Read what it recorded there."""


def install(name: str, cache: Path, pinned: Path = _HERE) -> Path:
    """Make an environment with the peer as pinned in PINNED/NAME.txt, unless it is there. CalledProcessError when that fails."""
    environment, pins = cache / name, pinned / f"{name}.txt"
    done = environment / "pins.txt"
    if not done.exists() or done.read_text() != pins.read_text():
        uv = str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(environment)], check=True)
        python = str(environment / "bin" / "python")
        packages = ["--compile-bytecode", "--no-deps", "--python", python, "--requirements", str(pins)]
        subprocess.run([uv, "pip", "install", "--quiet", *packages], check=True)
        done.write_text(pins.read_text())
    return environment
