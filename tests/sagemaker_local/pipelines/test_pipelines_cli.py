"""The AWS CLI as a client."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.sagemaker_local.pipelines.definitions import ROLE, definition, fail, parameter, token
from tests.support.waiting import HANG_S

if TYPE_CHECKING:
    from tests.sagemaker_local.pipelines.conftest import Server
    from tests.sagemaker_local.pipelines.definitions import Runs


def aws(server: Server, *words: str) -> Any:
    environment = {
        "PATH": os.environ["PATH"],
        "AWS_ENDPOINT_URL": server.url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
    program = str(Path(sys.executable).with_name("aws"))
    done = subprocess.run(
        [program, "sagemaker", *words, "--output", "json"], env=environment, capture_output=True, text=True, timeout=HANG_S
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_cli_creates_starts_and_lists(local_server: Server, runs: Runs) -> None:
    name = f"cli-{token()[:8]}"
    text = definition(fail("End", {"Get": "Parameters.Why"}), parameters=[parameter("Why")])
    aws(local_server, "create-pipeline", "--pipeline-name", name, "--pipeline-definition", text, "--role-arn", ROLE)
    why = "Name=Why,Value=because"
    arn = aws(local_server, "start-pipeline-execution", "--pipeline-name", name, "--pipeline-parameters", why)[
        "PipelineExecutionArn"
    ]
    runs.until(arn)
    steps = aws(local_server, "list-pipeline-execution-steps", "--pipeline-execution-arn", arn)["PipelineExecutionSteps"]
    assert [(step["StepName"], step["StepStatus"], step["FailureReason"]) for step in steps] == [("End", "Failed", "because")]
    assert isinstance(steps[0]["StartTime"], float)
