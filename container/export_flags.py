"""Write `container/sglang_flags.json` from SGLang's own argument parser.

    python -m container.export_flags [--check] [--output FILE] [--stand-in MODULE ...]

Run it with a Python that has the SGLang version that `container/Dockerfile` pins: inside the image, or in a scratch
environment made for it on a machine without a GPU. SGLang's parser imports torch and much besides, but runs nothing of
it, so the CPU build of torch will do, the kernels need not be installed, and a package that cannot be installed
beside a CPU torch (torchvision) may be replaced by an empty stand-in:

    uv venv /tmp/sglang && uv pip install --python /tmp/sglang/bin/python --no-deps sglang==VERSION
    /tmp/sglang/bin/python -m container.export_flags --stand-in torchvision     # install what it says is missing

`--check` writes nothing and exits with 1 when the file differs from what the parser says.
"""

from __future__ import annotations

import argparse
import importlib.abc
import importlib.machinery
import importlib.metadata
import json
import sys
import types
from pathlib import Path
from typing import Any

from container.flags import DEFAULT_PATH

__all__ = ["document", "main", "render"]

# SGLang's own type functions, by name, and what a value of theirs is.
_TYPES = {
    "int": "int",
    "float": "float",
    "loads": "json",
    "json_list_type": "json-list",
    "human_readable_int": "size",
}


def document(parser: argparse.ArgumentParser, version: str) -> dict[str, Any]:
    """Return what `parser` accepts, as the JSON document that `container.flags` describes, sorted by primary spelling."""
    flags = [_flag(action) for action in parser._actions if action.dest != "help" and action.option_strings]
    return {"sglang": version, "flags": sorted(flags, key=lambda flag: flag["spellings"][0])}


def render(content: dict[str, Any]) -> str:
    """`content` as text: one flag a line, so that a new SGLang version shows as a readable diff."""
    lines = ",\n".join("  " + json.dumps(flag) for flag in content["flags"])
    return f'{{"sglang": {json.dumps(content["sglang"])}, "flags": [\n{lines}\n]}}\n'


def _flag(action: argparse.Action) -> dict[str, Any]:
    switch = action.nargs == 0
    negative = [option for option in action.option_strings if option.startswith("--no-")]
    if not isinstance(action, argparse.BooleanOptionalAction):
        negative = []
    entry: dict[str, Any] = {
        "spellings": [option for option in action.option_strings if option not in negative],
        "nargs": 0 if switch else 1 if action.nargs is None else action.nargs,
        "type": "bool" if switch else _TYPES.get(getattr(action.type, "__name__", "str"), "str"),
    }
    if action.choices is not None:
        # Sorted, because some of SGLang's are sets, whose order is another in every process.
        entry["choices"] = sorted(action.choices, key=lambda choice: (isinstance(choice, str), choice))
    if negative:
        entry["negative"] = negative
    if action.required:
        entry["required"] = True
    return entry


class _StandInValue(type):
    """A class whose every attribute is a distinct string: enough for enumerations that are read and never used."""

    def __getattr__(cls, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        return name


class _StandInModule(types.ModuleType):
    """A package in which every name exists and does nothing."""

    __path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _StandInValue(name, (), {})


class _StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the named packages, and whatever is below them, as stand-ins."""

    def __init__(self, packages: frozenset[str]) -> None:
        self._packages = packages

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """Claim `fullname` when it belongs to a named package."""
        if fullname.partition(".")[0] not in self._packages:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        """Make an empty module that has every name."""
        return _StandInModule(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """There is nothing to run."""


def _sglang_parser() -> argparse.ArgumentParser:
    server_args = importlib.import_module("sglang.srt.server_args")
    parser = argparse.ArgumentParser()
    server_args.ServerArgs.add_cli_args(parser)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit code: 0, or 1 when `--check` finds a difference."""
    parser = argparse.ArgumentParser(prog="python -m container.export_flags", description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    parser.add_argument("--output", type=Path, default=DEFAULT_PATH)
    parser.add_argument("--stand-in", action="append", default=[], metavar="MODULE", help="pretend this is installed")
    options = parser.parse_args(arguments)
    sys.meta_path.insert(0, _StandIns(frozenset(options.stand_in)))
    text = render(document(_sglang_parser(), importlib.metadata.version("sglang")))
    if options.check:
        same = options.output.exists() and options.output.read_text(encoding="utf-8") == text
        sys.stdout.write(f"{options.output}: {'up to date' if same else 'differs from this SGLang'}\n")
        return 0 if same else 1
    options.output.write_text(text, encoding="utf-8")
    sys.stdout.write(f"wrote {options.output}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
