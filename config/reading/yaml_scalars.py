"""Scalars as people write them: which plain words of a file are numbers, and what to write instead of one that is none.

A plain word is read as YAML 1.2's core schema has it (https://yaml.org/spec/1.2.2/#103-core-schema), not as PyYAML does, which keeps YAML 1.1:
there `no` is false, `010` is eight, `1:30` is ninety and `7e10` is text. What is a number here is one in every editor, too. Numbers with
underscores (70_000_000_000), which only YAML 1.1 has, stay numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import yaml

from config.errors import Location


class Loader(yaml.SafeLoader):
    """PyYAML's safe loader with YAML 1.2's plain scalars."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}


_LONGEST_INT, _LONGEST_SHOWN, _TOO_LARGE = 30, 64, 2**63
"""Characters of 64 bits in octal and some; what a message shows of a number; the first that others' programs cannot hold."""
_NUMBER_STARTS = list("-+.0123456789")
Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), [*"~nN", ""])
Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^(?:[-+]?(?:0|[1-9][0-9_]*)|0o[0-7]+|0x[0-9a-fA-F]+)$"), _NUMBER_STARTS
)
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^(?:[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    _NUMBER_STARTS,
)
Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(r"^<<$"), ["<"])


def _construct_int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node)).replace("_", "")
    sign, digits = ("-", text[1:]) if text.startswith("-") else ("", text.removeprefix("+"))
    if len(digits) <= _LONGEST_INT:
        number = int(sign + digits, 0 if digits.startswith(("0o", "0x")) else 10)
        if abs(number) < _TOO_LARGE:
            return number
    shown = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
    words = f'{shown} is a whole number of more than 64 bits; write the one that was meant, or, where text belongs, put it in quotes: "{shown}"'
    raise yaml.constructor.ConstructorError(None, None, words, node.start_mark)


def _construct_float(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float | str:
    text = str(loader.construct_scalar(node)).replace("_", "").lower()
    if re.fullmatch(r"[-+]?0[0-9]+", text):
        return str(node.value)  # 010: ten to some, eight to others; where text belongs it keeps its zero
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)
Loader.add_constructor("tag:yaml.org,2002:float", _construct_float)

_QUOTES = "\"'“”„‟‘’«»"  # noqa: RUF001 - they are what is looked for
_AMOUNT = re.compile(r"(?P<sign>[-+]?)(?P<digits>\d[\d_,]*\.?\d*|\.\d+)(?P<power>[eE][-+]?\d{1,3})?\s*(?P<unit>[a-zA-Zµ%/]*)")
_TRUE, _FALSE = {"true", "yes", "y", "on", "1"}, {"false", "no", "n", "off", "0"}
_SECONDS = {
    unit: seconds
    for units, seconds in (
        ("us µs", Decimal("0.000001")),
        ("ms msec", Decimal("0.001")),
        ("s sec secs second seconds", Decimal(1)),
        ("m min mins minute minutes", Decimal(60)),
        ("h hr hour hours", Decimal(3600)),
        ("d day days", Decimal(86400)),
    )
    for unit in units.split()
}
_BYTES = {unit + ending: base**power
          for ending, base in (("", 1000), ("b", 1000), ("ib", 1024), ("i", 1024))
          for unit, power in (("k", 1), ("m", 2), ("g", 3), ("t", 4))} | {"b": 1, "byte": 1, "bytes": 1}  # fmt: skip
_MOST_DIGITS = 20
"""Of a number that is written out: `9e99999999` would fill the screen."""
_BOUNDS = {"at_most", "at_least", "at_most_production", "at_least_production"}


def advice(kind: str, text: str, location: Location) -> str:
    """Return what to write instead of a scalar of the wrong type.

    Args:
        kind: Pydantic's type of the error: `int_type`, `bool_type` …
        text: The scalar as written, without quotes.
        location: Where it stands; the last key tells its unit.

    Returns:
        `write 300`, say; empty when nobody can tell.

    Example:
        >>> advice("float_type", "5m", ("evaluation", "load_profiles", "chat", "duration_s"))
        'write 300'
        >>> advice("int_type", "soon", ("production", "instance_count"))
        ''
    """
    bare = text.strip().strip(_QUOTES).strip()
    if kind == "bool_type":
        return "write true" if bare.lower() in _TRUE else "write false" if bare.lower() in _FALSE else ""
    if kind not in {"int_type", "float_type", "int_from_float"}:
        return ""
    value = _number(bare, _unit_of(location))
    if value is None or (kind != "float_type" and value != value.to_integral_value()):
        return ""
    written = f"{value.normalize():f}"
    return f"write {written} without quotes" if bare == written else f"write {written}"


def _unit_of(location: Location) -> str:
    """Return the key whose name tells the unit: of a bound, the metric's."""
    names = [str(part) for part in location if isinstance(part, str)] or [""]
    return names[-2] if names[-1] in _BOUNDS and len(names) > 1 else names[-1]


def _number(text: str, name: str) -> Decimal | None:
    if re.fullmatch(r"\d+(:[0-5]\d){1,2}", text):  # 1:30, as minutes and seconds
        return _clock(text) if name.endswith("_s") else None
    match = _AMOUNT.fullmatch(text)
    if match is None:
        return None
    digits = match["digits"].replace("_", "")
    if "," in digits and not re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d*)?", digits):
        return None  # 1,5 is one and a half to some
    value = Decimal(f"{match['sign']}{digits.replace(',', '')}{match['power'] or ''}")
    factor = _factor(match["unit"], name)
    return None if factor is None or abs(value.adjusted()) > _MOST_DIGITS else value * factor


def _clock(text: str) -> Decimal:
    total = 0
    for part in text.split(":"):
        total = total * 60 + int(part)
    return Decimal(total)


def _factor(unit: str, name: str) -> Decimal | None:
    """Return what an amount in `unit` is multiplied with where the key called `name` takes it; None for a unit that does not belong there."""
    small = unit.lower()
    rules: Sequence[tuple[bool, Callable[[], Any]]] = (
        (not unit, lambda: 1),
        (unit == "%", lambda: 1 if name.endswith("percent") else Decimal("0.01") if _is_share(name) else None),
        (name.endswith("_ms"), lambda: _scaled(_SECONDS.get(small), 1000)),
        (name.endswith("_days"), lambda: _scaled(_SECONDS.get("d" if small in {"d", "day", "days"} else ""), Decimal(1) / 86400)),
        (name.endswith("_per_s"), lambda: 1 if small in {"rps", "qps", "/s", "tok/s", "tokens/s", "req/s"} else None),
        (name.endswith("_s"), lambda: _scaled(_SECONDS.get(small), 1)),
        (name.endswith("bytes"), lambda: _BYTES.get(small)),
        (name.endswith(("tokens", "length", "size", "requests")), lambda: _BYTES.get(small) if len(unit) == 1 else 1),
        (True, lambda: None),
    )
    found = next(factor() for applies, factor in rules if applies)
    return None if found is None else Decimal(found)


def _scaled(factor: int | Decimal | None, by: int | Decimal) -> Decimal | None:
    return None if factor is None else Decimal(factor) * Decimal(by)


def _is_share(name: str) -> bool:
    return name in {"error_rate", "shared_prefix", "precision", "mem-fraction-static"}
