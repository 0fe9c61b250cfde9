"""What a release changes against the one in production: each setting by the name that the files give it, the old value and the new."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue, ValidationError

from config.schema import Release

ABSENT = "(not set)"


@dataclass(frozen=True)
class Difference:
    """One setting that is another now."""

    name: str
    """As in weights.revision, or environment.bucket."""
    old: JsonValue
    new: JsonValue


def differences(old: Mapping[str, Any], new: Release) -> list[Difference]:
    """List every setting whose value differs, in the order of the files.

    >>> from pipelines.resolution import resolve
    >>> release = resolve("qwen3-32b", "local")
    >>> differences(release.model_dump(mode="json"), release)
    []

    `old` is a release file's content; settings that it does not know yet count as their defaults, where the format still reads it.
    """
    try:
        before = Release.model_validate(old).model_dump(mode="json")
    except ValidationError:
        before = dict(old)
    olds, news = dict(_flat("", before)), dict(_flat("", new.model_dump(mode="json")))
    names = [*news, *(name for name in olds if name not in news)]
    found = [Difference(_shown(name), olds.get(name, ABSENT), news.get(name, ABSENT)) for name in names]
    return [one for one in found if one.old != one.new]


def _flat(name: str, value: Any) -> list[tuple[str, JsonValue]]:
    """List the leaves of a document with their dotted names; a list is one leaf, and so is an empty mapping."""
    if isinstance(value, dict) and value:
        return [leaf for key, item in value.items() for leaf in _flat(f"{name}.{key}" if name else key, item)]
    return [] if value == {} else [(name, value)]


def _shown(name: str) -> str:
    """Return the name as the model file has it."""
    return name.removeprefix("model.")
