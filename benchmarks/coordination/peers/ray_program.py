"""One host of Ray, in Ray's environment: the first has the head node and the driver, every host an actor.

On one machine every node needs ports of its own, so they are left to Ray; only the head's is known beforehand. Nodes start one after the
other, for those of one machine share a folder, and of two that start at the same time one ends.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.coordination.notes import FOREVER_S, HOLD_S, Task, wait_until_wall

_LEAD_NS = 200_000_000
_NODE = ["--block", "--num-cpus=1", "--object-store-memory=80000000", "--min-worker-port=0", "--max-worker-port=0"]
_HEAD = ["--head", "--include-dashboard=false", "--disable-usage-stats"]


def main(task: Task) -> None:
    """Be one of the hosts."""
    task.note("base")
    address = f"127.0.0.1:{os.environ['BENCHMARK_PORT']}"
    if task.index == 0:
        # the folder's name is short, for Ray's sockets lie below it
        where = [*_HEAD, "--node-ip-address=127.0.0.1", f"--port={address.split(':')[1]}", f"--temp-dir={task.folder / 'ray'}"]
    else:
        where = [f"--address={address}", "--node-ip-address=127.0.0.1", "--dashboard-agent-listen-port=0"]
        _wait_for(address)
    resources = json.dumps({f"host-{task.index}": 1})
    command = [str(Path(sys.executable).with_name("ray")), "start", *where, *_NODE, f"--resources={resources}"]
    with (task.folder / "one-at-a-time").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        node = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert node.stdout is not None
        for line in node.stdout:
            print(line, end="", flush=True)
            if "Ray runtime started" in line:
                break
    threading.Thread(target=node.stdout.read, daemon=True).start()
    if task.index == 0:
        _drive(task, address)
    else:
        task.note("up")
        node.wait()
        task.note("lost", f"ray start ended with {node.returncode}")


def _wait_for(address: str) -> None:
    host, port = address.split(":")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex((host, int(port))) == 0:
                return
        time.sleep(0.1)


def _drive(task: Task, address: str) -> None:
    import ray  # type: ignore[import-not-found]

    deadline = time.monotonic() + 120
    while True:
        try:
            ray.init(address, log_to_driver=False)
            break
        except ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
    while sum(node["Alive"] for node in ray.nodes()) < task.count:
        time.sleep(0.1)
    hosts = [ray.remote(_Host).options(num_cpus=0, resources={f"host-{index}": 0.1}).remote() for index in range(task.count)]
    ray.get([host.start.remote() for host in hosts])
    task.note("up")
    for number in range(task.starts):
        task.stamp("told", number, time.monotonic_ns())
        _stamp(task, "message", number, ray.get([host.start.remote() for host in hosts]))
        at_ns = time.time_ns() + _LEAD_NS
        _stamp(task, "moment", number, ray.get([host.start_at.remote(at_ns) for host in hosts]))
    task.note("on")
    if task.kind == "idle":
        time.sleep(FOREVER_S)
    if task.kind == "starts":
        ray.get([host.hold.remote(HOLD_S) for host in hosts])
        task.note("done")
        time.sleep(FOREVER_S)
    try:
        ray.get([host.hold.remote(FOREVER_S) for host in hosts])
    except ray.exceptions.RayError as lost:
        task.note("lost", f"{type(lost).__name__}: {str(lost)[:300]}")


def _stamp(task: Task, how: str, number: int, moments: list[int]) -> None:
    for host, at_ns in enumerate(moments):
        task.stamp(how, number, at_ns, host=host)


class _Host:
    """The actor on each host."""

    def start(self) -> int:
        """Start when told."""
        return time.monotonic_ns()

    def start_at(self, at_ns: int) -> int:
        """Start at that moment of the wall clock."""
        return wait_until_wall(at_ns)

    def hold(self, duration_s: float) -> Any:
        """Do nothing for so long."""
        time.sleep(duration_s)


if __name__ == "__main__":
    main(Task.parse(sys.argv[1:]))
