"""What the step gives out."""

from __future__ import annotations

from typing import Literal

from config.base import Strict
from delivery.endpoint.prompt_checks import PromptCheckResult

Action = Literal["created", "updated", "unchanged"]
"""What became of the endpoint. One that serves the version already is left alone: `unchanged`."""


class Promotion(Strict):
    """promotion.json."""

    schema_version: Literal[1] = 1
    """The format of this file."""
    endpoint: str
    """The production endpoint."""
    model_package: str
    """The ARN of the version that it serves now."""
    version: int
    """That version's number."""
    previous_version: int | None
    """The version that it served before; None when this execution created it."""
    action: Action
    """What was done."""
    smoke: list[PromptCheckResult]
    """The prompt checks, asked of production after the update."""
    seconds: float
    """How long it took."""
