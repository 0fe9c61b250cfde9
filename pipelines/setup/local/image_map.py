"""Which command on this machine stands for which container image: the steps, and the engines behind `container/serve`."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any

PROJECT = Path(__file__).parents[3]
_PASSED_ON = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy")
"""How this machine reaches the Hub at huggingface.co; jobs need it as the command does."""


def image_map() -> dict[str, Any]:
    """Return which local command stands for which container image (the format is sagemaker_local's)."""
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    steps = {
        "match": "*/release-steps:*",
        "environment": {"PYTHONPATH": str(PROJECT), "PYTHONUNBUFFERED": "1", **passed_on},
        "working_directory": str(PROJECT),
    }
    engines = {"local": _best_engine(), "llamacpp": "llamacpp", "simulated": "simulated", "sglang": "sglang"}
    serving = [_serving_entry(f"*/release-serving:{tag}", engine) for tag, engine in engines.items()]
    return {"images": [steps, *serving, _serving_entry("*/sglang:*", _best_engine())]}


def _serving_entry(match: str, engine: str) -> dict[str, Any]:
    launch = [] if engine == "sglang" else ["--launch", f"{sys.executable} -m container.engines.{engine}"]
    return {
        "match": match,
        "command": ["{python}", str(PROJECT / "container" / "serve"), *launch],
        "environment": {
            "PYTHONPATH": str(PROJECT),
            "PYTHONUNBUFFERED": "1",
            "SM_SGLANG_HOST": "127.0.0.1",
            "SM_SGLANG_PORT": "{port}",
            "SM_SGLANG_MODEL_PATH": "{opt_ml}/model",
        },
        "working_directory": str(PROJECT),
    }


def _best_engine() -> str:
    """Choose SGLang itself where there is a GPU and SGLang is installed, llama.cpp elsewhere."""
    return "sglang" if which("nvidia-smi") and find_spec("sglang") else "llamacpp"
