"""The section `production` of a model file: where approved versions go, and how one replaces another."""

from __future__ import annotations

from pydantic import Field

from config.base import Name, Strict
from config.updates import AllAtOnce, Update


class Production(Strict):
    """Where approved versions go."""

    endpoint: Name
    """The endpoint's name."""
    instance_count: int = Field(default=1, ge=1)
    """How many instances serve it."""
    update: Update = AllAtOnce(strategy="all_at_once")
    """How a new version replaces the old one."""
    alarms: list[str] = Field(default=[], max_length=10)
    """CloudWatch alarms that roll an update back when they go off while it runs (SageMaker takes 10 at most)."""
