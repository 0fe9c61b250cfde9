"""What a client says it saw: of each token or of some, when it was received, beside when the server stamped it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Observed:
    """A client's record of one run."""

    pairs: list[tuple[int, int]]
    """(stamped, received), nanoseconds of the monotonic clock."""
    what: str
    """Of which tokens it has moments: every token, first token, …"""
    itl: dict[str, float]
    """The inter-token latency that it reports itself: percentile → milliseconds."""

    def error_ms(self, warmup_ns: int) -> dict[str, float]:
        """Received minus stamped, of tokens stamped `warmup_ns` or more after the first of all."""
        begin = min((stamped for stamped, _ in self.pairs), default=0) + warmup_ns
        errors = sorted((received - stamped) / 1e6 for stamped, received in self.pairs if stamped >= begin)
        if not errors:
            return {}
        return {"p50": percentile(errors, 50), "p99": percentile(errors, 99), "max": errors[-1]}


def percentile(ordered: list[float], share: float) -> float:
    """Return the smallest value that this percentage of them does not exceed."""
    return ordered[max(0, -(-int(share * 1000) * len(ordered) // 100_000) - 1)]


def stamps(text: str) -> list[int]:
    """Return the moments that an answer's text is made of."""
    return [int(word) for word in text.split()]


def to_monotonic_ns(wall_s: float) -> int:
    """Convert a moment of the wall clock to the monotonic one. Both are this machine's, read at the same time."""
    return round(wall_s * 1e9) - (time.time_ns() - time.monotonic_ns())


def write(file: Path, observed: Observed) -> None:
    """For the process that compares."""
    file.write_text(json.dumps(vars(observed)))


def read(file: Path) -> Observed:
    """Read what `write` wrote."""
    found: dict[str, Any] = json.loads(file.read_text())
    return Observed([(stamped, received) for stamped, received in found["pairs"]], found["what"], found["itl"])
