"""What grew that should not have, between the first tenth of the releases and the last."""

from __future__ import annotations

import statistics

from benchmarks.soak.stack import Soak

SERVER_MIB_A_RELEASE = 0.5
"""What sagemaker_local may grow by: it remembers every job, execution and version, as SageMaker does."""
SLOWER = 1.25
"""How much more CPU time the last releases may take than the first."""


def growing(found: Soak) -> list[str]:
    """Say what grew that should not have.

    Args:
        found: What many releases did.

    Returns:
        One sentence each; none when nothing grew.
    """
    first, last, end = found.usages[1], found.usages[-2], found.usages[-1]
    apart = max(1, last.releases - first.releases)
    fifth = max(1, len(found.cpu_s) // 5)
    said = [f"failed: {one}" for one in found.failed]
    if last.open_files > first.open_files + 2:
        said.append(f"open files: {first.open_files} after release {first.releases}, {last.open_files} after {last.releases}")
    for name, before, after in (
        ("processes", first.processes, last.processes),
        ("processes after those at once", first.processes, end.processes),
        ("temporary files", first.temp_files, max(last.temp_files, end.temp_files)),
        ("reads of the ledger a release", statistics.median(found.calls[:fifth]) + 5, statistics.median(found.calls[-fifth:])),
    ):
        if after > before:
            said.append(f"{name}: {before:g}, then {after:g}")
    for name, grown in (
        ("sagemaker_local", last.sagemaker_mib - first.sagemaker_mib),
        ("local_hub", last.hub_mib - first.hub_mib),
    ):
        if grown / apart > SERVER_MIB_A_RELEASE:
            said.append(f"memory of {name}: {grown / apart:.2f} MiB a release")
    before_s, after_s = statistics.median(found.cpu_s[:fifth]), statistics.median(found.cpu_s[-fifth:])
    if after_s > SLOWER * before_s:
        said.append(f"CPU time of a release: {before_s:.2f} s, then {after_s:.2f} s")
    return said
