"""Load a file into a validated model, or into one clear error a mistake: file, line, value, what was expected, what to do next."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from config.base import NAME_PATTERN
from config.environment import Environment
from config.errors import ConfigError, Problem
from config.schema import ModelFile
from config.source import Location, YamlFile
from config.suggest import did_you_mean, nearest

MODELS = Path(__file__).parent / "models"
ENVIRONMENTS = Path(__file__).parent / "environments"
_Model = TypeVar("_Model", bound=BaseModel)
_RENAMED_KEYS = {"canaries": "prompt_checks"}
"""Keys that had another name before, and the name that they have now."""


def model_names() -> list[str]:
    """Return the names of the models that this project releases."""
    return _names(MODELS)


def load_model(name_or_path: str) -> tuple[str, ModelFile]:
    """Load a model file.

    Args:
        name_or_path: Its name (`qwen3-32b`), or its path: anything with a slash or an ending of YAML's.

    Returns:
        The model's name and the file's content.

    Raises:
        ConfigError: The file is not there, or one problem for each mistake in it.

    Example:
        >>> name, model = load_model("qwen3-32b")
        >>> name, model.serving.tensor_parallel_size
        ('qwen3-32b', 8)
    """
    path = _find(name_or_path, MODELS, "model")
    if not re.fullmatch(NAME_PATTERN, path.stem):
        expected = "lower-case letters, digits and dashes, 42 at most, since it becomes part of AWS names"
        raise ConfigError(
            [Problem(path, f"the file's name is the model's name, and {path.stem!r} will not do; expected {expected}")]
        )
    return path.stem, _load(path, ModelFile)


def problem_in(name_or_path: str, location: Location, message: str) -> Problem:
    """Describe what only a Hub or an account could find wrong with a value of a model file that loads, with the value's line."""
    source = YamlFile(_find(name_or_path, MODELS, "model"))
    return Problem(source.path, f"{'.'.join(map(str, location))}: {message}", source.line_of(location))


def load_environment(name_or_path: str) -> Environment:
    """Load an environment file by its name (`local`, `aws`) or its path; ConfigError as `load_model`."""
    return _load(_find(name_or_path, ENVIRONMENTS, "environment"), Environment)


def _find(name_or_path: str, directory: Path, what: str) -> Path:
    looks_like_path = "/" in name_or_path or name_or_path.endswith((".yaml", ".yml"))
    path = Path(name_or_path) if looks_like_path else directory / f"{name_or_path}.yaml"
    if path.is_file():
        return _shown(path)
    known = _names(directory)
    hint = did_you_mean(path.stem, known)
    raise ConfigError([Problem(_shown(path), f"there is no such {what} file; {hint}Known: {', '.join(known)}")])


def _names(directory: Path) -> list[str]:
    return sorted(path.stem for path in directory.glob("*.yaml"))


def _shown(path: Path) -> Path:
    """Return the path as a person would type it from here."""
    absolute = path.resolve()
    here = Path.cwd()
    return absolute.relative_to(here) if absolute.is_relative_to(here) else path


def _load(path: Path, model: type[_Model]) -> _Model:
    source = YamlFile(path)
    try:
        return model.model_validate(source.data)
    except ValidationError as error:
        schema = model.model_json_schema()
        found = [
            _problem(source, details, schema) for details in error.errors() if not _is_misspelt(details, error.errors(), schema)
        ]
        raise ConfigError(found) from None


def _is_misspelt(details: ErrorDetails, others: list[ErrorDetails], schema: Mapping[str, Any]) -> bool:
    """Return whether a key is missing only because it is there misspelt: the other error says it better."""
    if details["type"] != "missing":
        return False
    *parent, key = details["loc"]
    known = _keys_at(schema, tuple(parent))
    unknown = [other["loc"] for other in others if other["type"] == "extra_forbidden"]
    return any(loc[:-1] == tuple(parent) and known and nearest(str(loc[-1]), known) == key for loc in unknown)


def _problem(source: YamlFile, details: ErrorDetails, schema: Mapping[str, Any]) -> Problem:
    location: Location = details["loc"]
    if details["type"] == "value_error":
        location += getattr(details["ctx"]["error"], "location", ())
    known = _keys_at(schema, location[:-1])
    shown = ".".join(str(part) for part in _in_file(source.data, location)) or "file"
    match details["type"]:
        case "extra_forbidden":
            renamed = _RENAMED_KEYS.get(str(location[-1]))
            meant = f"it is called {renamed!r} now. " if renamed in known else did_you_mean(str(location[-1]), known)
            message = f"{shown}: unknown key; {meant}Valid here: {', '.join(known)}"
        case "missing":
            message = f"{shown}: missing; add it" + (f" ({known[str(location[-1])]})" if known.get(str(location[-1])) else "")
        case "value_error":
            message = f"{shown}: {details['ctx']['error']}"
        case "union_tag_not_found":
            message = f"{shown}: needs {details['ctx']['discriminator']}; config/schema.json has its values"
        case "union_tag_invalid":
            context = details["ctx"]
            location += (str(context["discriminator"]).strip("'"),)
            message = f"{shown}.{location[-1]}: {context['tag']!r} will not do, expected one of {context['expected_tags']}"
        case "model_type" | "model_attributes_type":
            inside = ", ".join(_keys_at(schema, location))
            message = f"{shown}: {details['input']!r} will not do, expected keys with values below it: {inside}"
        case _:
            expected = details["msg"].replace("Input should be", "expected")
            message = f"{shown}: {details['input']!r} will not do, {expected}" + _hint(details, source)
    return Problem(source.path, message, source.line_of(location))


def _hint(details: ErrorDetails, source: YamlFile) -> str:
    """Return what to write instead, where the kind of mistake tells."""
    kind, value = details["type"], details["input"]
    if kind == "string_type" and not isinstance(value, str | dict | list):
        return f'; put it in quotes: "{value}"'
    if kind in {"int_type", "float_type", "bool_type"} and source.is_quoted_number(details["loc"]):
        return "; write it without quotes"
    return ""


def _in_file(data: Any, location: Location) -> Location:
    """`location` without the parts that pydantic adds (the chosen member of a union) but the file does not have."""
    parts: list[str | int] = []
    for index, part in enumerate(location):
        inside = (isinstance(data, dict) and part in data) or (isinstance(data, list) and isinstance(part, int))
        if inside:
            data = data[part]
        if inside or index == len(location) - 1:
            parts.append(part)
    return tuple(parts)


def _keys_at(schema: Mapping[str, Any], location: Location) -> dict[str, str]:
    """Return the keys that may stand at `location`, each with its description."""
    node: Mapping[str, Any] = schema
    for part in location:
        node = _resolve(schema, node)
        if "discriminator" in node and part in node["discriminator"]["mapping"]:
            node = {"$ref": node["discriminator"]["mapping"][part]}
        elif "items" in node:
            node = node["items"]
        else:
            by_pattern = node.get("patternProperties", {}).values()
            node = node.get("properties", {}).get(part) or next(iter(by_pattern), None) or node.get("additionalProperties") or {}
    properties = _resolve(schema, node).get("properties", {})
    return {key: str(value.get("description", "")).split("\n", 1)[0] for key, value in properties.items()}


def _resolve(schema: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow a `$ref` into the schema's definitions."""
    if "$ref" in node:
        definition: Mapping[str, Any] = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
        return definition
    return node
