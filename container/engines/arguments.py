"""SGLang's command line for the stand-in engines: the same flags, spellings, choices and exit code 2."""

from __future__ import annotations

import argparse
import json
from typing import Any

from container.flags import Flag, FlagTable

__all__ = ["parser", "size"]

_SUFFIXES = {
    "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40,
}  # fmt: skip


def size(text: str) -> int:
    """Parse an integer that may end in one of SGLang's suffixes: `32k` is 32000, `32Ki` 32768, `25.6k` 25600."""
    for suffix in sorted(_SUFFIXES, key=len, reverse=True):
        if text.endswith(suffix):
            number = text.removesuffix(suffix)
            return int(number) * _SUFFIXES[suffix] if suffix.endswith("i") else int(float(number) * _SUFFIXES[suffix])
    return int(text)


_TYPES: dict[str, Any] = {"str": str, "int": int, "float": float, "json": json.loads, "json-list": str, "size": size}


def parser(program: str, description: str, table: FlagTable) -> argparse.ArgumentParser:
    """Return a parser that takes every flag of `table`; an engine adds its own and reads the few that mean something to it.

    The attribute of a flag is its primary spelling (`tp_size`); flags that were not given are None, and switches False.
    Host, port and model path have SGLang's defaults.
    """
    made = argparse.ArgumentParser(prog=program, description=description, allow_abbrev=False)
    group = made.add_argument_group(f"flags of SGLang {table.version} (accepted; most change nothing here)")
    for flag in table.flags:
        _add(group, flag)
    made.set_defaults(host="127.0.0.1", port=30000)
    return made


def _add(group: argparse._ArgumentGroup, flag: Flag) -> None:
    destination = flag.name.lstrip("-").replace("-", "_")
    if flag.is_switch:
        group.add_argument(*flag.spellings, dest=destination, action="store_true", help=argparse.SUPPRESS)
        if flag.negative:
            group.add_argument(*flag.negative, dest=destination, action="store_false", help=argparse.SUPPRESS)
        return
    group.add_argument(
        *flag.spellings,
        dest=destination,
        nargs=None if flag.nargs == 1 else flag.nargs,
        type=_TYPES[flag.type],
        choices=list(flag.choices) or None,
        required=flag.required,
        metavar=destination.upper(),
        help=argparse.SUPPRESS if flag.name not in ("--model-path", "--host", "--port") else None,
    )
