"""Running again: step caching, RetryPipelineExecution, selective execution, steps that run on a failure."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from sagemaker_local.pipelines.executions.table import Executions
from sagemaker_local.state.store import Store
from tests.sagemaker_local.pipelines.definitions import compare, condition, parameter, processing, token

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sagemaker_local.pipelines.conftest import Server
    from tests.sagemaker_local.pipelines.definitions import Runs


def counting(name: str, counter: Path, fail_until: int = 1, *, step: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return processing(name, "count", str(counter), str(fail_until), step=step, **more)


CACHED = {"CacheConfig": {"Enabled": True, "ExpireAfter": "PT1H"}}


def test_a_cached_step_is_not_run_again_unless_what_is_compared_changes(runs: Runs, tmp_path: Path) -> None:
    counter = tmp_path / "runs"
    resources = {
        "ClusterConfig": {"InstanceCount": 1, "InstanceType": {"Get": "Parameters.Instance"}, "VolumeSizeInGB": 1},
    }
    step = counting("A", counter, step=CACHED, ProcessingResources=resources, Environment={"MODE": {"Get": "Parameters.Mode"}})
    after = processing("After", "import sys; assert sys.argv[1].startswith('pipelines-')", {"Get": "Steps.A.ProcessingJobName"})
    name = runs.create(step, after, parameters=[parameter("Mode", default="x"), parameter("Instance", default="ml.t3.medium")])

    def run(**given: str) -> tuple[str, dict[str, Any]]:
        arn = runs.start(name, given)
        assert runs.until(arn)["PipelineExecutionStatus"] == "Succeeded", runs.steps(arn)
        return arn, runs.steps(arn)["A"]

    first, ran = run()
    assert "CacheHitResult" not in ran
    _, hit = run(Instance="ml.m5.large")  # resources are not compared
    assert hit["CacheHitResult"] == {"SourcePipelineExecutionArn": first}
    assert hit["Metadata"] == ran["Metadata"]
    assert counter.read_text() == "1"
    _, changed = run(Mode="y")
    assert "CacheHitResult" not in changed and counter.read_text() == "2"
    other = runs.start(
        runs.create(step, parameters=[parameter("Mode", default="x"), parameter("Instance", default="ml.t3.medium")])
    )
    runs.until(other)
    assert counter.read_text() == "3"  # caching is scoped to one pipeline


def test_failures_are_not_cached_and_results_expire(runs: Runs, tmp_path: Path) -> None:
    counter = tmp_path / "runs"
    soon = {"CacheConfig": {"Enabled": True, "ExpireAfter": "PT0S"}}
    name = runs.create(counting("A", counter, 2, step=CACHED), counting("B", tmp_path / "b", step=soon))
    for _ in range(3):
        runs.until(runs.start(name))
    assert counter.read_text() == "2"  # failed, succeeded, reused
    assert (tmp_path / "b").read_text() == "3"


def test_an_execution_that_is_retried_as_soon_as_it_ends_is_still_known_as_running(tmp_path: Path) -> None:
    executions = Executions(SimpleNamespace(store=Store(tmp_path / "state.sqlite"), closers=[]))  # type: ignore[arg-type]
    ends = [threading.Event(), threading.Event()]
    runners: list[Any] = [SimpleNamespace(execution=SimpleNamespace(arn="arn", id="id"), run=end.wait) for end in ends]
    executions._run(runners[0])
    first = next(thread for thread in threading.enumerate() if thread.name == "execution id")
    executions._run(runners[1])
    ends[0].set()
    first.join()
    assert executions._running == {"arn": runners[1]}
    ends[1].set()


def test_retry_runs_the_failed_step_and_what_comes_after_it(runs: Runs, local_server: Server, tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    gate = condition("Gate", [compare("Equals", 1, 1)], [counting("Bad", bad, 2, step={"DependsOn": ["Good"]})], [])
    name = runs.create(counting("Good", good), gate, processing("After", "nothing", step={"DependsOn": ["Bad"]}))
    arn = runs.start(name)
    assert runs.until(arn)["PipelineExecutionStatus"] == "Failed"
    retry = {"PipelineExecutionArn": arn, "ClientRequestToken": token()}
    assert local_server.sagemaker.retry_pipeline_execution(**retry)["PipelineExecutionArn"] == arn
    described = runs.until(arn)
    steps = runs.steps(arn)
    assert described["PipelineExecutionStatus"] == "Succeeded" and "FailureReason" not in described
    assert set(steps) == {"Good", "Gate", "Bad", "After"}
    assert (good.read_text(), bad.read_text()) == ("1", "2")
    with pytest.raises(ClientError, match="Only failed or stopped"):
        local_server.sagemaker.retry_pipeline_execution(PipelineExecutionArn=arn, ClientRequestToken=token())


def test_selective_execution_runs_only_what_is_selected(runs: Runs, local_server: Server, tmp_path: Path) -> None:
    counters = {name: tmp_path / name for name in "ABC"}
    steps = [
        counting("A", counters["A"]),
        counting("B", counters["B"], Environment={"JOB": {"Get": "Steps.A.ProcessingJobName"}}),
        counting("C", counters["C"], step={"DependsOn": ["B"]}),
    ]
    name = runs.create(*steps)
    source = runs.start(name)
    runs.until(source)

    def selective(*selected: str, source_arn: str | None = source) -> str:
        config: dict[str, Any] = {"SelectedSteps": [{"StepName": step} for step in selected]}
        if source_arn:
            config["SourcePipelineExecutionArn"] = source_arn
        return runs.start(name, SelectiveExecutionConfig=config)

    arn = selective("B")
    described = runs.until(arn)
    shown = runs.steps(arn)
    assert described["PipelineExecutionStatus"] == "Succeeded", shown
    assert described["SelectiveExecutionConfig"]["SelectedSteps"] == [{"StepName": "B"}]
    assert list(shown) == ["A", "B"]
    assert shown["A"]["SelectiveExecutionResult"] == {"SourcePipelineExecutionArn": source}
    assert {step: path.read_text() for step, path in counters.items()} == {"A": "1", "B": "2", "C": "1"}
    with pytest.raises(ClientError, match="SourcePipelineExecutionArn is required"):
        selective("B", source_arn=None)
    with pytest.raises(ClientError, match="does not have: Z"):
        selective("Z")
    with pytest.raises(ClientError, match="did not succeed in"):
        selective("C", source_arn=selective("A"))
    with pytest.raises(ClientError, match="must have the steps between them, too: B"):
        selective("A", "C")
    with pytest.raises(ClientError, match="is not an execution of"):
        selective("B", source_arn=runs.start(runs.create(*steps)))


def test_a_step_that_runs_on_a_failure_handles_it(runs: Runs) -> None:
    arn = runs.run(
        processing("Bad", "raise SystemExit(1)"),
        processing("Tell", "nothing", step={"DependsOn": [{"Step": "Bad", "Trigger": "Failed"}]}),
    )
    assert runs.until(arn)["PipelineExecutionStatus"] == "CompletedWithFailures"
    assert runs.steps(arn)["Tell"]["StepStatus"] == "Succeeded"
