"""What the fetch must reach, and whether a run of the benchmark did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.fetch.measure import Measured

OURS = "ours"
RIVAL = "snapshot_upload_file"
"""What every sample does: `snapshot_download`, then boto3's `upload_file`, as they come."""
SPEEDUP = 3.5
CAPPED_SPEEDUP = 1.9
"""Of at most 2: who stores first and sends then uses one leg at a time."""
RSS_MARGIN_BYTES = 150_000_000
SAME = 1.1
"""How many times the memory of the smaller model is still the same."""


@dataclass(frozen=True)
class Bar:
    """One of them: what was measured, what was asked for, whether that is met."""

    name: str
    measured: str
    asked: str
    is_met: bool

    def __str__(self) -> str:
        return f"  {'met   ' if self.is_met else 'MISSED'}  {self.name:52} {self.measured:>10}  (asked: {self.asked})"


def bars(
    uncapped: Mapping[str, Measured], capped: Mapping[str, Measured], larger: Measured | None, memory_bytes: int
) -> list[Bar]:
    """Return every bar that these runs can decide; `larger` is ours with the larger model."""
    ours, rival = uncapped.get(OURS), uncapped.get(RIVAL)
    found: list[Bar] = []
    if ours and rival:
        found.append(_ratio(f"wall, {RIVAL} / ours, uncapped", rival.wall_s / ours.wall_s, SPEEDUP))
        found.append(_ratio(f"CPU seconds, {RIVAL} / ours, uncapped", rival.cpu_s / ours.cpu_s, SPEEDUP))
    if OURS in capped and RIVAL in capped:
        found.append(_ratio(f"wall, {RIVAL} / ours, capped", capped[RIVAL].wall_s / capped[OURS].wall_s, CAPPED_SPEEDUP))
    all_of_ours = [m for m in (ours, capped.get(OURS), larger) if m]
    if all_of_ours:
        disk = max(m.disk_bytes for m in all_of_ours)
        found.append(Bar("bytes on disk, ours", f"{disk:,}", "0", disk == 0))
        most = memory_bytes + RSS_MARGIN_BYTES
        peak = max(m.peak_rss_bytes for m in all_of_ours)
        found.append(Bar("peak RSS, ours", _mb(peak), f"at most {_mb(most)}", peak <= most))
    if ours and larger:
        limit = ours.peak_rss_bytes * SAME
        found.append(
            Bar(
                "peak RSS of the larger model, ours",
                _mb(larger.peak_rss_bytes),
                f"as before, at most {_mb(limit)}",
                larger.peak_rss_bytes <= limit,
            )
        )
    return found


def _ratio(name: str, value: float, least: float) -> Bar:
    return Bar(name, f"{value:.2f}", f"at least {least}", value >= least)


def _mb(count: float) -> str:
    return f"{count / 1e6:.0f} MB"
