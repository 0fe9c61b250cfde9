"""A server that has run many executions is no larger than one that has run a few."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.sagemaker_local import pipelines
from sagemaker_local.testing import RunningServer, running

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    images = tmp_path / "images.yaml"
    images.write_text(json.dumps({"images": [pipelines.IMAGE_ENTRY]}))
    with running(tmp_path / "state", images) as started:
        yield started


def test_executions_leave_no_files_open(server: RunningServer) -> None:
    client = pipelines.Client(server)
    name = client.create(3)
    for _ in range(3):
        client.run(name)
    before = pipelines.usage(3, server.pid).open_files
    for _ in range(15):
        client.run(name)
    assert pipelines.usage(18, server.pid).open_files <= before


@pytest.mark.soak
def test_a_thousand_executions_leave_nothing_behind(server: RunningServer) -> None:
    found = pipelines.growth(server, 1000, workers=4)
    assert found.files <= 0
    assert found.mib < 2
