"""What the repository says of itself: paths that exist, targets that make has, owners of something."""

from __future__ import annotations

import re
import subprocess
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*/README.md"), *(ROOT / ".github").glob("*.md")]
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
TOP = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name not in {"build", "dist"}}
PLACEHOLDER = re.compile(r"[A-Z]{3,}|[<>*{}…]|\s")


def prose(page: Path) -> str:
    """A page without its code blocks, which may show files that a reader is about to make."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    text = prose(page)
    links = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]
    missing = [link for link in links if link and not (page.parent / link).exists()]
    for name in re.findall(r"`([^`\n]+)`", text):
        top, slash, _ = name.partition("/")
        if slash and top in TOP and not PLACEHOLDER.search(name):
            path = name.partition(":")[0]
            missing += [name] if not (ROOT / path).exists() else []
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_target_that_a_page_names_exists(page: Path) -> None:
    assert set(re.findall(r"(?:^ {4}|`)make ([a-z]+)", page.read_text(), re.MULTILINE)) <= TARGETS


def test_what_shows_each_promise_exists() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text()
    rows = re.findall(r"^\| .* \| (.*) \|$", text.partition("## ")[0], re.MULTILINE)[2:]
    assert len(rows) > 10
    for shown_by in rows:
        tests = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", shown_by)
        commands = re.findall(r"`(make [a-z]+|python -m [a-z_.]+)`", shown_by)
        assert len(tests) + len(commands) == len(shown_by.split("; ")), shown_by
        assert [name for file, name in tests if f"def {name}(" not in (ROOT / file).read_text()] == []
        assert all(_is_module(ROOT / name.split()[-1].replace(".", "/")) for name in commands if "make" not in name)


def _is_module(path: Path) -> bool:
    """Whether `python -m` runs it."""
    return path.with_suffix(".py").exists() or (path / "__main__.py").exists()


def test_the_workflows_run_targets_of_make_on_every_supported_python() -> None:
    checks: dict[str, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / "checks.yml").read_text())
    steps = list(chain.from_iterable(job["steps"] for job in checks["jobs"].values()))
    assert {step["run"] for step in steps if "run" in step} == {"make lint", "make test", "make wheels"}
    assert checks["jobs"]["test"]["strategy"]["matrix"]["python-version"] == ["3.11", "3.12", "3.13", "3.14"]


def test_every_owner_owns_something() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    for line in (ROOT / ".github" / "CODEOWNERS").read_text().splitlines():
        if line and not line.startswith("#"):
            pattern, *owners = line.split()
            assert owners and all(owner.startswith("@") for owner in owners)
            assert pattern == "*" or any(path.startswith(pattern.removeprefix("/")) for path in tracked), pattern


def test_the_changelog_has_a_place_for_the_next_entry() -> None:
    sections = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert sections[0] == "Unreleased"


@pytest.mark.parametrize(
    "path",
    [".pre-commit-config.yaml", ".github/dependabot.yml", *[f".github/ISSUE_TEMPLATE/{n}.yml" for n in ("bug", "feature")]],
)
def test_what_other_programs_read_is_yaml(path: str) -> None:
    assert yaml.safe_load((ROOT / path).read_text())


def test_the_hooks_before_a_commit_name_programs_that_make_installs() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert {hook["entry"].split()[0] for hook in hooks} == {".venv/bin/ruff", ".venv/bin/lint-imports", ".venv/bin/python"}
