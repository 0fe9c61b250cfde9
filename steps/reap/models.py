"""What the step gives out: reaped.json."""

from __future__ import annotations

from typing import Literal

from config.base import Strict

Kind = Literal["endpoint", "endpoint-config", "model"]

Outcome = Literal["deleted", "busy", "in use", "failed", "dry run"]
"""What became of a resource. `busy`: the endpoint was still changing when the pass had waited long enough; `failed`: AWS refused; `in use`: by
an endpoint that is one of both. The next pass tries all of these again."""


class Reaped(Strict):
    """One resource that outlived its run."""

    kind: Kind
    """What it is."""
    name: str
    """Its name."""
    model: str
    """Its tag release:model."""
    execution: str
    """Its tag release:execution."""
    reason: str
    """Why it should be gone."""
    outcome: Outcome
    """What became of it."""
    error: str = ""
    """Why it could not be deleted."""


class Pass(Strict):
    """reaped.json: one pass of the reaper."""

    schema_version: Literal[1] = 1
    """The format of this file."""
    at: str
    """When, ISO 8601 UTC."""
    seen: int
    """How many resources carry an expiry at all."""
    reaped: list[Reaped]
    """Those that had outlived their run."""
