"""Build the wheels of the two packages that are worth installing by themselves, and try each one (`make wheels`).

Each has its own `packaging/NAME/pyproject.toml`. A wheel is built in a folder that holds nothing but its own package, then installed alone
into a fresh environment outside the clone, where it must import, answer `--help` and do a small piece of its real work
(`tooling/wheel_trials/`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tooling.install import ROOT
from tooling.lock import UV

PACKAGES = {"loadtest": "loadtest", "sagemaker_local": "sagemaker-local"}
"""Package → its command."""
DIST = ROOT / "dist"
_KEPT = (
    "PATH",
    "HOME",
    "LANG",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "UV_CACHE_DIR",
    "UV_INDEX_URL",
    "UV_DEFAULT_INDEX",
    "PIP_INDEX_URL",
)
"""What a trial sees of this environment: how to reach the package index, and nothing of the clone."""


def main() -> int:
    """Build and try every wheel; return 1 if one fails."""
    DIST.mkdir(exist_ok=True)
    for package, command in PACKAGES.items():
        begun = time.monotonic()
        try:
            wheel = build(package)
            print(f"{wheel.relative_to(ROOT)}: {wheel.stat().st_size / 1000:.0f} kB", flush=True)
            packages = try_alone(package, command, wheel)
        except subprocess.CalledProcessError as error:
            print(f"{package}: {' '.join(map(str, error.cmd))} ended with {error.returncode}", file=sys.stderr)
            return 1
        print(
            f"{wheel.name}: installed alone ({packages} packages with its own), used; {time.monotonic() - begun:.0f} s",
            flush=True,
        )
    return 0


def build(package: str) -> Path:
    """Build the wheel of a package into dist/; return its path."""
    for old in DIST.glob(f"*{package}-*.whl"):
        old.unlink()
    with tempfile.TemporaryDirectory() as folder:
        stage = Path(folder)
        shutil.copy(ROOT / "packaging" / package / "pyproject.toml", stage)
        shutil.copy(ROOT / "LICENSE", stage)
        shutil.copy(ROOT / package / "README.md", stage)
        shutil.copytree(ROOT / package, stage / package, ignore=shutil.ignore_patterns("__pycache__", "README.md"))
        subprocess.run([UV, "build", "--quiet", "--wheel", "--out-dir", DIST, stage], check=True)
    return max(DIST.glob(f"*{package}-*.whl"), key=lambda path: path.stat().st_mtime)


def try_alone(package: str, command: str, wheel: Path) -> int:
    """Install a wheel into a fresh environment and use it there; return how many packages that environment holds."""
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        home = place / "environment"
        python = home / "bin" / "python"

        def run(*arguments: str | Path) -> str:
            return subprocess.run(arguments, cwd=place, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout

        run(UV, "venv", "--quiet", "--python", sys.executable, home)
        run(UV, "pip", "install", "--quiet", "--python", python, wheel)
        found = run(python, "-I", "-c", f"import {package}; print({package}.__file__)")
        if not Path(found.strip()).is_relative_to(home):
            raise SystemExit(f"{package} was imported from {found.strip()}, not from its wheel")
        run(home / "bin" / command, "--help")
        shutil.copy(ROOT / "tooling" / "wheel_trials" / f"{package}_trial.py", place / "trial.py")
        print(run(python, place / "trial.py").rstrip())
        return len(run(UV, "pip", "list", "--quiet", "--python", python, "--format", "freeze").splitlines())


if __name__ == "__main__":
    sys.exit(main())
