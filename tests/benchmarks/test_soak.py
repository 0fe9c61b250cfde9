"""A hundred releases in a row and twenty models at once leave no more behind than the first did."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.soak.growth import growing
from benchmarks.soak.stack import Soak, soak
from benchmarks.soak.usage import Usage, cpu_s


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
    found = growing(Soak(seconds=[10.0] * 100, cpu_s=[3.0] * 100, calls=[70] * 100, usages=usages))
    assert "; ".join(found) == says


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({}, []),
        ({"seconds": [10.0] * 80 + [30.0] * 20}, []),
        ({"cpu_s": [3.0] * 80 + [4.0] * 20}, ["CPU time of a release: 3.00 s, then 4.00 s"]),
        ({"calls": [70] * 80 + [90] * 20}, ["reads of the ledger a release: 75, then 90"]),
    ],
)
def test_a_release_that_costs_more_than_the_first_is_said(more: dict[str, list[float]], says: list[str]) -> None:
    """What the machine's other work costs it is not the release's: wall time is shown and not judged."""
    each = {"seconds": [10.0] * 100, "cpu_s": [3.0] * 100, "calls": [70] * 100}
    found = growing(Soak(**{**each, **more}, usages=[used(0), used(10), used(100), used(120)]))  # type: ignore[arg-type]
    assert found == says


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_cpu_time_is_that_of_a_process_and_of_what_it_started() -> None:
    """As the process itself reads it, by times(2)."""
    before_s, known_before = cpu_s((os.getpid(),)), os.times()
    subprocess.run([sys.executable, "-c", "sum(range(3_000_000))"], check=True)
    known = sum(os.times()[:4]) - sum(known_before[:4])
    assert cpu_s((os.getpid(),)) - before_s == pytest.approx(known, abs=0.05)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_hundred_releases_leave_no_more_than_the_first_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "soak" / "tmp"))
    (tmp_path / "soak").mkdir()
    assert growing(soak(tmp_path / "soak", releases=100, models=20)) == []
