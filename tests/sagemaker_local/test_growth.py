"""A server that has run many executions is no larger than one that has run a few."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks.sagemaker_local import pipelines
from sagemaker_local.testing import running


def growth(folder: Path, executions: int) -> pipelines.Growth:
    images = folder / "images.yaml"
    images.write_text(json.dumps({"images": [pipelines.IMAGE_ENTRY]}))
    with running(folder / "state", images) as server:
        return pipelines.growth(server, executions, workers=4)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_executions_leave_no_files_open(tmp_path: Path) -> None:
    assert growth(tmp_path, 50).files <= 0


@pytest.mark.soak
def test_a_thousand_executions_leave_nothing_behind(tmp_path: Path) -> None:
    found = growth(tmp_path, 1000)
    assert found.files <= 0
    assert found.mib < 2
