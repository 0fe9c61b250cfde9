"""What stands for a value in a definition: ``Get``, ``Std:Join`` and ``Std:JsonGet``, resolved to the value itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import UnresolvedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_TOKEN = re.compile(
    r"""\.?(?P<name>[^.\[\]'"$][^.\[\]]*)     # .name or name
      | \[\s*(?P<index>-?\d+)\s*\]            # [0]
      | \[\s*(?P<quote>['"])(?P<key>.*?)(?P=quote)\s*\]  # ['name']
    """,
    re.VERBOSE,
)


@dataclass(frozen=True)
class ExpressionScope:
    """Where values come from while an execution runs. The callables raise UnresolvedError for what they do not have."""

    parameters: Mapping[str, Any]
    execution_variable: Callable[[str], Any]
    """The value of ``Execution.NAME``."""
    step_properties: Callable[[str], Any]
    """A step's properties: what the Describe action of its resource returns."""
    property_file: Callable[[str, str], Any]
    """(step, property file) → that file's JSON."""
    read_json: Callable[[str], Any]
    """(S3 URI) → the JSON there."""


def resolve(value: Any, scope: ExpressionScope) -> Any:
    """Return ``value`` with every function in it replaced by what it stands for.

    Raises:
        UnresolvedError: a function has no value.
    """
    if isinstance(value, list):
        return [resolve(item, scope) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((name, argument),) = value.items()
        if name == "Get" and isinstance(argument, str):
            return _get(argument, scope)
        if name == "Std:Join":
            return str(argument.get("On", "")).join(as_text(resolve(item, scope)) for item in argument["Values"])
        if name == "Std:JsonGet":
            return _json_get(argument, scope)
    return {key: resolve(item, scope) for key, item in value.items()}


def as_text(value: Any) -> str:
    """Return a value as Std:Join writes it: booleans as ``true`` and ``false``, as the service does."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def follow(value: Any, path: str, expression: str) -> Any:
    """Return what is at ``path`` (``a.b[0]['c']``, an optional leading ``$``) inside ``value``.

    A name in brackets on a list finds the member of that name: ``Outputs['report']`` is the output whose OutputName is
    ``report``.

    Raises:
        UnresolvedError: nothing is there. ``expression`` is named in the message.

    >>> follow({"Outputs": [{"OutputName": "report", "S3Uri": "s3://b/r"}]}, ".Outputs['report'].S3Uri", "an example")
    's3://b/r'
    """
    for key in path_keys(path, expression):
        try:
            value = _member(value, key)
        except LookupError as error:
            raise UnresolvedError(f"Invalid path in {expression}: no {key!r} in {_describe(value)}.") from error
    return value


def path_keys(path: str, expression: str) -> list[str | int]:
    """Return the keys and indexes of a path, in order; UnresolvedError when it is not one."""
    rest = path.removeprefix("$")
    keys: list[str | int] = []
    position = 0
    while position < len(rest):
        match = _TOKEN.match(rest, position)
        if match is None:
            raise UnresolvedError(f"Invalid path '{path}' in {expression}: cannot read it from '{rest[position:]}' on.")
        index = match.group("index")
        keys.append(int(index) if index is not None else match.group("key") or match.group("name"))
        position = match.end()
    return keys


def _get(reference: str, scope: ExpressionScope) -> Any:
    kind, _, rest = reference.partition(".")
    if kind == "Parameters":
        if rest not in scope.parameters:
            raise UnresolvedError(f"{reference} is undefined.")
        return scope.parameters[rest]
    if kind == "Execution":
        return scope.execution_variable(rest)
    match = re.match(r"([A-Za-z0-9\-_]+)(.*)\Z", rest, re.DOTALL)
    if kind != "Steps" or match is None:
        raise UnresolvedError(f"{reference} is undefined.")
    return follow(scope.step_properties(match.group(1)), match.group(2), reference)


def _json_get(argument: Mapping[str, Any], scope: ExpressionScope) -> Any:
    path = str(resolve(argument.get("Path", ""), scope))
    if "S3Uri" in argument:
        uri = str(resolve(argument["S3Uri"], scope))
        return follow(scope.read_json(uri), path, f"Std:JsonGet of {uri}, path {path}")
    reference = argument["PropertyFile"]
    target = reference["Get"] if isinstance(reference, dict) else str(reference)
    match = re.match(r"Steps\.([A-Za-z0-9\-_]+)\.PropertyFiles\.(.+)\Z", target)
    if match is None:
        raise UnresolvedError(f"Std:JsonGet has PropertyFile {target!r}: expected Steps.NAME.PropertyFiles.FILE.")
    document = scope.property_file(match.group(1), match.group(2))
    return follow(document, path, f"Std:JsonGet of {target}, path {path}")


def _member(value: Any, key: str | int) -> Any:
    if isinstance(value, list) and isinstance(key, str):
        for item in value:
            if isinstance(item, dict) and any(k.endswith("Name") and v == key for k, v in item.items()):
                return item
        raise KeyError(key)
    if isinstance(value, dict):
        return value[str(key)]
    if isinstance(value, list) and isinstance(key, int):
        return value[key]
    raise KeyError(key)


def _describe(value: Any) -> str:
    if isinstance(value, dict):
        return "an object with " + (", ".join(map(str, list(value)[:12])) or "no members")
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return f"{type(value).__name__} {value!r:.80}"
