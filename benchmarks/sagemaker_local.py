"""What running a pipeline on this machine costs: ``python -m benchmarks.sagemaker_local``.

Starts a server, and measures from a boto3 client's side:

- start: StartPipelineExecution called → the first step has started.
- step: what a step that does nothing (``/bin/true``) adds to a chain, beyond running ``/bin/true`` itself.
- growth: memory and open files of the server over many executions of three steps.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sagemaker_local.testing import running

if TYPE_CHECKING:
    from sagemaker_local.testing import RunningServer

IMAGES = 'images:\n  - {match: "*", command: ["/bin/true"]}\n'
ROLE = "arn:aws:iam::123456789012:role/benchmark"
TERMINAL = ("Succeeded", "Failed", "Stopped")
CHAIN_STEPS = 10


@dataclass(frozen=True)
class Figures:
    """What was measured."""

    start_ms_p50: float
    start_ms_max: float
    step_ms_p50: float
    step_ms_max: float
    executions: int
    executions_per_s: float
    rss_mib_early: float
    rss_mib_late: float
    open_files_early: int
    open_files_late: int


def chain(length: int) -> str:
    """A definition of ``length`` steps that do nothing, one after the other."""
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
        """A new pipeline; returns its name."""
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
        """When each step started and ended, in epoch seconds and in order."""
        steps = self.sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn, SortOrder="Ascending")
        return [(step["StartTime"].timestamp(), step["EndTime"].timestamp()) for step in steps["PipelineExecutionSteps"]]


def bare_process_s() -> float:
    """Seconds that starting and awaiting ``/bin/true`` takes."""
    spans = []
    for _ in range(20):
        began = time.perf_counter()
        subprocess.run(["/bin/true"], check=True)
        spans.append(time.perf_counter() - began)
    return statistics.median(spans)


def usage(pid: int) -> tuple[float, int]:
    """A process's resident memory in MiB, and how many files it has open (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text()
    kib = int(status.partition("VmRSS:")[2].split()[0])
    return kib / 1024, len(list(Path(f"/proc/{pid}/fd").iterdir()))


def measure(executions: int, repeats: int, workers: int) -> Figures:
    """All figures, from one server."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        images = Path(folder) / "images.yaml"
        images.write_text(IMAGES)
        with running(Path(folder) / "state", images=images) as server:
            client = Client(server)
            long, short = client.create(CHAIN_STEPS), client.create(3)
            client.run(long)  # what is loaded at the first use
            starts, steps = [], []
            bare_s = bare_process_s()
            for _ in range(repeats):
                began = time.time()
                times = client.times(client.run(long))
                starts.append(1000 * (times[0][0] - began))
                steps.append(1000 * ((times[-1][1] - times[0][0]) / CHAIN_STEPS - bare_s))
            early = max(1, executions // 5)
            began_s = time.perf_counter()
            with ThreadPoolExecutor(workers) as pool:
                list(pool.map(client.run, [short] * early))
                time.sleep(0.5)
                rss_early, files_early = usage(server.pid)
                list(pool.map(client.run, [short] * (executions - early)))
            rate = executions / (time.perf_counter() - began_s)
            time.sleep(0.5)
            rss_late, files_late = usage(server.pid)
    return Figures(
        statistics.median(starts),
        max(starts),
        statistics.median(steps),
        max(steps),
        executions,
        rate,
        rss_early,
        rss_late,
        files_early,
        files_late,
    )


def main() -> None:
    """Measure, and print the figures beside their limits (``--json``: as JSON)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executions", type=int, default=1000, help="of three steps, for the growth figures")
    parser.add_argument("--repeats", type=int, default=10, help="of the ten-step chain, for the latency figures")
    parser.add_argument("--workers", type=int, default=4, help="executions at once")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = measure(options.executions, options.repeats, options.workers)
    if options.json:
        print(json.dumps(asdict(figures), indent=2))
        return
    print(f"execution start     p50 {figures.start_ms_p50:7.1f} ms   max {figures.start_ms_max:7.1f} ms   limit 300 ms")
    print(f"overhead of a step  p50 {figures.step_ms_p50:7.1f} ms   max {figures.step_ms_max:7.1f} ms   limit 150 ms")
    print(f"{figures.executions} executions of 3 steps: {figures.executions_per_s:.1f} a second")
    print(f"  memory      {figures.rss_mib_early:7.1f} MiB after a fifth, {figures.rss_mib_late:7.1f} MiB at the end")
    print(f"  open files  {figures.open_files_early:7d} after a fifth, {figures.open_files_late:7d} at the end")


if __name__ == "__main__":
    main()
