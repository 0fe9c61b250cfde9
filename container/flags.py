"""The flags that the pinned SGLang knows: `sglang_flags.json`, read.

The file is written by `python -m container.export_flags` from SGLang's own parser, one flag a line, and is the only
place in the project that says which flags exist. `container/serve` turns variables into flags with it, the stand-in
engines build their argument parser from it, and `config/` refuses model files with it.

A flag is one JSON object:

`spellings`
    every option string, SGLang's primary one first (`["--tensor-parallel-size", "--tp-size"]`). Those that switch the
    flag off (`--no-x` of a `BooleanOptionalAction`) are under `negative` instead.
`nargs`
    `0` for a switch, `1` for one value, `"?"`, `"*"` or `"+"` as argparse means them.
`type`
    `bool`, `str`, `int`, `float`, `json`, `json-list`, or `size` (an int that may end in k, M, G, T, Ki, Mi, Gi, Ti).
`choices`
    the values allowed, where SGLang lists them. Absent otherwise.
`required`
    present and true where SGLang demands the flag.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
from pathlib import Path
from typing import Any

from container.errors import FlagTableError

__all__ = ["DEFAULT_PATH", "Flag", "FlagTable"]

DEFAULT_PATH = Path(__file__).with_name("sglang_flags.json")


@dataclasses.dataclass(frozen=True, slots=True)
class Flag:
    """One flag of `sglang.launch_server`; the fields are those of the JSON file (see the module's docstring)."""

    spellings: tuple[str, ...]
    nargs: int | str
    type: str
    choices: tuple[str | int | float, ...] = ()
    negative: tuple[str, ...] = ()
    required: bool = False

    @property
    def name(self) -> str:
        """SGLang's primary spelling, for instance `--tensor-parallel-size`."""
        return self.spellings[0]

    @property
    def is_switch(self) -> bool:
        """Whether the flag takes no value."""
        return self.nargs == 0

    @property
    def is_list(self) -> bool:
        """Whether the flag takes any number of values."""
        return self.nargs in ("*", "+")


class FlagTable:
    """All flags of one SGLang version, found by any of their spellings."""

    def __init__(self, version: str, flags: tuple[Flag, ...]) -> None:
        self.version = version
        self.flags = flags
        self._by_spelling = {
            _normal(spelling): (flag, spelling) for flag in flags for spelling in (*flag.spellings, *flag.negative)
        }

    @classmethod
    def load(cls, path: Path = DEFAULT_PATH) -> FlagTable:
        """Read `path`. Raises `FlagTableError` when it is missing or malformed."""
        try:
            document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            flags = tuple(
                Flag(
                    spellings=tuple(entry["spellings"]),
                    nargs=entry["nargs"],
                    type=entry["type"],
                    choices=tuple(entry.get("choices", ())),
                    negative=tuple(entry.get("negative", ())),
                    required=entry.get("required", False),
                )
                for entry in document["flags"]
            )
            return cls(document["sglang"], flags)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FlagTableError(
                f"cannot read the table of SGLang flags {path}: {error}; write it with `python -m container.export_flags`"
            ) from error

    def find(self, spelling: str) -> tuple[Flag, str] | None:
        """Return the flag that `spelling` names and the spelling as SGLang writes it, or None.

        Leading dashes, case, and `_` for `-` do not matter: `TP_SIZE`, `tp-size` and `--tp-size` are the same.
        """
        return self._by_spelling.get(_normal(spelling))

    def nearest(self, spelling: str, count: int = 3) -> list[str]:
        """Up to `count` spellings that look like `spelling`, best first, for an error message."""
        wanted = _normal(spelling)
        longer = [key for key in self._by_spelling if key.startswith(wanted)] if wanted else []
        alike = difflib.get_close_matches(wanted, self._by_spelling, n=count, cutoff=0.6)
        return [self._by_spelling[key][1] for key in dict.fromkeys([*longer[:count], *alike])][:count]


def _normal(spelling: str) -> str:
    return spelling.lstrip("-").replace("_", "-").lower()
