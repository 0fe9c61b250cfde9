"""The simulated engine: as a process, without a SageMaker before it, and as what an image means to one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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


def image_entry(match: str) -> dict[str, Any]:
    """The entry of a sagemaker_local's image map: serving images of that pattern are `container/serve` before the simulated engine."""
    return {
        "match": match,
        "command": [
            "{python}",
            str(ROOT / "container" / "serve"),
            "--launch",
            f"{sys.executable} -m container.engines.simulated",
        ],
        "environment": {
            "PYTHONPATH": str(ROOT),
            "SM_SGLANG_HOST": "127.0.0.1",
            "SM_SGLANG_PORT": "{port}",
            "SM_SGLANG_MODEL_PATH": "{opt_ml}/model",
        },
        "working_directory": str(ROOT),
    }
