"""What the step gives out."""

from __future__ import annotations

from typing import Literal

from config.base import Strict


class Rejection(Strict):
    """rejection.json."""

    schema_version: Literal[1] = 1
    """The format of this file."""
    model_package: str
    """The version's ARN."""
    reason: str
    """Why the gate refused it, as the registry shows it."""
