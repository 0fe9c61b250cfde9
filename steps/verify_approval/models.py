"""What goes into the step and what comes out: its arguments, and approval.json."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from config.base import Strict
from delivery.names import NOT_GIVEN


@dataclass(frozen=True)
class VerificationArguments:
    """Arguments of one run of the step."""

    model_package: str
    """The version's ARN."""
    bucket: str
    """Where the ledger is."""
    intent: Literal["promotion", "rollback", "retirement"]
    """`rollback`: to a version that production served; `retirement`: of the one that it serves."""
    output: Path
    """The folder that approval.json and release.json are written to."""
    execution: str = NOT_GIVEN
    """The pipeline execution."""


class Approval(Strict):
    """approval.json, the step's property file."""

    schema_version: Literal[1] = 1
    """The format of this file."""
    model_package: str
    """The version's ARN."""
    approved: bool
    """Whether it may reach production."""
    reason: str
    """Why, or why not: shown as the execution's failure reason."""
