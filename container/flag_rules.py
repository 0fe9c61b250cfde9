"""Which of SGLang's flags go together, and how large each may be: `flag_rules.json`, asked before SGLang is started.

SGLang says the same, ten seconds of imports and a GPU later. `config/` reads the same file, as data, for model files.

`ranges`
    flag → `least`, `most` (included), `above`, `below` (excluded), `or` (one value beside), `why` (what the number is).
`relations`
    `if` all of these hold, `then` must. Each is [flag, operator, value]: `is`, `in`, `>`, `<=`, `%` (is a multiple of), `set`, `unset`; a value may
    name flags (`dp-size*attn-cp-size`), and so may what is `set` (`a|b`: one of them). `words` say what is wrong, `blame` where; `is_warning`:
    it works, and does nothing.
`defaults`
    what a flag is that is not set.
`one_machine`, `no_network`
    what an endpoint's container cannot do; model files are held to these, `serve` is not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from container.errors import FlagTableError, LaunchRefused

__all__ = ["check"]

_PATH = Path(__file__).with_name("flag_rules.json")
_UNITS = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def check(values: Mapping[str, str]) -> None:
    """Refuse flags that SGLang would refuse together, or whose number it cannot work with.

    Args:
        values: flag by its primary spelling, with dashes in front → value; a switch that is on is `"true"`.

    Raises:
        LaunchRefused: names the flag, the value and what it must be.
    """
    rules = _rules()
    given = {name.removeprefix("--"): _read(text) for name, text in values.items()}
    for name, bounds in rules["ranges"].items():
        value = given.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and not _inside(value, bounds):
            raise LaunchRefused(f"--{name} {values[f'--{name}']}: expected {_words(bounds)} ({bounds['why']})")
    known = {**rules["defaults"], **given}
    for relation in rules["relations"]:
        broken = all(_holds(known, one) for one in relation["if"]) and not _holds(known, relation["then"])
        if broken and not relation.get("is_warning"):
            words = re.sub(r"\{([a-z-]+)\}", lambda match: str(known.get(match[1], "")), relation["words"])
            raise LaunchRefused(f"--{relation['blame']}: {words}")


def _read(text: str) -> Any:
    """Return a number or a truth value for a text that is one."""
    if text in ("true", "false"):
        return text == "true"
    match = re.fullmatch(r"([+-]?\d+(?:\.\d+)?)(k|M|G|T|Ki|Mi|Gi|Ti)?", text)
    if match is None:
        return text
    number = float(match[1]) if "." in match[1] else int(match[1])
    return number * _UNITS[match[2]] if match[2] else number


def _inside(value: float, bounds: Mapping[str, Any]) -> bool:
    if value == bounds.get("or"):
        return True
    large_enough = value >= bounds.get("least", value) and ("above" not in bounds or value > bounds["above"])
    return bool(large_enough and value <= bounds.get("most", value) and ("below" not in bounds or value < bounds["below"]))


def _words(bounds: Mapping[str, Any]) -> str:
    names = {"least": "at least", "above": "more than", "most": "at most", "below": "less than", "or": "or"}
    return " ".join(f"{'and ' if key in ('most', 'below') else ''}{names[key]} {bounds[key]}" for key in names if key in bounds)


def _holds(known: Mapping[str, Any], condition: list[Any]) -> bool:
    name, operator, *rest = condition
    match operator:
        case "set":
            return any(known.get(one) not in (None, False) for one in name.split("|"))
        case "unset":
            return known.get(name) in (None, False)
        case "is":
            return bool(known.get(name) == rest[0])
        case "in":
            return known.get(name) in rest[0]
    left, right = _product(known, name), _product(known, rest[0])
    if left is None or right is None:
        return True  # not a number: the flag's own check says so
    return bool(left > right if operator == ">" else left <= right if operator == "<=" else right and left % right == 0)


def _product(known: Mapping[str, Any], term: Any) -> float | None:
    if not isinstance(term, str):
        return float(term)
    product = 1.0
    for name in term.split("*"):
        value = known.get(name)
        if not isinstance(value, int | float):
            return 0.0 if value is None else None
        product *= value
    return product


@cache
def _rules() -> dict[str, Any]:
    try:
        rules: dict[str, Any] = json.loads(_PATH.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FlagTableError(
            f"cannot read the rules of SGLang's flags {_PATH}: {error}; copy it beside container/serve"
        ) from error
    return rules
