"""What every model in `config` shares: the strict base, and how names are written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema


@dataclass(frozen=True)
class Written:
    """How a text is written: the pattern, for editors and for us, and words for who got it wrong."""

    pattern: str
    words: str
    """What was expected, as in `12 digits`."""

    def check(self, value: str) -> str:
        """Return it; ValueError, in words, when it is written otherwise."""
        if re.fullmatch(self.pattern, value) is None:
            raise ValueError(f"{value!r} will not do, expected {self.words}")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "pattern": self.pattern}


NAME = Written(
    r"^[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?$",
    "lower-case letters, digits and dashes, 42 at most, since it becomes part of AWS names; as in qwen3-32b",
)
Name = Annotated[str, NAME]
"""Lower-case letters, digits and dashes: it becomes part of endpoint, pipeline and package group names (63 characters)."""


class Strict(BaseModel):
    """No unknown keys, no silent conversions, no changes after loading; attribute docstrings become schema descriptions."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)
