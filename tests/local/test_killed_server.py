"""kill -9 of this machine's SageMaker in the midst of a release: what comes back, and what ends it."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from contextlib import closing
from typing import Any

import pytest

from tests.local.conftest import Stack
from tests.support.waiting import WHOLE_SYSTEM_S, wait_until

pytestmark = pytest.mark.timeout(WHOLE_SYSTEM_S)


def long(content: dict[str, Any]) -> None:
    content["evaluation"]["load_profiles"]["short"]["duration_s"] = 100.0
    content["evaluation"]["max_runtime_s"] = 120  # no longer than the test waits for what has expired


def test_the_reaper_comes_on_its_schedule_and_deletes_what_a_killed_server_brought_back(stack: Stack) -> None:
    stack.up()
    model = stack.simulated_model("killed", settings={"ttft_ms": 60, "itl_ms": 5, "output_tokens": 16}, change=long)
    started = stack.run_here(model, "--detach", "--json")
    assert started.returncode == 0, started.stderr
    sagemaker = stack.client("sagemaker")

    def staging() -> list[str]:
        listed = sagemaker.list_endpoints(NameContains="staging-")["Endpoints"]
        return [endpoint["EndpointName"] for endpoint in listed if endpoint["EndpointStatus"] == "InService"]

    wait_until(staging, "the staging endpoint serves")
    os.kill(stack.services["sagemaker_local"]["pid"], signal.SIGKILL)
    with closing(sqlite3.connect(stack.state / "sagemaker" / "state.sqlite")) as database:
        [(key, text)] = database.execute("SELECT key, value FROM entries WHERE kind = 'schedule'").fetchall()
        schedule = json.loads(text)
        assert key == "us-east-1/release-reap"
        assert schedule["due"] <= time.time() + 3600
        # The rest of the hour, gone by.
        database.execute("UPDATE entries SET value = ? WHERE key = ?", (json.dumps(schedule | {"due": time.time()}), key))
        database.commit()
    stack.up()
    sagemaker = stack.client("sagemaker")
    wait_until(lambda: sagemaker.list_endpoints()["Endpoints"] == [], "the reaper has deleted the staging endpoint")
    wait_until(lambda: sagemaker.list_models()["Models"] == [], "the reaper has deleted its model")
    [reaped] = sagemaker.list_pipeline_executions(PipelineName="reap")["PipelineExecutionSummaries"]
    arn = reaped["PipelineExecutionArn"]
    wait_until(
        lambda: sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)["PipelineExecutionStatus"] == "Succeeded",
        "the reaper's pass succeeds",
    )
