"""What goes into the step and what comes out: its arguments, and weights.json."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import Field

from config.base import Strict
from config.schema import Release
from delivery.hub.selection import Selection
from delivery.job.host_registry import JobHosts
from delivery.weights.manifest import Manifest


@dataclass(frozen=True)
class FetchArguments:
    """Arguments of one run of the step."""

    release: Release
    """The resolved model file."""
    hub_endpoint: str
    """The Hub's URL, as in https://huggingface.co."""
    execution: str
    """A name for this run in the journal."""
    output: Path
    """The folder that weights.json is written to."""
    hosts: JobHosts = field(default_factory=JobHosts)
    """The hosts that share the fetch, and which of them this is."""
    check: Callable[[Manifest, Selection], None] | None = None
    """What else must hold before the manifest is written (see `expectations`)."""


class WeightsOutput(Strict):
    """weights.json, the step's property file."""

    schema_version: Literal[1] = 1
    """The format of this file."""
    weights_prefix: str
    """`s3://BUCKET/weights/REPO/REVISION/`."""
    manifest_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """The SHA-256 of manifest.json: registered with the model package, verified before promotion."""
    repository: str
    """ORGANISATION/NAME on the Hub."""
    revision: str
    """The commit."""
    files: int
    """How many files the prefix holds, without the manifest."""
    total_bytes: int
    """Their bytes."""
    fetched_bytes: int
    """How many of these this execution moved; 0 when an earlier one had them all there."""
    seconds: float
    """How long the step took."""
