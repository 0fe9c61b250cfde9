"""One clear line for each mistake that pydantic finds: what stands there, what was expected, what to write instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from config.errors import Location, Problem
from config.reading import yaml_scalars
from config.reading.source import YamlFile
from config.reading.suggest import did_you_mean, nearest
from config.reading.vocabulary import key_elsewhere, key_meant

_CODES = {"extra_forbidden": "unknown-key", "missing": "missing-key", "value_error": "wrong-value"}
"""Pydantic's types of errors that have a shorter name for programs."""
_LONGEST_SHOWN = 100


def problems(source: YamlFile, error: ValidationError, model: type[BaseModel]) -> list[Problem]:
    """Describe every mistake of a file.

    Args:
        source: The file.
        error: What its validation found.
        model: What it was validated as.
    """
    schema = _schema(model)
    details = error.errors()
    return [_problem(source, one, schema) for one in details if not _is_misspelt(one, details, schema)]


@cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def _is_misspelt(details: ErrorDetails, others: list[ErrorDetails], schema: Mapping[str, Any]) -> bool:
    """Return whether a key is missing only because it is there misspelt: the other error says it better."""
    if details["type"] != "missing":
        return False
    *parent, key = details["loc"]
    known = _keys_at(schema, tuple(parent))
    unknown = [other["loc"] for other in others if other["type"] == "extra_forbidden"]
    return any(loc[:-1] == tuple(parent) and known and _means(str(loc[-1]), known, schema) == key for loc in unknown)


def _means(word: str, known: Mapping[str, str], schema: Mapping[str, Any]) -> str:
    """Return the key that a wrong one stands for."""
    return key_meant(word, known, schema["properties"]) or nearest(word, known)


def _problem(source: YamlFile, details: ErrorDetails, schema: Mapping[str, Any]) -> Problem:
    location: Location = details["loc"]
    if details["type"] == "value_error":
        location += getattr(details["ctx"]["error"], "location", ())
    if location and location[-1] == "[key]":
        location = location[:-1]
    if details["type"] == "union_tag_invalid":
        location += (str(details["ctx"]["discriminator"]).strip("'"),)
    in_file = _in_file(source.data, location, keep_last=details["type"] == "missing" or location != details["loc"])
    shown = ".".join(str(part) for part in in_file) or "file"
    message = f"{shown}: {_message(source, details, location, schema)}"
    code = _CODES.get(details["type"], details["type"].replace("_", "-"))
    return Problem(source.path, message, source.line_of(location), source.column_of(location), code)


def _message(source: YamlFile, details: ErrorDetails, location: Location, schema: Mapping[str, Any]) -> str:
    known = _keys_at(schema, location[:-1])
    match details["type"]:
        case "extra_forbidden":
            key = str(location[-1])
            meant = key_elsewhere(key, known, schema["properties"]) or did_you_mean(key, known)
            return f"unknown key; {meant}Valid here: {', '.join(known)}"
        case "missing":
            description = known.get(str(location[-1]))
            return "missing; add it" + (f" ({description})" if description else "")
        case "value_error":
            return str(details["ctx"]["error"])
        case "union_tag_not_found":
            return f"needs {details['ctx']['discriminator']}; config/schema.json has its values"
        case "union_tag_invalid":
            tags = details["ctx"]["expected_tags"]
            meant = did_you_mean(str(details["ctx"]["tag"]), [tag.strip("'") for tag in tags.split(", ")])
            return f"{details['ctx']['tag']!r} will not do; {meant}expected one of {tags}"
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"{_shown(source, details)} will not do, expected {_inside(_keys_at(schema, location))}"
        case _:
            expected = details["msg"].replace("Input should be", "expected").replace("String should", "it should")
            hint = _hint(details, source)
            return f"{_shown(source, details)} will not do, {expected}" + (f"; {hint}" if hint else "")


def _inside(keys: Sequence[str] | Mapping[str, str]) -> str:
    return "keys with values below it" + (f": {', '.join(keys)}" if keys else ", as in `name: value`")


def _shown(source: YamlFile, details: ErrorDetails) -> str:
    """Return the value as the file has it."""
    value = details["input"]
    if value is None:
        return "nothing"
    text = source.text_at(details["loc"])
    shown = repr(value) if text is None or isinstance(value, str) else text
    return shown if len(shown) <= _LONGEST_SHOWN else f"{shown[: _LONGEST_SHOWN - 1]}…"


def _hint(details: ErrorDetails, source: YamlFile) -> str:
    """Return what to write instead, where the kind of mistake tells."""
    kind, value = details["type"], details["input"]
    if value is None:
        return "write a value, or leave the key out"
    text = source.text_at(details["loc"])
    match kind:
        case "list_type" if text is not None:
            items = ", ".join(f'"{item.strip()}"' for item in text.split(","))
            return f"write a list: [{items}]"
        case "list_type":
            return "write a list: [ ] around it, or a line with `- ` for each item"
        case "string_type" if text is not None:
            return f'put it in quotes: "{text}"'
        case "literal_error" | "enum":
            return _closest(str(value), details["ctx"]["expected"].replace(" or ", ", ").replace("'", "").split(", "))
        case _ if text is not None:
            return yaml_scalars.advice(kind, text, details["loc"])
    return ""


def _closest(value: str, choices: list[str]) -> str:
    by_letters = {choice.lower(): choice for choice in choices}
    if not did_you_mean(value.lower(), by_letters):
        return ""
    return f"did you mean {by_letters[nearest(value.lower(), by_letters)]!r}?"


def _in_file(data: Any, location: Location, *, keep_last: bool) -> Location:
    """`location` without the parts that pydantic adds (the chosen member of a union) but the file does not have.

    `keep_last` is for a key that the file may lack.
    """
    parts: list[str | int] = []
    for index, part in enumerate(location):
        inside = isinstance(data, list) and isinstance(part, int) and part < len(data)
        if isinstance(data, dict):  # whose keys may be numbers, and pydantic's are texts
            inside, part = next(((True, key) for key in data if str(key) == str(part)), (False, part))
        if inside:
            data = data[part]
        if inside or (keep_last and index == len(location) - 1):
            parts.append(part)
    return tuple(parts)


def _keys_at(schema: Mapping[str, Any], location: Location) -> dict[str, str]:
    """Return the keys that may stand at `location`, each with its description."""
    node: Mapping[str, Any] = schema
    for part in location:
        node = _resolve(schema, node)
        if "discriminator" in node and part in node["discriminator"]["mapping"]:
            node = {"$ref": node["discriminator"]["mapping"][part]}
        elif "discriminator" not in node and "oneOf" in node:
            node = next((one for one in node["oneOf"] if one.get("$ref", "").endswith(f"/{part}")), {})
        elif "items" in node:
            node = node["items"]
        else:
            by_pattern = node.get("patternProperties", {}).values()
            others = node.get("additionalProperties")
            below = node.get("properties", {}).get(part) or next(iter(by_pattern), None) or others
            node = below if isinstance(below, Mapping) else {}  # true: any value
    properties = _resolve(schema, node).get("properties", {})
    return {key: str(value.get("description", "")).split("\n", 1)[0] for key, value in properties.items()}


def _resolve(schema: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow a `$ref` into the schema's definitions."""
    if "anyOf" in node:
        node = next((one for one in node["anyOf"] if "$ref" in one or "properties" in one), node)
    if "$ref" in node:
        definition: Mapping[str, Any] = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
        return definition
    return node
