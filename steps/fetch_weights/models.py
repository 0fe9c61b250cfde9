"""What the step gives out."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from config.base import Strict


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
