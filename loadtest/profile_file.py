"""A file of load profiles, YAML or JSON: one profile, or a mapping of names to profiles. Each mistake is one clear error."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from loadtest.errors import InvalidInput
from loadtest.lengths import keys_of
from loadtest.profiles import KINDS, METRICS, LoadProfile

_ADAPTER: TypeAdapter[LoadProfile] = TypeAdapter(LoadProfile)
_SINGLE = "profile"
"""The name of a profile that is given without one, and without a file."""


def read_profiles(source: str | Path) -> dict[str, LoadProfile]:
    """Read load profiles.

    Args:
        source: the path of a YAML or JSON file, or the JSON itself, beginning with a brace. One profile (it has `kind`), or a mapping of
            names to profiles.

    Returns:
        Name → profile, in the file's order; one that has no name is called as its file is.

    Raises:
        InvalidInput: it cannot be read, or is no load profile: where, which value, what was expected, what to do.
    """
    text = str(source)
    if text.lstrip().startswith("{"):
        return _profiles(_parsed(text, "--profile", is_json=True), _Source("--profile"), _SINGLE)
    path = Path(source)
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise InvalidInput(
            f"{path}: cannot be read: {reason}; give the path of a YAML or JSON file, or the JSON itself"
        ) from error
    data = _parsed(content, str(path), is_json=path.suffix == ".json")
    return _profiles(data, _Source(str(path), content), path.stem)


@dataclass(frozen=True)
class _Source:
    """What an error calls the place of a value."""

    name: str
    text: str = ""
    """The file's; empty where lines say nothing."""

    def at(self, location: Sequence[str | int]) -> str:
        """Return the name, and the line of the deepest part of `location` that is there."""
        try:
            node = yaml.compose(self.text, Loader=yaml.SafeLoader)
        except yaml.YAMLError:  # JSON with tabs
            return self.name
        line = None
        for part in location:
            node, line = _child(node, part, line)
        return self.name if line is None else f"{self.name}:{line}"


def _child(node: yaml.Node | None, part: str | int, line: int | None) -> tuple[yaml.Node | None, int | None]:
    """Return what is below `part`, and its line; of what is not there, nothing, and the line of what it would be in."""
    if isinstance(node, yaml.MappingNode):
        found = next((pair for pair in node.value if pair[0].value == str(part)), None)
        return (found[1], found[0].start_mark.line + 1) if found else (None, line)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part].start_mark.line + 1
    return None, line


def _parsed(text: str, where: str, *, is_json: bool) -> Any:
    try:
        return json.loads(text) if is_json else yaml.safe_load(text)
    except json.JSONDecodeError as error:
        raise InvalidInput(
            f"{where}:{error.lineno}: is not JSON: {error.msg}; expected an object with the keys of a load profile"
        ) from error
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or str(error)
        raise InvalidInput(f"{where}{f':{mark.line + 1}' if mark else ''}: is not YAML: {problem}; correct that line") from error


def _profiles(data: Any, source: _Source, name: str) -> dict[str, LoadProfile]:
    if not isinstance(data, dict) or not data:
        raise InvalidInput(
            f"{source.name}: {_shown(data)} will not do, expected a load profile (kind, one of {', '.join(KINDS)}, …) or a mapping of names to "
            "profiles; loadtest/README.md has one to copy"
        )
    if "kind" in data or not any(isinstance(value, dict) and "kind" in value for value in data.values()):
        return {name: _profile(data, source, ())}
    return {str(key): _profile(value, source, (str(key),)) for key, value in data.items()}


def _profile(data: Any, source: _Source, above: tuple[str, ...]) -> LoadProfile:
    try:
        profile = _ADAPTER.validate_python(data)
    except ValidationError as error:
        found = sorted(error.errors(), key=lambda details: details["type"] == "missing")  # a misspelt key explains a missing one
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        place = (*above, *_in_file(found[0], data))
        raise InvalidInput(f"{source.at(place)}: {_problem(found[0], data, place, above)}{more}") from error
    for metric in profile.objectives:
        if metric not in METRICS:
            place = (*above, "objectives", metric)
            known = f"{_meant(metric, METRICS)}Known: {', '.join(METRICS)}"
            raise InvalidInput(f"{source.at(place)}: {'.'.join(map(str, place))}: no such metric; {known}")
    return profile


def _in_file(details: ErrorDetails, data: Any) -> list[str | int]:
    """Return where a mistake is, without what pydantic adds: the chosen member of a union."""
    error = details.get("ctx", {}).get("error")
    location = (*details["loc"], *getattr(error, "location", ()))
    parts: list[str | int] = []
    for number, part in enumerate(location):
        keys = data if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ()
        key = next((key for key in keys if str(key) == str(part)), None)
        if key is not None:
            data = data[key]
        if key is not None or (details["type"] == "missing" and number == len(location) - 1):
            parts.append(part)
    return parts


def _problem(details: ErrorDetails, data: Any, place: Sequence[str | int], above: tuple[str, ...]) -> str:
    """Return the key, the value, what was expected, and what to do."""
    kind = data.get("kind") if isinstance(data, dict) else None
    shown, tag = ".".join(map(str, place)) or "profile", ".".join((*above, "kind"))
    match details["type"]:
        case "extra_forbidden":
            known = _valid_keys(kind, details)
            return f"{shown}: unknown key; {_meant(str(place[-1]), known)}Valid here: {', '.join(known)}"
        case "missing":
            return f"{shown}: missing; add it"
        case "union_tag_not_found":
            return f"{tag}: missing; add it, one of {', '.join(KINDS)}"
        case "union_tag_invalid":
            return f"{tag}: {_shown(kind)} will not do, expected one of {', '.join(KINDS)}; {_meant(str(kind), KINDS)}".rstrip(
                "; "
            )
        case "value_error":
            return f"{shown}: {details['ctx']['error']}"
        case _:
            expected = details["msg"].replace("Input should be", "expected")
            return f"{shown}: {_shown(details['input'])} will not do, {expected}"


def _valid_keys(kind: Any, details: ErrorDetails) -> list[str]:
    """Return which keys may stand where one does that may not."""
    _, *inside, _ = details["loc"]
    if not inside and kind in KINDS:
        return list(KINDS[kind].model_fields)
    return (keys_of(str(inside[-1])) if inside else None) or _bounds()


def _bounds() -> list[str]:
    return ["at_most", "at_least", "at_most_production", "at_least_production"]


def _meant(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {close[0]!r}? " if close else ""


def _shown(value: object) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def check_objectives_alone(profiles: Mapping[str, LoadProfile]) -> None:
    """Refuse an objective that is relative to production where there is nothing to compare with.

    Raises:
        InvalidInput: names the profile and the metric.
    """
    for name, profile in profiles.items():
        for metric, objective in profile.objectives.items():
            if objective.relative is not None:
                raise InvalidInput(
                    f"{name}: objectives.{metric} is relative to production, and there is nothing to compare with; give --baseline, the "
                    "report.json of an earlier run, or use at_most or at_least"
                )
