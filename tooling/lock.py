"""Write requirements/: the locked sets, and sizes.json, which says how large each is (`make lock`).

Every set is resolved for all platforms at once and constrained by `dev`, so that what is tested is what is shipped and `make test` after
`make demo` installs the difference alone. Sizes are measured: the wheels' from the index, the disk's by installing into an environment
that is thrown away.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from tooling.install import REQUIREMENTS, ROOT, SETS

UV = str(Path(sys.prefix) / "bin" / "uv")
_COMPILE = [UV, "pip", "compile", "--quiet", "--universal", "--python-version", "3.11"]
_LOCK = [*_COMPILE, "--generate-hashes", "--no-emit-index-url", "--no-header"]
_INPUTS: dict[str, list[str]] = {
    "dev": ["--group", "dev", "pyproject.toml"],
    "demo": ["--group", "steps", "--group", "local", "--group", "demo", "pyproject.toml"],
    "steps": ["--group", "steps"],
    "lint-infra": ["--group", "lint-infra"],
}
"""What each lock is made of; `dev` comes first, since it constrains the others."""


def main() -> None:
    """Lock every set and measure it."""
    sizes: dict[str, Any] = {"packages": {}, "sets": {}}
    for name, inputs in _INPUTS.items():
        constraints = ["--constraint", "requirements/dev.txt"] if name in {"demo", "steps"} else []
        subprocess.run([*_LOCK, *constraints, *inputs, "--output-file", f"requirements/{name}.txt"], cwd=ROOT, check=True)
        downloads = _downloads(name)
        sizes["packages"].update(downloads)
        if name in SETS:
            installed, disk_mb = _installed(name)
            download_mb = round(sum(downloads.get(package, 0.0) for package in installed))
            sizes["sets"][name] = {"packages": len(installed), "download_mb": download_mb, "disk_mb": disk_mb}
            print(f"{name}: {sizes['sets'][name]}", flush=True)
    text = json.dumps(sizes, indent=1, sort_keys=True) + "\n"
    (REQUIREMENTS / "sizes.json").write_text(text, encoding="utf-8")


def _downloads(name: str) -> dict[str, float]:
    """Read from the index what each package of a lock weighs. Megabytes."""
    command = [*_COMPILE, "--format", "pylock.toml", f"requirements/{name}.txt"]
    lock = tomllib.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
    return {package["name"]: round(_wheel_bytes(package) / 1e6, 1) for package in lock["packages"]}


def _wheel_bytes(package: dict[str, Any]) -> int:
    """Return the size of the wheel that CPython 3.11 on x86-64 Linux takes; the source's where there is none."""
    wheels: list[dict[str, Any]] = package.get("wheels", [])
    for pattern in (r"-cp311-cp311-.*linux.*x86_64", r"-(cp3\d+-abi3|py3-none)-.*linux.*x86_64", r"-none-any\.whl"):
        for wheel in wheels:
            if re.search(pattern, wheel["url"]) and "musllinux" not in wheel["url"]:
                return int(wheel["size"])
    return int(package.get("sdist", {}).get("size", 0))


def _installed(name: str) -> tuple[list[str], int]:
    """Install a lock into an environment of its own; return its packages and its size on disk. Megabytes."""
    with tempfile.TemporaryDirectory() as folder:
        python = str(Path(folder) / "bin" / "python")
        subprocess.run([UV, "venv", "--quiet", "--allow-existing", "--python", sys.executable, folder], check=True)
        install = [UV, "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", f"requirements/{name}.txt"]
        subprocess.run([*install, *(["--compile-bytecode"] if SETS[name].is_compiled else [])], cwd=ROOT, check=True)
        listed = subprocess.run([UV, "pip", "list", "--python", python, "--format", "json"], check=True, capture_output=True)
        used = sum(os.lstat(path).st_blocks * 512 for path in Path(folder).rglob("*"))
    return [package["name"] for package in json.loads(listed.stdout)], round(used / 1e6)


if __name__ == "__main__":
    main()
