"""What an evaluation decides, in whole releases: numbers that cannot decide, a version worse than production, a stop under load."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.local.conftest import Stack
from tests.support.waiting import WHOLE_SYSTEM_S, wait_until

pytestmark = pytest.mark.timeout(WHOLE_SYSTEM_S)

FAST = {"ttft_ms": 60, "itl_ms": 5, "output_tokens": 16}


@pytest.fixture(scope="module", autouse=True)
def running(stack: Stack) -> None:
    stack.up()


def facts(stack: Stack, version: dict[str, Any]) -> dict[str, str]:
    described = stack.client("sagemaker").describe_model_package(ModelPackageName=version["ModelPackageArn"])
    found: dict[str, str] = described["CustomerMetadataProperties"]
    return found


def left_of_staging(stack: Stack) -> list[str]:
    """Every endpoint, endpoint config and model of a staging endpoint."""
    sagemaker = stack.client("sagemaker")
    endpoints = [e["EndpointName"] for e in sagemaker.list_endpoints()["Endpoints"] if e["EndpointStatus"] != "Deleting"]
    configs = [config["EndpointConfigName"] for config in sagemaker.list_endpoint_configs()["EndpointConfigs"]]
    models = [model["ModelName"] for model in sagemaker.list_models()["Models"]]
    return [name for name in [*endpoints, *configs, *models] if name.startswith("staging-")]


def bound_client(content: dict[str, Any]) -> None:
    content["evaluation"]["client_lag_at_most_ms"] = 0.001


def compared(content: dict[str, Any]) -> None:
    profile = content["evaluation"]["load_profiles"]["short"]
    profile["objectives"] = {"ttft_p50_ms": {"at_most": 5000, "at_most_production": 1.5}, "error_rate": {"at_most": 0}}


@pytest.fixture(scope="module")
def released(stack: Stack, running: None) -> dict[str, subprocess.CompletedProcess[str]]:
    """Three first releases."""
    files = {
        "client-bound": stack.simulated_model("client-bound", settings=FAST, change=bound_client),
        "worse": stack.simulated_model("worse", settings={**FAST, "ttft_ms": 100}, change=compared),
        "waiting": stack.simulated_model("waiting", settings=FAST, change=lambda content: content.update(approval="manual")),
    }
    return {name: stack.run_here(file) for name, file in files.items()}


def test_numbers_of_a_late_client_decide_nothing(stack: Stack, released: dict[str, Any]) -> None:
    result = released["client-bound"]
    assert result.returncode == 1
    assert "the client was" in result.stderr
    assert "ms late (p99), more than 0.001 ms" in result.stderr
    [version] = stack.versions("client-bound")
    assert "the numbers decide nothing, and the version stays pending" in result.stderr
    assert "measure it again: python -m pipelines.run evaluate client-bound 1" in result.stderr
    assert facts(stack, version)["evaluation:verdict"] == "invalid"
    assert version["ModelApprovalStatus"] == "PendingManualApproval"
    assert "client-bound" not in stack.endpoints()
    assert left_of_staging(stack) == []
    shown = stack.run_here("status", "client-bound").stdout
    assert "undecided: python -m pipelines.run evaluate client-bound 1" in shown


def test_the_same_version_is_evaluated_again_and_no_other_is_made(stack: Stack, released: dict[str, Any]) -> None:
    before = facts(stack, stack.versions("client-bound")[0])
    result = stack.run_here("evaluate", "client-bound", "1")
    assert result.returncode == 1, result.stdout
    assert "the numbers decide nothing, and the version stays pending" in result.stderr
    [version] = stack.versions("client-bound")
    assert version["ModelApprovalStatus"] == "PendingManualApproval"
    assert facts(stack, version)["evaluation:sha256"] != before["evaluation:sha256"]
    kinds = [event["kind"] for event in json.loads(stack.run_here("history", "client-bound", "--json").stdout)["events"]]
    assert [kind for kind in kinds if kind != "fetched"] == ["registered", "evaluated", "evaluated"]


def test_a_version_that_passed_is_evaluated_again_only_by_force(stack: Stack, released: dict[str, Any]) -> None:
    assert released["waiting"].returncode == 0, released["waiting"].stderr
    refused = stack.run_here("evaluate", "waiting", "1")
    assert refused.returncode == 2
    assert "it passed at " in refused.stderr
    assert "approve waiting 1 --comment WHY; --force measures it again" in refused.stderr
    result = stack.run_here("evaluate", "waiting", "1", "--force", "--json")
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)
    assert (answer["status"], answer["evaluation"]["verdict"], answer["production"]) == ("Succeeded", "passed", None)
    assert list(answer["steps"]) == ["EvaluateStaging", "Gate", "Approved"]
    assert facts(stack, stack.versions("waiting")[0])["evaluation:report"] == answer["evaluation"]["report"]


def test_a_version_worse_than_production_is_refused_and_production_stays(stack: Stack, released: dict[str, Any]) -> None:
    assert released["worse"].returncode == 0, released["worse"].stderr
    before = stack.client("sagemaker").describe_endpoint(EndpointName="worse")["EndpointConfigName"]

    result = stack.run_here(stack.simulated_model("worse", settings={**FAST, "ttft_ms": 1500}, change=compared))
    assert result.returncode == 1
    first, second = stack.versions("worse")
    measured, production = (float(facts(stack, version)["evaluation:short:ttft_p50_ms"]) for version in (second, first))
    assert (
        f"short ttft_p50_ms {measured:.4g} (must be at most 5000 and at most 1.5 times production's {production:.4g})"
        in " ".join(result.stderr.split())
    )
    assert first["ModelApprovalStatus"] == "Approved"
    assert second["ModelApprovalStatus"] == "Rejected"
    assert facts(stack, second)["evaluation:verdict"] == "failed"
    assert stack.client("sagemaker").describe_endpoint(EndpointName="worse")["EndpointConfigName"] == before
    assert left_of_staging(stack) == []


def test_stopping_the_execution_under_load_leaves_no_staging_endpoint(stack: Stack) -> None:
    def change(content: dict[str, Any]) -> None:
        content["evaluation"]["load_profiles"]["short"]["duration_s"] = 90

    file = stack.simulated_model("stopped", settings=FAST, change=change)
    sagemaker = stack.client("sagemaker")

    def stop_under_load() -> list[str]:
        wait_until(lambda: under_load(stack, "stopped"), "requests are being measured")
        [execution] = sagemaker.list_pipeline_executions(PipelineName="release-stopped")["PipelineExecutionSummaries"]
        staged = left_of_staging(stack)
        sagemaker.stop_pipeline_execution(PipelineExecutionArn=execution["PipelineExecutionArn"], ClientRequestToken="s" * 32)
        return staged

    with ThreadPoolExecutor() as pool:
        staged = pool.submit(stop_under_load)
        followed = stack.run_here(file)
    assert staged.result() != []
    assert followed.returncode == 1, followed.stdout
    assert left_of_staging(stack) == []
    assert "stopped" not in stack.endpoints()


def under_load(stack: Stack, model: str) -> bool:
    """Whether requests of this model's evaluation are being measured."""
    logs = stack.client("logs")
    group = "/aws/sagemaker/ProcessingJobs"
    if not logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
        return False  # no job has run yet
    for stream in logs.describe_log_streams(logGroupName=group)["logStreams"]:
        events = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"])["events"]
        words = [event["message"] for event in events]
        if any(f"staging-{model}-" in word for word in words) and any("progress: short: " in word for word in words):
            return True
    return False
