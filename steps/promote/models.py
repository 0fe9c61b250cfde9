"""What goes into the step and what comes out: its arguments, and promotion.json."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from config.base import Strict
from config.schema import Release
from delivery.endpoint.prompt_checks import PromptCheckResult
from delivery.names import NOT_GIVEN

Action = Literal["created", "updated", "unchanged"]
"""What became of the endpoint. One that serves the version already is left alone: `unchanged`."""


@dataclass(frozen=True)
class PromotionArguments:
    """Arguments of one run of the step."""

    release: Release
    """The resolved model file."""
    model_package: str
    """The version's ARN."""
    execution: str
    """The pipeline execution."""
    approval: Literal["manual", "automatic"]
    """With `automatic` the step itself approves a pending version: the gate's verdict is enough."""
    output: Path
    """The folder that promotion.json is written to."""
    intent: Literal["promotion", "rollback"] = "promotion"
    """`rollback`: to a version that production served."""
    by: str = NOT_GIVEN
    """Who asked for a rollback."""
    comment: str = NOT_GIVEN
    """And why."""

    @property
    def who(self) -> str:
        """Who stands in the ledger: the person, where one asked, else the execution."""
        return self.execution if self.by == NOT_GIVEN else self.by


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
