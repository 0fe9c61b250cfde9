"""Install one locked set of packages: `python3 tooling/install.py demo|dev|lint-infra` (`make` does it; `make install` is `dev`).

Says first what it will do and how large it is (requirements/sizes.json, which `make lock` measures), then what is still missing, then shows
progress. Runs with nothing but Python's own library, before anything is installed. Idempotent: a second run installs the difference.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[1]
REQUIREMENTS = ROOT / "requirements"
SLOW_LINE_MBIT_S = 20
"""The line that the estimate of minutes is for. Megabits a second."""
_HEARTBEAT_S = 15.0


@dataclass(frozen=True)
class PackageSet:
    """A set of packages and the environment that it goes into."""

    purpose: str
    environment: str = ".venv"
    includes: tuple[str, ...] = ()
    """Sets that are whole when this one is."""
    is_compiled: bool = False
    """Whether every module is compiled now. Not for the demo: Python compiles what it loads, a tenth of it, when it first does."""
    has_project: bool = True
    """Whether this project itself goes in, editable."""


SETS = {
    "demo": PackageSet("what `make demo` needs"),
    "dev": PackageSet("what `make test` and `make lint` need", includes=("demo",), is_compiled=True),
    "lint-infra": PackageSet("the linters of infra/", environment=".venv-infra", has_project=False),
}


def main(name: str) -> int:
    """Install the set of that name; return the exit code."""
    if sys.version_info < (3, 11):  # noqa: UP036 - whatever Python `make` found runs this
        print(f"Python 3.11 or newer is needed and this is {sys.version.split()[0]}; name another: make PYTHON=python3.12")
        return 2
    wanted = SETS[name]
    sizes: dict[str, Any] = json.loads((REQUIREMENTS / "sizes.json").read_text(encoding="utf-8"))
    _announce(name, wanted, sizes)
    begun = time.monotonic()
    environment = ROOT / wanted.environment
    try:
        python, uv = _bootstrap(environment)
        install = [str(uv), "pip", "install", "--python", str(python), "--require-hashes", "-r", f"requirements/{name}.txt"]
        _announce_missing(
            subprocess.run([*install, "--dry-run"], cwd=ROOT, capture_output=True, text=True).stderr, sizes["packages"]
        )
        _run([*install, *(["--compile-bytecode"] if wanted.is_compiled else [])])
        if wanted.has_project:
            _run([uv, "pip", "install", "--quiet", "--python", python, "--no-deps", "--editable", "."])
    except subprocess.CalledProcessError as error:
        print(f"{name}: installing failed: {' '.join(map(str, error.cmd))} ended with {error.returncode}; its reason is above")
        return 1
    for done in (name, *wanted.includes):
        (environment / f".installed-{done}").touch()
    print(f"{name}: done in {time.monotonic() - begun:.0f} s", flush=True)
    return 0


def _announce(name: str, wanted: PackageSet, sizes: dict[str, Any]) -> None:
    whole = sizes["sets"][name]
    minutes = whole["download_mb"] * 8 / SLOW_LINE_MBIT_S / 60
    print(
        f"{name}: installing {wanted.purpose} into {wanted.environment}: {whole['packages']} packages, about {whole['download_mb']} MB to "
        f"download and {whole['disk_mb']} MB on disk; {minutes:.0f} minutes on a slow line ({SLOW_LINE_MBIT_S} Mbit/s), less of what is "
        "there or in uv's cache already",
        flush=True,
    )


def _bootstrap(environment: Path) -> tuple[Path, Path]:
    """Return the environment's Python and the pinned uv of .venv, both made if they are not there."""
    home = ROOT / ".venv"
    uv = home / "bin" / "uv"
    if not (home / "bin" / "python").exists():
        print(f"  making {home.name} with {sys.executable}", flush=True)
        _run([sys.executable, "-m", "venv", home])
    pinned = re.search(r"^uv==([\w.]+)", (REQUIREMENTS / "uv.txt").read_text(encoding="utf-8"), re.MULTILINE)
    version = subprocess.run([uv, "--version"], capture_output=True, text=True).stdout if uv.exists() else ""
    if pinned is None or pinned[1] not in version.split():
        print("  installing uv, which installs the rest (25 MB)", flush=True)
        pip = [home / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
        _run([*pip, "-r", "requirements/uv.txt"])
    if not (environment / "bin" / "python").exists():
        _run([uv, "venv", "--quiet", "--python", home / "bin" / "python", environment])
    return environment / "bin" / "python", uv


def _announce_missing(dry_run: str, packages_mb: dict[str, float]) -> None:
    """Say what is still to install, read from what `uv pip install --dry-run` reported."""
    missing = re.findall(r"^ \+ ([\w.-]+)==", dry_run, re.MULTILINE)
    megabytes = sum(packages_mb.get(name, 0.0) for name in missing)
    print(f"  {len(missing)} packages are missing, {megabytes:.0f} MB" if missing else "  nothing is missing", flush=True)


def _run(command: list[Any]) -> None:
    """Run a command and show what it says and that it still runs; CalledProcessError if it fails."""
    begun = time.monotonic()
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        said = threading.Thread(target=_pass_on, args=(process.stderr,), daemon=True)
        said.start()
        while process.poll() is None:
            said.join(_HEARTBEAT_S)
            if said.is_alive():
                print(f"  … {time.monotonic() - begun:.0f} s", flush=True)
            else:
                process.wait()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)


def _pass_on(stderr: IO[str]) -> None:
    """Print each line, such as the start and end of a download, without uv's list of every package."""
    for line in stderr:
        if not re.match(r" [+~-] [\w.-]+==", line):
            print(f"  {line.strip()}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in SETS:
        sys.exit(f"usage: python3 tooling/install.py {'|'.join(SETS)}")
    sys.exit(main(sys.argv[1]))
