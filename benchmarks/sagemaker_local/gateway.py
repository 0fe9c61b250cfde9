"""What the gateway adds to a stream: events through it and straight from the same container, in the same run.

The container stamps every event with the machine's monotonic clock, the client takes its age when it arrives. What is left of the ages
through the gateway after the ages without it, percentile by percentile, is the gateway's overhead. Client, gateway and container are a
process each, on the machine's cores as they are.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sagemaker_local.testing import RunningServer

IMAGE_ENTRY = {
    "match": "stamping:*",
    "command": ["{python}", str(Path(__file__).with_name("backend.py"))],
    "environment": {"PORT": "{port}"},
}
"""What the container is, for the images file."""
_SIGNED = "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/sagemaker/aws4_request, SignedHeaders=host, Signature=0"
_PATHS = {
    "event stream": ("/endpoints/{name}/invocations-response-stream", _SIGNED),
    "OpenAI path": ("/endpoints/{name}/openai/v1/chat/completions", "Bearer any"),
}
_STARTUP_S = 30.0


@dataclass(frozen=True)
class Overhead:
    """One way through the gateway. Milliseconds."""

    way: str
    direct_p50: float
    direct_p99: float
    through_p50: float
    through_p99: float

    @property
    def p50(self) -> float:
        """What the gateway adds to the median."""
        return self.through_p50 - self.direct_p50

    @property
    def p99(self) -> float:
        """What it adds to the 99th percentile."""
        return self.through_p99 - self.direct_p99


def measure(server: RunningServer, streams: int, events: int, gap_s: float) -> list[Overhead]:
    """Return the overhead of each way, with so many streams at once."""
    name, port = _endpoint(server)
    straight = _ages(f"http://127.0.0.1:{port}", "/invocations", "", streams, events, gap_s)
    direct = _percentile(straight, 50), _percentile(straight, 99)
    found = []
    for way, (path, authorization) in _PATHS.items():
        through = _ages(server.endpoint_url, path.format(name=name), authorization, streams, events, gap_s)
        found.append(Overhead(way, *direct, _percentile(through, 50), _percentile(through, 99)))
    return found


def _endpoint(server: RunningServer) -> tuple[str, int]:
    """Return an endpoint of one instance in service, and the port of its container."""
    sagemaker, name = server.client("sagemaker"), "gateway"
    role = "arn:aws:iam::123456789012:role/benchmark"
    sagemaker.create_model(ModelName=name, PrimaryContainer={"Image": "stamping:1"}, ExecutionRoleArn=role)
    variant = {"VariantName": "v", "ModelName": name, "InstanceType": "ml.g5.xlarge", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    deadline = time.monotonic() + _STARTUP_S
    while (status := sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"]) == "Creating":
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    if status != "InService":
        raise RuntimeError(f"the benchmark's endpoint is {status} after {_STARTUP_S:g} s")
    return name, _port_of_child(server.pid)


def _port_of_child(server_pid: int) -> int:
    """Return the PORT in the environment of the server's container process (Linux)."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            environment = (folder / "environ").read_bytes().split(b"\0") if parent == server_pid else []
        except OSError:
            continue
        for variable in environment:
            if variable.startswith(b"PORT="):
                return int(variable.removeprefix(b"PORT="))
    raise RuntimeError("the server has no container process")


def _ages(url: str, path: str, authorization: str, streams: int, events: int, gap_s: float) -> list[float]:
    arguments = [url, path, authorization, str(streams), str(events), str(gap_s)]
    command = [sys.executable, "-m", "benchmarks.sagemaker_local.client", *arguments]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    ages: list[Any] = json.loads(ran.stdout)
    return sorted(1000 * float(age) for age in ages)


def _percentile(ordered: list[float], percent: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
