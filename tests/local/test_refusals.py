"""Releases that must not reach production: what is said, what is left."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.local.conftest import Stack
from tests.support.waiting import WHOLE_SYSTEM_S

pytestmark = pytest.mark.timeout(WHOLE_SYSTEM_S)

FAST = {"ttft_ms": 60, "itl_ms": 5, "output_tokens": 16}


@pytest.fixture(scope="module", autouse=True)
def running(stack: Stack) -> None:
    stack.up()


def order_fault(stack: Stack, **fault: Any) -> None:
    url = stack.services["local_hub"]["url"] + "/_local_hub/faults"
    urllib.request.urlopen(urllib.request.Request(url, json.dumps(fault).encode(), method="POST")).close()


def with_objective(metric: str, **bound: float) -> Any:
    def change(content: dict[str, Any]) -> None:
        content["evaluation"]["load_profiles"]["short"]["objectives"] = {metric: bound}

    return change


def test_a_missed_objective_rejects_the_version_and_says_the_number(stack: Stack) -> None:
    model = stack.simulated_model("too-slow", settings={**FAST, "ttft_ms": 400}, change=with_objective("ttft_p50_ms", at_most=40))
    result = stack.run_here(model, "--json")
    assert result.returncode == 1
    assert "ttft_p50_ms" in result.stderr
    assert "must be at most 40" in result.stderr
    answer = json.loads(result.stdout)
    assert (answer["status"], answer["evaluation"]["verdict"], answer["production"]) == ("Failed", "failed", None)
    assert answer["error"] in result.stderr
    assert "Traceback" not in result.stderr
    [version] = stack.versions("too-slow")
    assert version["ModelApprovalStatus"] == "Rejected"
    assert stack.endpoints() == []


def test_a_wrong_answer_to_a_prompt_check_rejects_the_version(stack: Stack) -> None:
    def change(content: dict[str, Any]) -> None:
        content["evaluation"]["prompt_checks"] = [{"prompt": "Which city is the capital of France?", "expect": "Paris"}]

    model = stack.simulated_model("wrong-answer", settings={**FAST, "answers": {"France": "It is Lyon."}}, change=change)
    result = stack.run_here(model)
    assert result.returncode == 1
    assert stack.versions("wrong-answer")[0]["ModelApprovalStatus"] == "Rejected"
    assert stack.endpoints() == []


def test_an_engine_that_never_becomes_healthy_shows_its_last_words_and_leaves_no_endpoint(stack: Stack) -> None:
    model = stack.simulated_model("crashes", settings={"crash_at_start": True})
    result = stack.run_here(model)
    assert result.returncode == 1
    assert "EvaluateStaging failed" in result.stderr
    assert "simulated" in result.stderr
    assert stack.endpoints() == []
    assert stack.versions("crashes")[0]["ModelApprovalStatus"] != "Approved"


def test_a_gated_repository_without_a_token_is_refused_before_anything_is_created(stack: Stack) -> None:
    model = stack.simulated_model("gated", settings=FAST, hub={"gated": True})
    result = stack.run_here(model)
    assert result.returncode == 2
    assert "gated" in result.stderr
    assert "hub_token_secret" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_repository_without_safetensors_or_gguf_is_refused_before_anything_is_created(stack: Stack) -> None:
    model = stack.simulated_model(
        "no-weights", settings=FAST, change=lambda content: content["weights"].update(exclude=["*.safetensors"])
    )
    result = stack.run_here(model)
    assert result.returncode == 2
    assert "safetensors" in result.stderr
    assert "gguf" in result.stderr


def test_bytes_that_do_not_match_their_digest_stop_the_release_before_anything_is_registered(stack: Stack) -> None:
    model = stack.simulated_model("corrupt", settings=FAST)
    order_fault(stack, kind="corrupt", path="test/corrupt/model.safetensors", where="any", times=None, at_byte=9)
    result = stack.run_here(model)
    assert result.returncode == 1
    assert "FetchWeights failed" in result.stderr
    assert "model.safetensors" in result.stderr
    assert stack.versions("corrupt") == []


@pytest.mark.parametrize(
    ("repository", "says", "key"),
    [
        ("test/nowhere", "has no repository test/nowhere", "repository"),
        (None, "no revision", "revision"),
    ],
)
def test_what_the_hub_does_not_have_is_refused_before_anything_is_created(
    stack: Stack, repository: str | None, says: str, key: str
) -> None:
    def change(content: dict[str, Any]) -> None:
        content["weights"]["revision"] = "f" * 40
        content["weights"]["repository"] = repository or content["weights"]["repository"]

    model = stack.simulated_model("absent", settings=FAST, change=change)
    result = stack.run_here(model)
    assert result.returncode == 2
    assert says in result.stderr
    [line] = [number for number, text in enumerate(Path(model).read_text().splitlines(), 1) if text.startswith(f"  {key}:")]
    assert f"{Path(model).name}:{line}: weights.{key}: " in result.stderr
    assert "Traceback" not in result.stderr
    groups = stack.client("sagemaker").list_model_package_groups()["ModelPackageGroupSummaryList"]
    assert "release-absent" not in {group["ModelPackageGroupName"] for group in groups}
