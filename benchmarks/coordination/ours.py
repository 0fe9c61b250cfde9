"""One host of ours: the product's own coordination over S3, with a load that does nothing but say when it began.

Each request to S3 takes 20 to 50 ms longer than SeaweedFS on loopback does, to be like S3.
"""

from __future__ import annotations

import os
import random
import sys
import time
from unittest.mock import patch

import boto3
import pyarrow.parquet  # type: ignore[import-untyped]  # noqa: F401

from benchmarks.coordination.notes import FOREVER_S, HOLD_S, Task
from delivery.errors import HostLost
from delivery.job.host_registry import JobHosts
from loadtest.generator.load import Load
from loadtest.generator.worker_pool import WorkerPool
from loadtest.measurement.worker_result import WorkerResult
from loadtest.transports.openai import OpenAITransport
from steps.evaluate_staging.coordination.host import Timing, join
from tests.support.worlds import fetching

_LATENCY_S = (0.02, 0.05)
TIMING = "BENCHMARK_TIMING"
"""The variable that holds heartbeat, silence and check interval, seconds; the product's own when it is not there."""


def main(task: Task) -> None:
    """Be one of the hosts."""
    names = tuple(f"algo-{number + 1}" for number in range(task.count))
    requests = _slow_s3()
    boto3.client("s3", region_name="us-east-1")  # a step has one, and writes Parquet, whoever coordinates
    task.note("base")
    load = _Load(task)
    with (
        patch.multiple(WorkerPool, prepare=lambda *_: None, begin=load.begin),
        join(fetching.release("bench/model"), task.folder.name, JobHosts(names, names[task.index]), "job", _timing()) as host,
    ):
        task.note("up")
        if task.index == 0:
            with host.fleet(1) as fleet:
                _lead(task, fleet)
        else:
            try:
                host.follow(1)
            except HostLost as lost:
                task.note("lost", str(lost))
    task.note("requests", str(len(requests)))


def _lead(task: Task, fleet: WorkerPool) -> None:
    if task.kind == "idle":
        time.sleep(FOREVER_S)
    for number in range(task.starts):
        task.stamp("told", number, time.monotonic_ns())
        if invalid := fleet.measure(_load(task, 0)).invalid_reason:
            task.note("failed", f"start {number + 1}: {invalid}")
            return
    if task.kind == "starts":
        fleet.measure(_load(task, HOLD_S))
        task.note("done")
    else:
        task.note("lost", fleet.measure(_load(task, FOREVER_S)).invalid_reason)


def _load(task: Task, duration_s: float) -> Load:
    return Load(OpenAITransport("http://127.0.0.1:9"), 1, 8, 8, 0, duration_s, concurrency=task.count)


class _Load:
    """In place of the client processes."""

    def __init__(self, task: Task) -> None:
        self._task, self._number = task, 0

    def begin(self, load: Load, begin_ns: int, _: object) -> list[WorkerResult]:
        """Wait for the beginning, say when it was, and last as long as the load does."""
        time.sleep(max(0.0, (begin_ns - time.monotonic_ns()) / 1e9))
        self._task.stamp("moment", self._number, time.monotonic_ns())
        self._number += 1
        if load.duration_s:
            self._task.note("on")
        if (
            self._task.index or load.duration_s < FOREVER_S
        ):  # the first host's own share of a load that loses a host is done at once
            time.sleep(load.duration_s)
        return [WorkerResult()]


def _slow_s3() -> list[None]:
    """Have every request of every client made from now on take longer; returns what grows by one with each."""
    requests: list[None] = []

    def before_send(**_: object) -> None:
        requests.append(None)
        time.sleep(random.uniform(*_LATENCY_S))

    boto3.setup_default_session()
    assert boto3.DEFAULT_SESSION is not None
    boto3.DEFAULT_SESSION.events.register("before-send.s3", before_send)
    return requests


def _timing() -> Timing:
    if TIMING not in os.environ:
        return Timing()
    heartbeat_s, host_silence_s, check_s = map(float, os.environ[TIMING].split())
    return Timing(heartbeat_s=heartbeat_s, host_silence_s=host_silence_s, check_s=check_s)


if __name__ == "__main__":
    main(Task.parse(sys.argv[1:]))
