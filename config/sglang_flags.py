"""Whether a model file's SGLang flags exist, before an instance that costs $100 an hour finds out.

The flags of the SGLang that container/Dockerfile pins are in container/sglang_flags.json, which that room generates and describes. It is
read as data: no room imports the other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from config.errors import MisplacedValue
from config.reading import yaml_scalars
from config.reading.suggest import did_you_mean
from config.reading.vocabulary import flag_elsewhere

_FILE = Path(__file__).parents[1] / "container" / "sglang_flags.json"
_TYPES: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
    "str": (str,),
    "size": (int, str),
    "json": (str, dict, list),
    "json-list": (str, list),
}
_SIZE = re.compile(r"\d+(\.\d+)?[kMGT]|\d+[KMGT]i|[+-]?\d+")
"""As container/launch.py has it."""
_UNITS = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_WORDS = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "size": "a whole number or a size as in 32k",
    "json": "JSON",
    "json-list": "a list",
}


def check_flags(flags: Mapping[str, Any]) -> None:
    """Raise MisplacedValue for the first flag that SGLang does not know or whose value it would refuse.

    The message names the nearest flag and where all are, or the choices.
    """
    table = _table()
    for name, value in flags.items():
        flag = table["flags"].get(name)
        if flag is None:
            raise MisplacedValue(
                (name,),
                f"SGLang {table['version']} has no flag {name!r}; {_meant(name, table['flags'])}All of them: container/sglang_flags.json",
            )
        _check_value(name, flag, value)


def _meant(name: str, known: Mapping[str, Any]) -> str:
    """Return what to write instead: the same word as this file spells it, another engine's word, or one that looks like it."""
    plain = name.strip().lower().removeprefix("sm_sglang_").lstrip("-").replace("_", "-")
    if plain in known:
        return f"write it as {plain!r}, without leading dashes, with dashes inside. "
    return flag_elsewhere(plain) or did_you_mean(plain, known)


def primary_name(name: str) -> str:
    """Return SGLang's first spelling of a flag, without dashes: `tensor-parallel-size` and `tp-size` are one. As given for an unknown one."""
    flag = _table()["flags"].get(name)
    return name if flag is None else str(flag["spellings"][0]).removeprefix("--")


def size_in_units(text: str) -> int | float | str:
    """Return the number that a size stands for (32k: 32,000; 32Ki: 32,768); the text itself where it is none."""
    match = re.fullmatch(r"([+-]?\d+(?:\.\d+)?)(k|M|G|T|Ki|Mi|Gi|Ti)?", text)
    if match is None:
        return text
    number = float(match[1]) if "." in match[1] else int(match[1])
    return number * _UNITS[match[2]] if match[2] else number


def check_flags_for_aws(flags: Mapping[str, Any]) -> None:
    """Raise MisplacedValue for the first of these known flags that AWS's own image would pass on otherwise than container/serve.

    Its entrypoint is a shell script that makes one argument of each line of `env`, a bare flag of the word true, and nothing of false
    (aws/deep-learning-containers, scripts/docker/sglang/sagemaker_entrypoint.sh).
    """
    known = _table()["flags"]
    for name, value in flags.items():
        reason = _lost_on_aws(known[name], value)
        if reason:
            raise MisplacedValue((name,), f"AWS's image {reason}; leave it out, or serve with image: project")


def _lost_on_aws(flag: Mapping[str, Any], value: Any) -> str:
    text = value if isinstance(value, str) else ""
    if flag["nargs"] in ("*", "+") and (isinstance(value, list) or len(text.split()) > 1):
        return f"gives SGLang one value for this flag, not the several of {value!r}"
    if flag["nargs"] == 0:
        return "cannot switch this flag off, only on" if value is False and "negative" in flag else ""
    if text.lower() in ("true", "false"):
        return f"takes {value!r} for a switch, and this flag needs a value"
    return "ends a value at the end of its first line" if "\n" in text else ""


def _check_value(name: str, flag: Mapping[str, Any], value: Any) -> None:
    if flag["nargs"] == 0:
        if not isinstance(value, bool):
            raise MisplacedValue(
                (name,), f"{name} is a switch: write true or false, not {value!r}{_instead(name, 'bool', value)}"
            )
        return
    values = value if flag["nargs"] in ("*", "+") and isinstance(value, list) else [value]
    expected = _TYPES[flag["type"]]
    for item in values:
        if not isinstance(item, expected) or (isinstance(item, bool) and bool not in expected):
            raise MisplacedValue(
                (name,), f"{name} takes {_WORDS[flag['type']]}, not {item!r}{_instead(name, flag['type'], item)}"
            )
        if flag["type"] == "size" and isinstance(item, str) and not _SIZE.fullmatch(item):
            raise MisplacedValue((name,), f"{name} takes {_WORDS['size']}, not {item!r}{_instead(name, 'int', item)}")
        if "choices" in flag and item not in flag["choices"]:
            meant = did_you_mean(str(item), map(str, flag["choices"]))
            raise MisplacedValue(
                (name,), f"{name} is one of {', '.join(map(str, flag['choices']))}, not {item!r}; {meant}".rstrip("; ")
            )


def _instead(name: str, kind: str, value: Any) -> str:
    hint = yaml_scalars.advice(f"{kind}_type", str(value), (name,)) if kind in {"int", "float", "bool"} else ""
    return f"; {hint}" if hint else ""


@cache
def _table() -> dict[str, Any]:
    document = json.loads(_FILE.read_text(encoding="utf-8"))
    by_name = {spelling.removeprefix("--"): flag for flag in document["flags"] for spelling in flag["spellings"]}
    return {"version": document["sglang"], "flags": by_name}
