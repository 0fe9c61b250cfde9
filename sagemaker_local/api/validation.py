"""Requests checked against botocore's model of SageMaker, with the service's own wording.

The wording is that of the service's front end: "1 validation error detected: Value 'x' at 'endpointName' failed to satisfy
constraint: Member must ...". Members that the model does not know are left alone, as AWS's JSON services do.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import AwsError, ValidationError
from sagemaker_local.service_models import service_model

if TYPE_CHECKING:
    from collections.abc import Iterator

_TYPES: dict[str, tuple[type, ...]] = {
    "structure": (dict,),
    "map": (dict,),
    "list": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "timestamp": (int, float, str),
    "blob": (str,),
}


def known_action(name: str) -> bool:
    """Return whether SageMaker has this action at all."""
    return name in service_model("sagemaker").operation_names


def check(action: str, request: Any) -> None:
    """Check a request of a SageMaker action.

    Raises:
        AwsError: ``SerializationException`` for a wrong JSON type.
        ValidationError: a member is missing, or breaks a constraint of the model.

    >>> check("DescribeModel", {"ModelName": "chat"})
    """
    shape = service_model("sagemaker").operation_model(action).input_shape
    if shape is None:
        return
    problems = list(_problems(shape, request, ""))
    if problems:
        count = f"{len(problems)} validation error{'s' if len(problems) > 1 else ''} detected: "
        raise ValidationError(count + "; ".join(problems))


def _problems(shape: Any, value: Any, path: str) -> Iterator[str]:
    kind = shape.type_name
    wrong_type = not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "boolean")
    if wrong_type:
        where = path or "the request"
        raise AwsError("SerializationException", f"{where}: a {kind} is expected, not {type(value).__name__}")
    if kind == "structure":
        yield from _structure_problems(shape, value, path)
    elif kind == "list":
        yield from _range_problems(shape, len(value), value, path, "have length")
        for index, item in enumerate(value):
            yield from _problems(shape.member, item, f"{path}.{index + 1}.member")
    elif kind == "map":
        yield from _range_problems(shape, len(value), value, path, "have length")
        for key, item in value.items():
            yield from _problems(shape.key, key, f"{path}.{key}.key")
            if item is not None:
                yield from _problems(shape.value, item, f"{path}.{key}.member")
    elif kind == "string":
        yield from _string_problems(shape, value, path)
    elif kind in ("integer", "long", "float", "double"):
        yield from _range_problems(shape, value, value, path, "have value")


def _structure_problems(shape: Any, value: dict[str, Any], path: str) -> Iterator[str]:
    for name in shape.required_members:
        if value.get(name) is None:
            yield _failed(None, _join(path, name), "Member must not be null")
    for name, item in value.items():
        if item is not None and name in shape.members:
            yield from _problems(shape.members[name], item, _join(path, name))


def _string_problems(shape: Any, value: str, path: str) -> Iterator[str]:
    if shape.enum and value not in shape.enum:
        yield _failed(value, path, f"Member must satisfy enum value set: [{', '.join(shape.enum)}]")
        return
    yield from _range_problems(shape, len(value), value, path, "have length")
    pattern = shape.metadata.get("pattern")
    if pattern and not _matches(pattern, value):
        yield _failed(value, path, f"Member must satisfy regular expression pattern: {pattern}")


def _range_problems(shape: Any, measure: float, value: Any, path: str, verb: str) -> Iterator[str]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and measure < float(least):
        yield _failed(value, path, f"Member must {verb} greater than or equal to {least}")
    if most is not None and measure > float(most):
        yield _failed(value, path, f"Member must {verb} less than or equal to {most}")


def _matches(pattern: str, value: str) -> bool:
    compiled = _compiled(pattern)
    return compiled is None or compiled.fullmatch(value) is not None


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str] | None:
    """Return a pattern of the model; None where it uses what only Java's expressions have (``\\p{L}``)."""
    try:
        return re.compile(pattern)
    except re.error:
        return None


def _failed(value: Any, path: str, constraint: str) -> str:
    shown = "null" if value is None else f"'{value}'"
    return f"Value {shown} at '{path}' failed to satisfy constraint: {constraint}"


def _join(path: str, name: str) -> str:
    lowered = name[:1].lower() + name[1:]
    return f"{path}.{lowered}" if path else lowered
