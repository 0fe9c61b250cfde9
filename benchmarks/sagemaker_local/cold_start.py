"""How long it takes from nothing to a server that answers."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sagemaker_local.testing import running

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class ColdStart:
    """Seconds, medians."""

    import_s: float
    """``python -c "import sagemaker_local.front.server"``, with Python's own start."""
    start_s: float
    """``python -m sagemaker_local`` started → it has answered a request, with a new state directory."""


def measure(folder: Path, repeats: int) -> ColdStart:
    """Return both, so many times."""
    imports, starts = [], []
    for number in range(repeats):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import sagemaker_local.front.server"], check=True)
        imports.append(time.perf_counter() - began)
        began = time.perf_counter()
        with running(folder / f"cold-{number}") as server, urllib.request.urlopen(server.endpoint_url) as answer:
            answer.read()
            starts.append(time.perf_counter() - began)
    return ColdStart(statistics.median(imports), statistics.median(starts))
