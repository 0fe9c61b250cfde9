"""What goes into the step and what comes out: its arguments, and promotion.json."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from config.base import Strict
from config.schema import Release
from delivery.endpoint.prompt_checks import PromptCheckResult
from delivery.names import NOT_GIVEN

Intent = Literal["promotion", "rollback", "retirement"]
"""What is to become of production: it serves an approved version, one that it served before, or nothing any more."""
Action = Literal["created", "updated", "unchanged", "superseded", "under_way", "retired"]
"""What became of the endpoint. `unchanged`: it serves the version already and is left alone. `superseded`: it did, and serves a newer one since.
`under_way`: another execution is promoting the version just now. `retired`: it was taken out of service."""


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
    intent: Intent = "promotion"
    """A rollback is to a version that production served; a retirement is of the version that it serves."""
    by: str = NOT_GIVEN
    """Who asked for a rollback or a retirement."""
    comment: str = NOT_GIVEN
    """And why."""
    ledger_seen: int | None = None
    """The last event of the ledger that whoever asked for a rollback went by: no later rejection is overruled. None: the step's own first look."""

    @property
    def who(self) -> str:
        """Who stands in the ledger: the person, where one asked, else the execution."""
        return self.execution if self.by == NOT_GIVEN else self.by

    @property
    def version(self) -> int | None:
        """The version's number, as its ARN says it; None where that ends in none."""
        number = self.model_package.rsplit("/", 1)[1]
        return int(number) if number.isdigit() else None


class Promotion(Strict):
    """promotion.json."""

    schema_version: Literal[1] = 1
    """The format of this file."""
    endpoint: str
    """The production endpoint."""
    model_package: str
    """The ARN of the version that this is about: what it serves now, unless `action` says otherwise."""
    version: int
    """That version's number."""
    previous_version: int | None
    """The version that it served before; None when this execution created it. What it serves, where the version was superseded."""
    action: Action
    """What was done."""
    smoke: list[PromptCheckResult]
    """The prompt checks, asked of production after the update."""
    seconds: float
    """How long it took."""
    execution: str = ""
    """The execution that promoted it; another one than this where the endpoint served the version already."""
