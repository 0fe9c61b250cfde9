"""A load generator for OpenAI-compatible servers and SageMaker endpoints, and what it measures: `python -m loadtest`.

    from loadtest import OpenAITransport, measure, read_profiles
    report, _ = measure(OpenAITransport("http://127.0.0.1:8000/v1", model="tiny"), read_profiles("profiles.yaml"))
    print(report.verdict, report.profiles["chat"].metrics["ttft_p99_ms"])

`measure` starts client processes by `spawn`: in a program of your own, call it below `if __name__ == "__main__":`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loadtest.errors import InvalidInput, LoadTestError
    from loadtest.load_test import measure
    from loadtest.profile_file import read_profiles
    from loadtest.profiles import LoadProfile, Objective
    from loadtest.report import LoadTestReport, ProfileReport
    from loadtest.transports.openai import OpenAITransport
    from loadtest.transports.sagemaker import SageMakerTransport

__all__ = [
    "InvalidInput",
    "LoadProfile",
    "LoadTestError",
    "LoadTestReport",
    "Objective",
    "OpenAITransport",
    "ProfileReport",
    "SageMakerTransport",
    "measure",
    "read_profiles",
]
_PLACES = {
    "InvalidInput": "errors",
    "LoadTestError": "errors",
    "LoadProfile": "profiles",
    "Objective": "profiles",
    "LoadTestReport": "report",
    "ProfileReport": "report",
    "OpenAITransport": "transports.openai",
    "SageMakerTransport": "transports.sagemaker",
    "measure": "load_test",
    "read_profiles": "profile_file",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: all of them cost 0.5 s, and `loadtest.profiles` alone, which others embed, needs none."""
    if name not in _PLACES:
        raise AttributeError(f"module 'loadtest' has no attribute {name!r}")
    return getattr(importlib.import_module(f"loadtest.{_PLACES[name]}"), name)
