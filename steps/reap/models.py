"""What goes into the step and what comes out: its arguments, and reaped.json."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from config.base import Strict

ResourceKind = Literal["endpoint", "endpoint-config", "model"]

ReapOutcome = Literal["deleted", "busy", "in use", "failed", "dry run"]
"""What became of a resource. `busy`: the endpoint was still changing when the pass had waited long enough; `failed`: AWS refused; `in use`: by
an endpoint that is one of both. The next pass tries all of these again."""


@dataclass(frozen=True)
class ReapArguments:
    """Arguments of one run of the step."""

    region: str
    """The AWS region to look in."""
    dry_run: bool = False
    """Say what would be deleted, delete nothing."""
    wait_s: float = 0.0
    """How long to wait for endpoints that SageMaker does not delete because they are changing just now. Seconds."""
    output: Path | None = None
    """The folder that reaped.json is written to; None: it is not written."""


class ReapedResource(Strict):
    """One resource that outlived its run."""

    kind: ResourceKind
    """What it is."""
    name: str
    """Its name."""
    model: str
    """Its tag release:model."""
    execution: str
    """Its tag release:execution."""
    reason: str
    """Why it should be gone."""
    outcome: ReapOutcome
    """What became of it."""
    error: str = ""
    """Why it could not be deleted."""


class Unread(Strict):
    """Something that AWS did not let the reaper read."""

    kind: ResourceKind | Literal["execution"]
    """What it is. Resources of which it is not known whether they have outlived their run make the pass fail; an execution does not, since
    what it made is not past its expiry yet."""
    name: str
    """Its name; empty where all of this kind could not be listed."""
    error: str
    """Why it could not be read."""


class ReapPass(Strict):
    """reaped.json: one pass of the reaper."""

    schema_version: Literal[1] = 1
    """The format of this file."""
    at: str
    """When, ISO 8601 UTC, by SageMaker's clock."""
    seen: int
    """How many resources carry an expiry at all."""
    reaped: list[ReapedResource]
    """Those that had outlived their run."""
    unread: list[Unread] = []
    """What could not be read; the next pass tries again."""
