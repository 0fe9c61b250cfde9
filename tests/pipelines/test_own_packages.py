"""Somebody else's `config` in the way of ours: one line that says so, and exit code 2."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOREIGN = "raise RuntimeError('somebody else\\'s config')\n"


def run(folder: Path, *path: Path) -> subprocess.CompletedProcess[str]:
    """`--help` of the command in `folder`, with `path` before everything that is installed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    command = [sys.executable, "-m", "pipelines.run", "--help"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    return line


def test_a_config_py_in_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "config.py").write_text(FOREIGN)
    line = one_line(run(tmp_path, ROOT))
    assert line == (
        f"error: `import config` finds {tmp_path.resolve() / 'config.py'} and not this project's {ROOT / 'config'}; "
        f"rename that, or start in {ROOT}"
    )


@pytest.mark.parametrize("name", ["config", "steps", "delivery"])
def test_a_package_of_that_name_among_the_installed(tmp_path: Path, name: str) -> None:
    installed, elsewhere = tmp_path / "site-packages", tmp_path / "elsewhere"
    (installed / name).mkdir(parents=True)
    (installed / name / "__init__.py").write_text(FOREIGN)
    elsewhere.mkdir()
    assert one_line(run(elsewhere, installed, ROOT)).startswith(f"error: `import {name}` finds {installed.resolve() / name}")


def test_a_package_that_was_installed_over_ours(tmp_path: Path) -> None:
    installed, elsewhere = tmp_path / "site-packages", tmp_path / "elsewhere"
    elsewhere.mkdir()
    for room in ("pipelines", "config", "delivery", "loadtest", "steps"):
        shutil.copytree(ROOT / room, installed / room, ignore=shutil.ignore_patterns("__pycache__"))
    (installed / "config" / "__init__.py").write_text("class Config: ...\n")
    line = one_line(run(elsewhere, installed))
    assert line == f"error: another package was installed over {installed / 'config'}; run the line from a clone: make install"


def test_in_a_clone_and_beside_it_nothing_is_in_the_way(tmp_path: Path) -> None:
    for folder in (ROOT, tmp_path):
        assert run(folder, ROOT).returncode == 0
