"""A job's sandbox as its ``/opt/ml``, for programs that have that path in their code.

Where the machine allows it (Linux with mount namespaces) a process sees its sandbox at ``/opt/ml`` itself. Elsewhere only the
``/opt/ml`` paths in its arguments and environment are pointed at the sandbox.
"""

from __future__ import annotations

import functools
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sagemaker_local.processes.layout import InstanceLayout

_PROGRAM = Path(__file__).with_name("_opt_ml.py")
_PROBE_TIMEOUT_S = 10.0


@functools.cache
def available() -> bool:
    """Return whether processes can be given an ``/opt/ml`` of their own here. Tried once."""
    if not sys.platform.startswith("linux"):
        return False
    with tempfile.TemporaryDirectory(prefix="opt-ml-") as folder:
        directory = Path(folder) / "ml"
        directory.mkdir()
        (directory / "seen").touch()
        probe = with_opt_ml(["test", "-e", "/opt/ml/seen"], directory)
        try:
            return subprocess.run(probe, capture_output=True, timeout=_PROBE_TIMEOUT_S, check=False).returncode == 0
        except (OSError, subprocess.TimeoutExpired):
            return False


def contained(argv: Sequence[str], variables: Mapping[str, str], layout: InstanceLayout) -> tuple[list[str], dict[str, str]]:
    """Return a container's command and environment, made to find the sandbox at ``/opt/ml``: by a mount, or by paths that point at it."""
    if available():
        return with_opt_ml(list(argv), layout.opt_ml), dict(variables)
    return [layout.rewrite(word) for word in argv], {name: layout.rewrite(value) for name, value in variables.items()}


def with_opt_ml(argv: list[str], directory: Path) -> list[str]:
    """Return the command that runs ``argv`` with ``directory`` as its ``/opt/ml``; its exit code and process id are the program's."""
    return [sys.executable, "-I", "-S", str(_PROGRAM), str(directory), *argv]
