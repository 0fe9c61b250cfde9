"""The simulated engine as a process, without a SageMaker before it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.container.processes import free_port

ROOT = Path(__file__).parents[2]


@contextmanager
def simulated(folder: Path, *arguments: str) -> Iterator[str]:
    """An engine with these flags; the address for OpenAI clients."""
    port = free_port()
    (folder / "config.json").write_text('{"architectures": ["Qwen3ForCausalLM"]}')
    command = [sys.executable, "-m", "container.engines.simulated", "--model-path", str(folder), "--port", str(port), *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        assert "is ready" in process.stderr.readline()
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait()
