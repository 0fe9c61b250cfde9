"""What running a pipeline costs, and whether the server grows, measured from a boto3 client's side.

- start: StartPipelineExecution called → the first step has started.
- step: what a step that does nothing (``/bin/true``) adds to a chain, beyond running ``/bin/true`` itself.
- growth: memory and open files of the server over many executions of three steps.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sagemaker_local.testing import RunningServer

IMAGE_ENTRY = {"match": "nothing", "command": ["/bin/true"]}
"""What the steps' container is, for the images file."""
ROLE = "arn:aws:iam::123456789012:role/benchmark"
TERMINAL = ("Succeeded", "Failed", "Stopped")
CHAIN_STEPS = 10


_SETTLE_S = 1.0
_WARM_UP = 50  # executions before the first is counted: what is loaded and cached once


@dataclass(frozen=True)
class Latency:
    """Milliseconds, of the repeats of one chain."""

    start_p50: float
    start_max: float
    step_p50: float
    step_max: float


@dataclass(frozen=True)
class Usage:
    """What a process uses."""

    executions: int
    """How many had run by then."""
    rss_mib: float
    open_files: int


@dataclass(frozen=True)
class Growth:
    """The server's usage while many executions ran."""

    usage: list[Usage]
    executions_per_s: float

    @property
    def mib(self) -> float:
        """What the memory grew by between the first fifth and the end."""
        return self.usage[-1].rss_mib - self.usage[0].rss_mib

    @property
    def files(self) -> int:
        """What the open files grew by in the same time."""
        return self.usage[-1].open_files - self.usage[0].open_files


def chain(length: int) -> str:
    """Return a definition of ``length`` steps that do nothing, one after the other."""
    steps: list[dict[str, Any]] = []
    for number in range(length):
        step: dict[str, Any] = {
            "Name": f"Step{number}",
            "Type": "Processing",
            "Arguments": {
                "ProcessingResources": {
                    "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.t3.medium", "VolumeSizeInGB": 1}
                },
                "AppSpecification": {"ImageUri": "nothing"},
                "RoleArn": ROLE,
            },
        }
        if number:
            step["DependsOn"] = [f"Step{number - 1}"]
        steps.append(step)
    return json.dumps({"Version": "2020-12-01", "Steps": steps})


class Client:
    """Runs executions and waits for them."""

    def __init__(self, server: RunningServer) -> None:
        self.sagemaker = server.client("sagemaker")

    def create(self, length: int) -> str:
        """Return a new pipeline; returns its name."""
        name = f"chain-{length}-{uuid.uuid4().hex[:6]}"
        self.sagemaker.create_pipeline(
            PipelineName=name, PipelineDefinition=chain(length), RoleArn=ROLE, ClientRequestToken=uuid.uuid4().hex
        )
        return name

    def run(self, name: str, poll_s: float = 0.02) -> str:
        """Run an execution to its end; returns its ARN."""
        answer = self.sagemaker.start_pipeline_execution(PipelineName=name, ClientRequestToken=uuid.uuid4().hex)
        arn = str(answer["PipelineExecutionArn"])
        while True:
            status = self.sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)["PipelineExecutionStatus"]
            if status in TERMINAL:
                if status != "Succeeded":
                    raise RuntimeError(f"{arn} is {status}")
                return arn
            time.sleep(poll_s)

    def times(self, arn: str) -> list[tuple[float, float]]:
        """Return when each step started and ended, in epoch seconds and in order."""
        steps = self.sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn, SortOrder="Ascending")
        return [(step["StartTime"].timestamp(), step["EndTime"].timestamp()) for step in steps["PipelineExecutionSteps"]]


def bare_process_s() -> float:
    """Return seconds that starting and awaiting ``/bin/true`` takes."""
    spans = []
    for _ in range(20):
        began = time.perf_counter()
        subprocess.run(["/bin/true"], check=True)
        spans.append(time.perf_counter() - began)
    return statistics.median(spans)


def usage(executions: int, pid: int) -> Usage:
    """Return a process's resident memory, and how many files it has open (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text()
    kib = int(status.partition("VmRSS:")[2].split()[0])
    return Usage(executions, kib / 1024, len(list(Path(f"/proc/{pid}/fd").iterdir())))


def latency(server: RunningServer, repeats: int) -> Latency:
    """Return how long an execution takes to start, and what each step costs."""
    client = Client(server)
    name = client.create(CHAIN_STEPS)
    client.run(name)  # what is loaded at the first use
    starts, steps = [], []
    bare_s = bare_process_s()
    for _ in range(repeats):
        began = time.time()
        times = client.times(client.run(name))
        starts.append(1000 * (times[0][0] - began))
        steps.append(1000 * ((times[-1][1] - times[0][0]) / CHAIN_STEPS - bare_s))
    return Latency(statistics.median(starts), max(starts), statistics.median(steps), max(steps))


def growth(server: RunningServer, executions: int, workers: int) -> Growth:
    """Return the server's usage after each fifth of so many executions of three steps, so many at once."""
    client = Client(server)
    name = client.create(3)
    fifth = max(1, executions // 5)
    seen: list[Usage] = []
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(client.run, [name] * _WARM_UP))
        began = time.perf_counter()
        for number in range(1, 6):
            list(pool.map(client.run, [name] * fifth))
            time.sleep(_SETTLE_S)
            seen.append(usage(number * fifth, server.pid))
    return Growth(seen, 5 * fifth / (time.perf_counter() - began - 5 * _SETTLE_S))
