"""The parameters of an execution: what StartPipelineExecution was given, checked against what the definition declares."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import ValidationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sagemaker_local.pipelines.definitions.model import ParameterSpec


def resolve_parameters(
    declared: Mapping[str, ParameterSpec], given: Sequence[Mapping[str, str]]
) -> dict[str, str | int | float | bool]:
    """Return the value of every declared parameter, in its declared type: the given one, else the default.

    ``given`` is StartPipelineExecution's PipelineParameters, whose values are always strings.

    Raises:
        ValidationError: a name that is not declared or given twice, a value of the wrong type or outside the enum, or
            a parameter that has neither a value nor a default.
    """
    texts: dict[str, str] = {}
    for entry in given:
        name = entry["Name"]
        if name not in declared:
            known = ", ".join(sorted(declared)) or "none"
            raise ValidationError(f"Unknown parameter '{name}': the pipeline definition declares {known}.")
        if name in texts:
            raise ValidationError(f"Parameter '{name}' is given twice.")
        texts[name] = entry["Value"]
    values: dict[str, str | int | float | bool] = {}
    for name, spec in declared.items():
        if name in texts:
            values[name] = _convert(spec, texts[name])
        elif spec.default is not None:
            values[name] = _convert(spec, spec.default)
        else:
            raise ValidationError(f"Parameter '{name}' is undefined: it has no default, so a value must be given.")
    return values


def _convert(spec: ParameterSpec, value: Any) -> str | int | float | bool:
    """Return ``value`` in the parameter's declared type, checked against its enum."""
    text = str(value)
    converted: str | int | float | bool
    if spec.type == "Integer" and re.fullmatch(r"[+-]?\d+", text):
        converted = int(text)
    elif spec.type == "Float" and re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text):
        converted = float(text)
    elif spec.type == "Boolean" and text.lower() in ("true", "false"):
        converted = text.lower() == "true"
    elif spec.type == "String":
        converted = text
    else:
        raise ValidationError(f"Unexpected type for parameter '{spec.name}'. Expected {spec.type} but found value '{text}'.")
    if spec.enum and converted not in spec.enum:
        allowed = ", ".join(map(str, spec.enum))
        raise ValidationError(f"Parameter '{spec.name}' has value '{text}', which is not in its enum: [{allowed}].")
    return converted
