"""A hundred releases in a row and twenty models at once leave no more behind than the first did."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.soak.growth import growing
from benchmarks.soak.stack import Soak, soak
from benchmarks.soak.usage import Usage


def used(releases: int, **more: float) -> Usage:
    """What a stack uses that does not grow, but for `more`."""
    still = {"open_files": 32, "processes": 4, "temp_files": 0}
    mib = {"sagemaker_mib": 250.0, "hub_mib": 23.0, "temp_mib": 0.0, "state_mib": 2.0 * releases}
    return Usage(releases, **{**still, **mib, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({}, ""),
        ({"open_files": 40}, "open files: 32 after release 10, 40 after 100"),
        ({"processes": 9}, "processes: 4, then 9"),
        ({"temp_files": 3}, "temporary files: 0, then 3"),
        ({"sagemaker_mib": 350.0}, "memory of sagemaker_local: 1.11 MiB a release"),
    ],
)
def test_what_grows_is_said(more: dict[str, float], says: str) -> None:
    usages = [used(0), used(10), used(100, **more), used(120)]
    found = growing(Soak(seconds=[10.0] * 100, calls=[70] * 100, usages=usages))
    assert "; ".join(found) == says


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_hundred_releases_leave_no_more_than_the_first_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "soak" / "tmp"))
    (tmp_path / "soak").mkdir()
    assert growing(soak(tmp_path / "soak", releases=100, models=20)) == []
