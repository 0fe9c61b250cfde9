"""Retry policies at work: failures that only AWS's own machinery has, so the step type is a stand-in here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from sagemaker_local.errors import StepFailed
from sagemaker_local.pipelines import steps
from sagemaker_local.pipelines.executions import runner
from sagemaker_local.pipelines.executions.caching import Cache
from sagemaker_local.pipelines.records import ExecutionRecord, ExecutionRecords
from sagemaker_local.pipelines.steps.base import StepResult
from sagemaker_local.pipelines.table import check
from sagemaker_local.state.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from sagemaker_local.pipelines.records import StepRecord
    from sagemaker_local.pipelines.steps.base import StepRun

CAPACITY = "SageMaker.CAPACITY_ERROR"


class NoEvents:
    def put(self, *_: Any) -> None:
        """Nobody listens."""


@dataclass
class OnlyAStore:
    """As much of a server as a runner needs for steps that call nothing."""

    store: Store
    events: NoEvents


def run(
    folder: Path, failures: list[str | None], policies: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> tuple[str, StepRecord]:
    """The execution's status and its step, whose first attempts fail in these ways."""
    left = list(failures)

    def flaky(run: StepRun) -> StepResult:
        if left:
            raise StepFailed("CapacityError: none today", left.pop(0))
        return StepResult({})

    monkeypatch.setitem(steps.RUN, "Processing", flaky)
    step = {"Name": "Flaky", "Type": "Processing", "Arguments": {}, "RetryPolicies": policies}
    text = json.dumps({"Version": "2020-12-01", "Steps": [step]})
    definition, graph = check(text)
    store = Store(folder / "state.sqlite")
    records = ExecutionRecords(store)
    execution = ExecutionRecord("us-east-1", "123456789012", "p", "abc", "name")
    records.begin(execution, text)
    context: Any = OnlyAStore(store, NoEvents())
    runner.Runner(context, records, execution, definition, graph, {}, Cache(store)).run()
    found = records.get(execution.arn)
    assert found is not None
    return found.status, records.steps(execution.arn)[0]


def policy(kind: str, attempts: int) -> dict[str, Any]:
    return {"ExceptionType": [kind], "IntervalSeconds": 0, "BackoffRate": 1.0, "MaxAttempts": attempts}


def test_a_failure_that_a_policy_names_is_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status, step = run(tmp_path, [CAPACITY, CAPACITY], [policy(CAPACITY, 2)], monkeypatch)
    assert (status, step.status, step.attempts) == ("Succeeded", "Succeeded", 3)


def test_attempts_run_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status, step = run(tmp_path, [CAPACITY] * 3, [policy(CAPACITY, 2)], monkeypatch)
    assert (status, step.attempts, step.failure_reason) == ("Failed", 3, "CapacityError: none today")


def test_other_failures_are_not_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status, step = run(tmp_path, [None], [policy(CAPACITY, 2)], monkeypatch)
    assert (status, step.attempts) == ("Failed", 1)


def test_without_a_policy_the_reason_says_so_as_sagemaker_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, step = run(tmp_path, ["SageMaker.RESOURCE_LIMIT"], [], monkeypatch)
    assert step.failure_reason.endswith("No retry policy configured for the exception type SAGEMAKER_RESOURCE_LIMIT.")
