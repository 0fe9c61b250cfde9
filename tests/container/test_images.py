"""The Dockerfiles, as far as they can be checked without Docker."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from container.flags import FlagTable
from tests.container.processes import ROOT, environment

FILES = ["container/Dockerfile", "container/steps.Dockerfile"]


def instructions(name: str) -> list[list[str]]:
    text = re.sub(r"^\s*#.*\n", "", (ROOT / name).read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [line.split() for line in text.splitlines() if line.strip()]


def copies(name: str) -> list[tuple[list[str], str]]:
    return [(words[1:-1], words[-1]) for words in instructions(name) if words[0] == "COPY"]


@pytest.mark.parametrize("name", FILES)
def test_every_source_exists_and_the_base_is_pinned(name: str) -> None:
    assert copies(name)
    for sources, _ in copies(name):
        for source in sources:
            assert (ROOT / source).exists(), source
    base = next(words[1] for words in instructions(name) if words[0] == "FROM")
    assert re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", base)


def test_the_flag_table_is_of_the_pinned_sglang() -> None:
    base = next(words[1] for words in instructions(FILES[0]) if words[0] == "FROM")
    version = FlagTable.load().version
    assert base.startswith(f"lmsysorg/sglang:v{version}-")
    assert f'org.opencontainers.image.version="{version}"' in (ROOT / FILES[0]).read_text()


def test_serve_runs_from_what_the_image_copies(tmp_path: Path) -> None:
    for sources, target in copies(FILES[0]):
        for source in sources:
            place = tmp_path / target.lstrip("/")
            place.mkdir(parents=True, exist_ok=True) if target.endswith("/") else place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / source, place)
    entry = next(words[1] for words in instructions(FILES[0]) if words[0] == "ENTRYPOINT").strip('[]"')
    variables = {**environment(SM_SGLANG_TP_SIZE="8"), "PYTHONPATH": ""}
    command = [sys.executable, "-I", str(tmp_path / entry.lstrip("/")), "serve", "--dry-run"]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert "--tp-size\n8\n" in done.stdout
    assert (tmp_path / entry.lstrip("/")).stat().st_mode & 0o111


IMPORT_ALL = """
import importlib, importlib.abc, importlib.metadata, pkgutil, sys
ours, locked = ("config", "container", "delivery", "loadtest", "steps"), set(sys.argv[1].split())
distributions = importlib.metadata.packages_distributions().items()
owners = {top: {name.lower().replace("_", "-") for name in names} for top, names in distributions}

class OnlyLocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in ours and top in owners and not owners[top] & locked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, OnlyLocked())
sys.path.insert(0, ".")
for top in ours:
    package = importlib.import_module(top)
    for module in pkgutil.walk_packages(package.__path__, f"{top}."):
        importlib.import_module(module.name)
print(*sorted(name for name in sys.modules if name.endswith(".step")))
"""


def test_every_step_imports_from_what_its_image_copies_and_installs(tmp_path: Path) -> None:
    for sources, target in copies(FILES[1]):
        for source in sources:
            ignored = shutil.ignore_patterns(
                "__pycache__", *(["models", "environments", "schema.json"] if source == "config/" else [])
            )
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, tmp_path / target, ignore=ignored)
            else:
                place = tmp_path / target
                place = place / Path(source).name if target.endswith("/") else place
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, place)
    locked = re.findall(r"^([\w.-]+)==", (tmp_path / "requirements" / "steps.txt").read_text(), re.MULTILINE)
    names = " ".join(name.lower().replace("_", "-") for name in locked)
    command = [sys.executable, "-I", "-c", IMPORT_ALL, names]
    done = subprocess.run(command, env=environment(), cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = {f"steps.{folder.parent.name}.step" for folder in (ROOT / "steps").glob("*/__main__.py")}
    assert set(done.stdout.split()) == expected


def test_the_steps_image_installs_with_hashes() -> None:
    install = next(words for words in instructions(FILES[1]) if words[:3] == ["RUN", "pip", "install"])
    assert {"--require-hashes", "--no-cache-dir"} <= set(install)
    locked = (ROOT / "requirements" / "steps.txt").read_text()
    assert len(re.findall(r"^\S+==", locked, re.MULTILINE)) <= locked.count("--hash=sha256:")
