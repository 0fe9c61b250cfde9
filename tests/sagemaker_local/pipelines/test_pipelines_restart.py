"""State survives the server, and so does the truth about what was running when it ended."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from sagemaker_local.testing import running
from tests.sagemaker_local.pipelines.definitions import IMAGES_FILE, Runs, processing, token
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_an_execution_that_the_server_did_not_outlive_can_be_retried(tmp_path: Path, end: signal.Signals) -> None:
    images, gate = tmp_path / "images.yaml", tmp_path / "gate"
    images.write_text(IMAGES_FILE)
    with running(tmp_path / "state", images=images) as server:
        runs = Runs(server.client("sagemaker"))
        wait = processing("Wait", "wait_for", str(gate), str(tmp_path / "pid"), step={"DependsOn": ["First"]})
        name = runs.create(processing("First", "nothing"), wait, Tags=[{"Key": "team", "Value": "a"}])
        finished = runs.run(processing("Only", "nothing"))
        arn = runs.start(name)
        runs.until_step(arn, "Wait", "Executing")
        wait_until((tmp_path / "pid").exists, "the job runs")
        os.kill(server.pid, end)
        pid = int((tmp_path / "pid").read_text())
        wait_until(lambda: not _alive(pid), "a job's process does not outlive its server, however that ended")
    gate.touch()
    with running(tmp_path / "state", images=images) as server:
        runs = Runs(server.client("sagemaker"))
        assert runs.until(finished)["PipelineExecutionStatus"] == "Succeeded"
        described = runs.until(arn)
        assert described["PipelineExecutionStatus"] == "Failed"
        assert "sagemaker_local was stopped" in described["FailureReason"]
        assert runs.sagemaker.list_tags(ResourceArn=described["PipelineArn"])["Tags"] == [{"Key": "team", "Value": "a"}]
        steps = runs.steps(arn)
        assert steps["First"]["StepStatus"] == "Succeeded"
        assert "sagemaker_local was stopped" in steps["Wait"]["FailureReason"]
        runs.sagemaker.retry_pipeline_execution(PipelineExecutionArn=arn, ClientRequestToken=token())
        assert runs.until(arn)["PipelineExecutionStatus"] == "Succeeded"
        again = runs.start(name)  # the definition is still there
        assert runs.until(again)["PipelineExecutionStatus"] == "Succeeded"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
