"""Services of this machine that end while they are stopped."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pipelines.setup.local import service
from pipelines.setup.local.service import Service


def test_one_that_ended_by_itself_is_stopped_and_hides_no_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    looks = iter([True, False, False])
    monkeypatch.setattr(Service, "exists", property(lambda _: next(looks)))
    assert service.stop([Service("local_hub", process.pid)]) == ["local_hub"]
