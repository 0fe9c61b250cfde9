"""The releases: models that the simulated engine serves, on a stack with a state folder and a TMPDIR of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, median_high
from typing import Any

from benchmarks.soak.usage import Usage, command_lines, cpu_s, descendants, usage
from delivery.names import PROMOTION_PIPELINE
from tests.local.conftest import Stack

_SETTLE_S = 120.0
_AT_REST = 4
"""Processes: both services, and what one production endpoint has: `container/serve` and its engine."""
_TERMINAL = ("Succeeded", "Failed", "Stopped")
_POLL_S = 1.0
Report = Callable[[str], None]


@dataclass
class Soak:
    """What many releases did to one stack."""

    seconds: list[float] = field(default_factory=list)
    """How long each of those in a row took."""
    cpu_s: list[float] = field(default_factory=list)
    """What each of those cost both services and what they started, in CPU time: what else the machine does is not in it."""
    calls: list[int] = field(default_factory=list)
    """How often each of those asked for the ledger or a release file. Other calls are polls: as many as there is time."""
    usages: list[Usage] = field(default_factory=list)
    """Before the first counted release, after each tenth of those in a row, and after those at once."""
    at_once_s: float = 0.0
    """How long those at once took, all together."""
    failed: list[str] = field(default_factory=list)
    """Releases that did not succeed."""


class Soaking:
    """A stack that is soaked."""

    def __init__(self, folder: Path, report: Report) -> None:
        """`folder` is empty; `report` is told how far it is."""
        self.stack, self.temp, self._report = Stack(folder / "stack"), folder / "tmp", report
        self.temp.mkdir()
        self.stack.state.mkdir()
        self.found = Soak()
        self._models: list[str] = []

    def in_a_row(self, releases: int) -> None:
        """Release one model so many times, each time another revision of it. One release before them is not counted."""
        self._release("soak", 0)
        self._measure(0)
        for number in range(1, releases + 1):
            calls, began, cpu_began_s = self._calls(), time.perf_counter(), cpu_s(self._pids)
            self._release("soak", number)
            self.found.seconds.append(time.perf_counter() - began)
            self.found.cpu_s.append(cpu_s(self._pids) - cpu_began_s)
            self.found.calls.append(self._calls() - calls)
            if number % max(1, releases // 10) == 0:
                self._measure(number)

    def at_once(self, models: int) -> None:
        """Release so many models at the same time, once each; their production endpoints are deleted again."""
        began = time.perf_counter()
        started = {name: self._start(name) for name in (f"at-once-{number}" for number in range(1, models + 1))}
        sagemaker = self.stack.client("sagemaker")
        for name, arn in started.items():
            while (view := sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn))[
                "PipelineExecutionStatus"
            ] not in _TERMINAL:
                time.sleep(_POLL_S)
            if view["PipelineExecutionStatus"] != "Succeeded":
                self.found.failed.append(f"{name}: {view.get('FailureReason')}")
        self.found.at_once_s = time.perf_counter() - began
        # The gate's approvals are events, too. A promotion that one starts finds its work done; after the endpoint's end it would make it anew.
        while self._promotions_under_way():
            time.sleep(_POLL_S)
        for name in started:
            sagemaker.delete_endpoint(EndpointName=name)
        while len(self.stack.endpoints()) > 1:
            time.sleep(_POLL_S)
        self._measure(len(self.found.seconds) + models)

    def _promotions_under_way(self) -> bool:
        pages = self.stack.client("sagemaker").get_paginator("list_pipeline_executions").paginate(PipelineName=PROMOTION_PIPELINE)
        listed = [one for page in pages for one in page["PipelineExecutionSummaries"]]
        return any(one["PipelineExecutionStatus"] not in _TERMINAL for one in listed)

    def _release(self, name: str, number: int) -> None:
        file = self._file(name, number)
        result = self.stack.run_here(file, "--json")
        if result.returncode:
            self.found.failed.append(f"{name} {number}: {result.stderr[-300:]}")

    def _start(self, name: str) -> str:
        result = self.stack.run_here(self._file(name, 0), "--detach", "--json")
        if result.returncode:
            raise RuntimeError(result.stderr)
        return str(json.loads(result.stdout)["execution"])

    def _file(self, name: str, number: int) -> str:
        return self.stack.simulated_model(name, settings={"ttft_ms": 5, "itl_ms": 1, "output_tokens": 4, "seed": number})

    def _measure(self, releases: int) -> None:
        pids = self._pids
        until = time.monotonic() + _SETTLE_S
        while time.monotonic() < until and len(descendants(pids)) > _AT_REST:
            time.sleep(_POLL_S)  # what served before is drained, and ends
        if len(still := descendants(pids)) > _AT_REST:
            self._report("still running: " + "; ".join(command_lines(still)))
        self.found.usages.append(usage(releases, self.stack.state, self.temp, pids))
        self._report(line(self.found.usages[-1], self.found.seconds[-10:], self.found.cpu_s[-10:], self.found.calls[-10:]))

    @property
    def _pids(self) -> tuple[int, int]:
        services: dict[str, Any] = self.stack.services
        return services["sagemaker_local"]["pid"], services["local_hub"]["pid"]

    def _calls(self) -> int:
        with (self.stack.state / "sagemaker" / "calls.jsonl").open("rb") as file:
            return sum(b'"releases/' in line for line in file)


HEADING = "releases  a release, s  CPU, s  reads  sagemaker_local, MiB  local_hub, MiB  open files  processes  temp files  temp, MiB  state, MiB"


def line(found: Usage, seconds: list[float], cpu_seconds: list[float], calls: list[int]) -> str:
    """Return one line of the table; times and calls are the medians of the ten releases before."""
    middles = " " * 27
    if seconds:
        middles = f"{median(seconds):12.1f}  {median(cpu_seconds):6.2f}  {median_high(calls):5}"
    return (
        f"{found.releases:8}  {middles}  {found.sagemaker_mib:20.1f}  {found.hub_mib:14.1f}  {found.open_files:10}"
        f"  {found.processes:9}  {found.temp_files:10}  {found.temp_mib:9.2f}  {found.state_mib:10.1f}"
    )


def soak(folder: Path, releases: int, models: int, report: Report = print) -> Soak:
    """Release one model many times, then many models at once, on a stack of its own.

    Args:
        folder: An empty folder, with TMPDIR of this process pointing at its `tmp`.
        releases: How many in a row.
        models: How many at once.
        report: Told each line of the table.

    Returns:
        What it did to the stack.
    """
    soaking = Soaking(folder, report)
    report(HEADING)
    soaking.stack.up()
    try:
        soaking.in_a_row(releases)
        soaking.at_once(models)
    finally:
        soaking.stack.run("local", "down")
    return soaking.found
