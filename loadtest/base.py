"""What every model of this package shares."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer


class Strict(BaseModel):
    """No unknown keys, no silent conversions, no changes after loading; attribute docstrings become schema descriptions."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


_INFINITE = "Infinity"


def _read(value: Any) -> Any:
    return math.inf if value == _INFINITE else value


def _written(value: float) -> float | str:
    return _INFINITE if value == math.inf else value


Reading = Annotated[
    float,
    Field(ge=-1e300, allow_inf_nan=True),  # NaN is at least nothing, and so refused
    BeforeValidator(_read),
    PlainSerializer(_written, return_type=float | str, when_used="json"),
]
"""A measured number, which may be infinite: a request that failed is slower than every bound. JSON has no number for that, so it is written as
the text "Infinity", which Python's `float`, JavaScript's `Number` and pandas read as what it is; null stays what was not measured."""
