"""What one client process measured: its requests, and how it fared itself."""

from __future__ import annotations

from array import array
from collections.abc import MutableSequence
from dataclasses import dataclass, field

from loadtest.measurement.request_record import RequestRecord


def _moments() -> MutableSequence[int]:
    return array("q")


@dataclass
class WorkerResult:
    """The requests of one client process, its lateness and its CPU."""

    results: list[RequestRecord] = field(default_factory=list)
    lag_ns: MutableSequence[int] = field(default_factory=_moments)
    """How late its event loop was, twenty times a second, and how late it turned to each due request, while it was measured. Nanoseconds."""
    cpu_share: float = 0.0
    """The share of one core that it used while it was measured."""
    prompts_to: int = 0
    """Where the recorded prompts that it asked end: how many of their order were dealt out, to all processes, up to its last one."""
    prompts_repeated: int = 0
    """How many recorded prompts it asked again, since there were no more."""
