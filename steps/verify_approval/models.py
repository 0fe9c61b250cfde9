"""What the step gives out."""

from __future__ import annotations

from typing import Literal

from config.base import Strict


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
