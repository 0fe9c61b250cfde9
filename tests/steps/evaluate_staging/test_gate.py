"""The gate: the pipeline's conditions and the verdict say the same of every evaluation; the suite says which rows broke what."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from botocore.exceptions import ClientError
from pydantic import TypeAdapter

from config.loader import MODELS, load_environment
from config.schema import ModelFile, Release
from delivery.endpoint.hosting import EndpointState
from delivery.history.ledger import Event
from delivery.names import MODEL_TAG, Fact
from loadtest.measurement import request_table
from loadtest.measurement.measurement import Measurement
from loadtest.profiles import LoadProfile
from pipelines.definitions.release import build
from steps.evaluate_staging import baseline, expectations, publish, verdicts
from steps.evaluate_staging.baseline import Baseline
from steps.evaluate_staging.models import Evaluation
from tests.steps.evaluate_staging.evaluations import PROFILES, SECOND, evaluation, requests

MISSED = {"slow": 1.35, "failing": 0.02}


@pytest.fixture(scope="module")
def release() -> Release:
    """One whose model file asks for what `tests.steps.evaluate_staging.evaluations` measures."""
    content = yaml.safe_load((MODELS / "qwen3-32b.yaml").read_text())
    content["evaluation"] = {"load_profiles": PROFILES, "lm_eval": {"tasks": {"gsm8k": {"at_least": 0.85}}}}
    return Release(
        name="qwen3-32b",
        model=ModelFile.model_validate(content),
        environment=load_environment("aws"),
        serving_image="111122223333.dkr.ecr.us-west-2.amazonaws.com/release-serving:latest",
    )


@pytest.fixture(scope="module")
def conditions(release: Release) -> list[dict[str, Any]]:
    """Its gate's."""
    steps = json.loads(build(release).definition())["Steps"]
    found: list[dict[str, Any]] = next(step for step in steps if step["Name"] == "Gate")["Arguments"]["Conditions"]
    return found


def holds(condition: dict[str, Any], evaluation: Evaluation) -> bool:
    """What SageMaker finds when it reads the property file."""
    value = json.loads(evaluation.model_dump_json())
    for key in condition["LeftValue"]["Std:JsonGet"]["Path"].split("."):
        value = value[key]
    right = condition["RightValue"]
    held: bool = {
        "Equals": lambda: value == right,
        "LessThanOrEqualTo": lambda: value <= right,
        "GreaterThanOrEqualTo": lambda: value >= right,
    }[condition["Type"]]()
    return held


def without_cost(found: Evaluation) -> Evaluation:
    """The same with every cost and capacity within its bound."""
    profiles = {name: one for name, one in found.profiles.items() if name == "chat"}
    verdict, summary = verdicts.judge(found.prompt_checks, profiles, found.lm_eval)
    return found.model_copy(update={"profiles": profiles, "verdict": verdict, "summary": summary})


def test_each_objective_is_a_condition_that_says_what_the_evaluation_says(conditions: list[dict[str, Any]]) -> None:
    production = evaluation(1)
    for found in (production, evaluation(2, production), evaluation(3, production, **MISSED)):
        by_path = {condition["LeftValue"]["Std:JsonGet"]["Path"]: holds(condition, found) for condition in conditions}
        assert by_path.pop("verdict") == (found.verdict == "passed")
        assert by_path.pop("prompt_checks.failed")
        assert by_path.pop("lm_eval.gsm8k.compared_value") == found.lm_eval["gsm8k"].met
        assert by_path == {
            f"profiles.{name}.objectives.{metric}.compared_value": result.met
            for name, profile in found.profiles.items()
            for metric, result in profile.objectives.items()
        }


def test_the_verdict_is_passed_only_when_everything_is_met() -> None:
    production = without_cost(evaluation(1))
    assert (production.verdict, "chat ttft_p99_ms" in production.summary) == ("passed", True)
    worse = without_cost(evaluation(3, evaluation(1), **MISSED))
    assert worse.verdict == "failed"
    assert "times production's" in worse.summary
    late = production.profiles["chat"].client.model_copy(
        update={"bottleneck": "the client was 80 ms late (p99), more than 50 ms"}
    )
    profiles = {"chat": production.profiles["chat"].model_copy(update={"client": late})}
    assert verdicts.judge(production.prompt_checks, profiles, {}) == (
        "invalid",
        "chat: the client was 80 ms late (p99), more than 50 ms",
    )
    missed = {"gsm8k": production.lm_eval["gsm8k"].model_copy(update={"met": False, "value": 0.5})}
    assert verdicts.judge(production.prompt_checks, production.profiles, missed) == (
        "failed",
        "lm-eval gsm8k 0.5 (must be at least 0.85)",
    )


VERSION_ARN = "arn:aws:sagemaker:us-west-2:111122223333:model-package/release-qwen3-32b/5"
STATE = EndpointState("arn:aws:sagemaker:us-west-2:111122223333:endpoint/qwen3-32b", "InService", "config", "")


@pytest.mark.parametrize(
    ("version", "facts", "says"),
    [
        (None, {}, "what qwen3-32b serves was not made by this pipeline"),
        (4, {}, "version 4 is in production without an evaluation: it has no evaluation:report"),
        (
            4,
            {Fact.EVALUATION_REPORT: "s3://b/e.json", Fact.EVALUATION_SHA256: "0" * 64},
            "s3://b/e.json is gone, or not what was registered",
        ),
        (
            4,
            {Fact.EVALUATION_REPORT: "s3://b/e.json", Fact.EVALUATION_SHA256: hashlib.sha256(b"{}").hexdigest()},
            "the evaluation of version 4, which is in production, is of another format",
        ),
    ],
)
def test_why_production_is_not_compared_with_is_told(
    monkeypatch: pytest.MonkeyPatch, release: Release, version: int | None, facts: dict[str, str], says: str
) -> None:
    """A relative objective is met then: whoever reads the report must not take that for a comparison."""
    tags = {MODEL_TAG: release.name}
    hosting: Any = SimpleNamespace(state=lambda _: STATE, tags=lambda _: tags, version_of=lambda _: version)
    sagemaker: Any = None
    ledger: Any = None
    stored: Any = SimpleNamespace(get_object=lambda **_: {"Body": io.BytesIO(b"{}")})
    monkeypatch.setattr("delivery.registry.model_packages.read", lambda *_: SimpleNamespace(facts=facts, version=version))
    found = baseline.read(release, hosting, ledger, sagemaker, stored, VERSION_ARN)
    assert found.evaluation is None
    assert says in found.why_none
    tags.clear()
    assert baseline.read(release, hosting, ledger, sagemaker, stored, VERSION_ARN) == Baseline(), (
        "of this model nothing is in production"
    )


def test_production_in_another_account_is_what_the_ledger_says(monkeypatch: pytest.MonkeyPatch, release: Release) -> None:
    """The evaluation has no role there: it saw nothing in production, and every relative objective was met."""
    there = {
        "account_id": "222222222222",
        "role": "arn:aws:iam::222222222222:role/p",
        "serve_role": "arn:aws:iam::222222222222:role/s",
    }
    whole = release.model_dump(mode="json")
    whole["environment"]["production"] = there
    elsewhere = Release.model_validate(whole)
    promoted = Event(sequence=1, kind="promoted", at="2026-12-01T00:00:00+00:00", by="e", version=4)
    ledger: Any = SimpleNamespace(events=lambda: [promoted])
    hosting: Any = SimpleNamespace(state=lambda _: None)
    read: list[str] = []

    def package(_: Any, arn: str) -> Any:
        read.append(arn)
        return SimpleNamespace(facts={}, version=4)

    monkeypatch.setattr("delivery.registry.model_packages.read", package)
    nothing: Any = None
    found = baseline.read(elsewhere, hosting, ledger, nothing, nothing, VERSION_ARN)
    assert found.package is not None
    assert found.package.version == 4
    assert read == [VERSION_ARN.replace("/5", "/4")]
    assert "version 4 is in production without an evaluation" in found.why_none


def test_a_suite_that_fails_costs_no_verdict(monkeypatch: pytest.MonkeyPatch, release: Release, tmp_path: Path) -> None:
    def failing(*_: Any) -> Any:
        raise TypeError("Object of type bool is not JSON serializable")

    monkeypatch.setattr(expectations, "check", failing)
    found = publish.write_report(evaluation(1), release, {}, None, tmp_path)
    assert found.verdict == evaluation(1).verdict
    assert found.expectations is not None
    assert found.expectations.failed == [
        "great_expectations itself failed: TypeError: Object of type bool is not JSON serializable"
    ]
    assert "itself failed" in (tmp_path / "report.html").read_text()


def test_a_page_that_cannot_be_drawn_costs_no_verdict(monkeypatch: pytest.MonkeyPatch, release: Release, tmp_path: Path) -> None:
    def failing(*_: Any) -> Any:
        raise RuntimeError("no font")

    monkeypatch.setattr("steps.evaluate_staging.report.render", failing)
    assert publish.write_report(evaluation(1), release, {}, None, tmp_path).verdict == evaluation(1).verdict
    assert not (tmp_path / "report.html").exists()


def test_metrics_that_cloudwatch_refuses_cost_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": "Throttling", "Message": "slow down"}}, "PutMetricData")

    monkeypatch.setattr("boto3.client", lambda *_, **__: SimpleNamespace(put_metric_data=refuse))
    undone: list[str] = []
    with publish.decoration("the metrics", undone):
        publish.send_metrics(evaluation(1), "us-west-2")
    assert "slow down" in undone[0]


def test_the_suite_says_which_rows_broke_which_expectation_and_keeps_all_in_its_data_docs(tmp_path: Path) -> None:
    found = requests(7, 20, rate=5, tokens=10)
    slow = found[3], found[50]
    for result in slow:
        result.token_ns = [moment + 2 * SECOND for moment in result.token_ns]
    failed = found[10]
    failed.error, failed.message, failed.finish_reason = "http_424", "ModelError: the container did not answer", ""
    measurement = Measurement(0, 20 * SECOND)
    for result in found:
        measurement.add(result)
    profile: Any = TypeAdapter(LoadProfile).validate_python({**PROFILES["chat"]})
    checked = expectations.check(request_table.build({"chat": measurement}), {"chat": profile}, tmp_path / "docs")
    assert checked is not None
    assert not checked.success
    lines = [line.split(": ", 1)[1] for line in checked.failed]
    due = [f"due at {result.intended_ns / SECOND:.3f} s ({result.ttft_ms:.0f})" for result in slow]
    assert f"ttft_ms at most 900 in 99% of the rows (objective ttft_p99_ms): 2 of 100 rows break it: {due[0]}; {due[1]}" in lines
    assert (
        f"no error in 99.9% of the rows: 1 of 100 rows break it: due at {failed.intended_ns / SECOND:.3f} s "
        "(http_424, ModelError: the container did not answer)" in lines
    )
    pages = "".join(page.read_text() for page in (tmp_path / "docs").rglob("*.html"))
    assert "ModelError: the container did not answer" in pages
    assert "objective ttft_p99_ms" in pages
