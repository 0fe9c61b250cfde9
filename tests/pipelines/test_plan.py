"""`plan`: what it says of costs, quotas and changes; and what it finds out by itself where something runs already."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from config.environment import ProductionAccount
from config.evaluation import Staging
from config.loader import load_environment, load_model
from config.production import Autoscaling
from config.rules.finding import Finding
from config.schema import Release
from config.updates import Canary
from delivery.endpoint.deployment import Deployment
from delivery.endpoint.hosting import Hosting
from delivery.hub.fit import fit
from delivery.names import Fact
from delivery.registry import model_packages
from loadtest.profiles import Capacity, Ladder, Objective
from pipelines.commands import failures
from pipelines.commands.releases import plan as plan_command
from pipelines.definitions import requests
from pipelines.errors import UsageError
from pipelines.planning import plan, prices
from pipelines.planning.differences import differences
from pipelines.planning.observed_state import InspectedWeights, ObservedState
from pipelines.planning.plan_text import as_text
from pipelines.planning.quotas import Quota, needs, shortage
from pipelines.resolution import resolve
from tests.local.conftest import ROOT, Stack
from tests.support.well_known import MODELS

ENVIRONMENT = load_environment(str(Path(__file__).parent / "environments" / "everything.yaml"))
EXAMPLE = Path(__file__).parent / "environments" / "example.yaml"


def release_of(model: str = "qwen3-32b", **production: Any) -> Release:
    name, content = load_model(model)
    content = content.model_copy(update={"production": content.production.model_copy(update=production)})
    return Release(name=name, model=content, environment=ENVIRONMENT, serving_image="i")


def needed(*releases: Release) -> dict[str, int]:
    return {need.quota.removesuffix(" usage"): need.instances for need in needs(releases) if "endpoint" in need.quota}


def test_a_blue_green_update_needs_twice_the_instances_and_a_rolling_one_a_batch() -> None:
    assert needed(release_of(instance_count=4)) == {"ml.p5.48xlarge for endpoint": 6}
    assert needed(release_of(instance_count=4, update=Canary(strategy="canary"))) == {"ml.p5.48xlarge for endpoint": 8}


def test_staging_stands_beside_production() -> None:
    release = release_of(instance_count=1, update=Canary(strategy="canary"))
    evaluation = release.model.evaluation.model_copy(update={"instance_count": 3})
    staged = release.model_copy(update={"model": release.model.model_copy(update={"evaluation": evaluation})})
    assert needed(staged) == {"ml.p5.48xlarge for endpoint": 4}


def test_staging_may_be_on_any_of_its_types() -> None:
    release = release_of()
    evaluation = release.model.evaluation.model_copy(
        update={"staging": Staging(instance_types=["ml.p5en.48xlarge", "ml.p5.48xlarge"])}
    )
    staged = release.model_copy(update={"model": release.model.model_copy(update={"evaluation": evaluation})})
    assert needed(staged) == {"ml.p5.48xlarge for endpoint": 3, "ml.p5en.48xlarge for endpoint": 1}


def test_autoscaling_and_fallbacks_count_with_what_they_may_reach() -> None:
    scaling = Autoscaling(min_instances=2, max_instances=6, concurrent_requests_per_instance=8)
    release = release_of(autoscaling=scaling)
    serving = release.model.serving.model_copy(update={"fallback_instance_types": ["ml.p5en.48xlarge"]})
    falling_back = release.model_copy(update={"model": release.model.model_copy(update={"serving": serving})})
    assert needed(falling_back) == {"ml.p5.48xlarge for endpoint": 9, "ml.p5en.48xlarge for endpoint": 9}


def test_all_productions_count_and_the_largest_update_once() -> None:
    first, second = release_of(instance_count=2), release_of(instance_count=4).model_copy(update={"name": "second"})
    assert needed(first, second) == {"ml.p5.48xlarge for endpoint": 2 + 4 + 2}


def test_production_in_another_account_needs_its_quota_there() -> None:
    there = ProductionAccount(
        account_id="222222222222", role="arn:aws:iam::222222222222:role/p", serve_role="arn:aws:iam::222222222222:role/s"
    )
    release = release_of(instance_count=4).model_copy(
        update={"environment": ENVIRONMENT.model_copy(update={"production": there})}
    )
    found = {(need.account_id, need.instances) for need in needs([release]) if "endpoint" in need.quota}
    assert found == {(ENVIRONMENT.account_id, 1), ("222222222222", 6)}


def test_a_shortage_says_the_command_that_ends_it() -> None:
    [need, *_] = needs([release_of(instance_count=4)])
    assert shortage(need, {need.quota: Quota(need.quota, "L-12345678", 6)}) is None
    assert "--quota-code L-12345678 --desired-value 6" in (shortage(need, {need.quota: Quota(need.quota, "L-12345678", 5)}) or "")
    assert "may not have this instance type" in (shortage(need, {}) or "")


def test_costs_are_instances_times_hours_times_price() -> None:
    release = release_of()  # 2 x ml.p5.48xlarge at 60 an hour
    found = {cost.what: cost for cost in prices.costs(release, total_bytes=0, fetch_max_runtime_s=3600, is_update=True)}
    assert found["FetchWeights"].usd == (0, 0)  # the weights are there already
    assert found["the staging endpoint"].usd == pytest.approx((60 * 330 / 3600, 60 * 2.5))
    assert found["the update of production"].instances == 1
    assert prices.production_usd_per_hour(release) == (120, 120)
    assert "the update of production" not in {
        cost.what for cost in prices.costs(release, total_bytes=0, fetch_max_runtime_s=3600, is_update=False)
    }


def test_a_missing_price_is_said_and_not_taken_for_nothing() -> None:
    bare = release_of().model_copy(update={"environment": ENVIRONMENT.model_copy(update={"instance_usd_per_hour": {}})})
    planned = plan.build(bare, ObservedState())
    assert planned.usd is None
    assert planned.production_usd_per_hour is None
    assert planned.unpriced == ["ml.c5.4xlarge", "ml.m5.4xlarge", "ml.p5.48xlarge"]


def test_a_ladder_takes_its_rungs_and_a_search_two_tries_at_least() -> None:
    objectives = {"error_rate": Objective(at_most=0)}
    ladder = Ladder(kind="ladder", concurrencies=[1, 2, 4], warmup_s=10, duration_s=50, objectives=objectives)
    search = Capacity(
        kind="capacity",
        start_rate_per_s=1,
        highest_rate_per_s=8,
        precision=0.25,
        warmup_s=10,
        duration_s=50,
        objectives=objectives,
    )
    release = release_of()
    evaluation = release.model.evaluation.model_copy(update={"load_profiles": {"ladder": ladder, "search": search}})
    loaded = release.model_copy(update={"model": release.model.model_copy(update={"evaluation": evaluation})})
    assert prices.least_load_s(loaded) == 60 * (3 + 2)


@pytest.mark.parametrize(
    ("changes", "observed", "says"),
    [
        ({"instance_count": 1, "update": Canary(strategy="canary")}, ObservedState(), "has one instance"),
        ({}, ObservedState(production_zones=1), "one availability zone"),
        ({}, ObservedState(weights_bytes=700 * 10**9), "8 GPUs of ml.p5.48xlarge have 687 GB"),
    ],
)
def test_what_would_go_wrong_is_warned_about(changes: dict[str, Any], observed: ObservedState, says: str) -> None:
    assert any(says in warning for warning in plan.build(release_of(**changes), observed).warnings)
    assert not any(says in warning for warning in plan.build(release_of(), ObservedState(production_zones=2)).warnings)


def test_differences_name_the_setting_as_the_file_does() -> None:
    release = release_of()
    older = json.loads(release.to_json())
    assert differences(older, release) == []
    older["model"]["serving"]["sglang"]["mem-fraction-static"] = 0.5
    older["model"]["production"]["instance_count"] = 4
    del older["model"]["evaluation"]["client_lag_at_most_ms"]  # an older format: its default is what the file means now
    found = {one.name: (one.old, one.new) for one in differences(older, release)}
    assert found == {"serving.sglang.mem-fraction-static": (0.5, 0.88), "production.instance_count": (4, 2)}


def test_a_release_file_of_a_format_that_is_gone_is_still_compared() -> None:
    older = {"model": {"weights": {"revision": "abc"}, "gone": True}}
    found = {one.name: one.old for one in differences(older, release_of())}
    assert found["weights.revision"] == "abc"
    assert found["gone"] is True


def test_without_an_account_it_says_what_it_could_not_look_up() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "pipelines.run", "plan", "deepseek-r1", "--env", str(EXAMPLE), "--offline", "--json"],
        cwd=ROOT, env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    planned = json.loads(result.stdout)
    assert planned["unknown"] == ["everything: --offline"]
    assert planned["usd"] is None
    assert [need["need"]["instances"] for need in planned["quotas"]] == [3, 1, 2, 1]
    assert planned["is_possible"]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    running = Stack(tmp_path_factory.mktemp("plan"))
    yield running
    running.run("local", "down")


def test_where_a_version_is_in_production_it_knows_what_is_there_and_what_would_change(stack: Stack) -> None:
    file = stack.simulated_model("planned", settings={})
    before = stack.run("plan", file)
    assert before.returncode == 0, before.stderr
    assert "nothing runs on this machine" in before.stdout
    stack.run("local", "up")
    put_into_production(stack, resolve(file, "local"))
    content = yaml.safe_load(Path(file).read_text())
    content["serving"]["sglang"]["max-running-requests"] = 32
    Path(file).write_text(yaml.safe_dump(content))
    result = stack.run("plan", file, "--json")
    assert result.returncode == 0, result.stderr
    planned = json.loads(result.stdout)
    steps = {step["name"]: step["what"] for step in planned["steps"]}
    assert planned["unknown"] == []
    assert steps["FetchWeights"].startswith("nothing to move")
    assert "from version 1" in steps["Promote"]
    assert planned["differences"] == [{"name": "serving.sglang.max-running-requests", "old": 64, "new": 32}]
    assert len(stack.versions("planned")) == 1  # it created nothing


def put_into_production(stack: Stack, release: Release) -> None:
    """What a release leaves behind, as far as a plan looks at it; the endpoint is still starting."""
    s3, sagemaker = stack.client("s3"), stack.client("sagemaker")
    bucket, release_file = release.environment.bucket, "releases/planned/release.json"
    s3.put_object(Bucket=bucket, Key=release_file, Body=release.to_json().encode())
    s3.put_object(Bucket=bucket, Key=f"{release.weights_prefix.split('/', 3)[3]}manifest.json", Body=b"{}")
    sagemaker.create_model_package_group(ModelPackageGroupName=release.package_group)
    sagemaker.create_model_package(**requests.model_package(release, {str(Fact.RELEASE_FILE): f"s3://{bucket}/{release_file}"}))
    [version] = stack.versions("planned")
    package = model_packages.read(sagemaker, version["ModelPackageArn"])
    deployment = Deployment(
        release, package, "staging", "test", 1
    )  # under production's name: a pending version is not deployed by its own
    Hosting(sagemaker, logs=cast(Any, None)).create(release.model.production.endpoint, deployment)


def test_what_the_hub_refuses_is_part_of_the_plan_and_makes_it_impossible() -> None:
    release = release_of()
    known = MODELS["deepseek-r1"].selection()
    inspected = InspectedWeights(replace(known, left_out_bytes=94 * 10**9, notes=["left out: x"]), fit(release.model, known))
    planned = plan.build(release, ObservedState(weights=inspected, refusals=inspected.misfits))
    assert not planned.is_possible
    shown = planned.to_dict()
    assert shown["is_possible"] is False
    assert shown["left_out_bytes"] == 94 * 10**9
    assert "does not fit ml.p5.48xlarge" in shown["refusals"][0]
    assert "weights 86.1 GB" in shown["memory"]["ml.p5.48xlarge"]
    text = as_text(planned)
    assert "Cannot work\n  serving.tensor_parallel_size: does not fit" in text
    assert "Memory\n  ml.p5.48xlarge  of 85.5 GB a GPU" in text
    assert "left out: x" in text


def test_a_plan_of_what_will_be_refused_ends_with_2_and_says_where(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text((ROOT / "config/models/qwen3-32b.yaml").read_text())
    refused = Finding(("weights", "repository"), "acme/m is an adapter", "hub")
    monkeypatch.setattr(plan_command, "look_up", lambda _: ObservedState(refusals=[refused]))
    with pytest.raises(UsageError) as ended:
        plan_command.plan(str(file), str(EXAMPLE), offline=False, as_json=True)
    assert failures.report(ended.value, as_json=True) == 2
    said = capsys.readouterr()
    assert said.err == f"error: {file}:5: weights.repository: acme/m is an adapter\n"
    document = json.loads(said.out)
    assert document["is_possible"] is False
    assert document["refusals"] == ["weights.repository: acme/m is an adapter"]


def test_the_shipped_examples_warn_of_nothing_in_an_account_of_several_zones() -> None:
    for name in ("qwen3-32b", "deepseek-r1"):
        release = release_of(name).model_copy(update={"environment": load_environment(str(EXAMPLE))})
        assert plan.build(release, ObservedState(production_zones=2)).warnings == []
