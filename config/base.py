"""What every model in `config` shares: the strict base, and the form of a name."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?$"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
"""Lower-case letters, digits and dashes: it becomes part of endpoint, pipeline and package group names (63 characters)."""


class Strict(BaseModel):
    """No unknown keys, no silent conversions, no changes after loading; attribute docstrings become schema descriptions."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)
