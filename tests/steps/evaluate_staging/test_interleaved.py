"""`evaluation.baseline: interleaved`: production's version on a second staging endpoint, asked the same in alternating blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from delivery.endpoint.deployment import Deployment
from delivery.endpoint.hosting import Hosting
from delivery.registry import model_packages
from tests.support.waiting import WHOLE_SYSTEM_S
from tests.support.worlds.evaluation import EvaluationWorld, Version, closed_loop, evaluation_world

pytestmark = pytest.mark.timeout(WHOLE_SYSTEM_S)

P5, P4 = "ml.p5.48xlarge", "ml.p4d.24xlarge"
USUAL = {"ttft_ms": 60, "itl_ms": 5, "jitter": 0.1}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EvaluationWorld]:
    """A world with two p5 for staging beside production's."""
    with evaluation_world(tmp_path_factory.mktemp("beside"), capacity={P5: 3, P4: 1}) as made:
        yield made


def evaluation(**changes: Any) -> dict[str, Any]:
    profile = closed_loop(
        duration_s=4,
        duration_at_most_s=4,
        objectives={"e2e_p50_ms": {"at_most": 5000, "at_most_production": 1.4}, "error_rate": {"at_most": 0.1}},
    )
    return {"load_profiles": {"chat": profile}, "baseline": "interleaved", **changes}


def serve(world: EvaluationWorld, version: Version) -> None:
    """Put a version into production."""
    hosting = Hosting(world.client("sagemaker"), world.client("logs"))
    package = model_packages.read(world.client("sagemaker"), version.arn)
    deployment = Deployment(version.release, package, "production", "by-hand-0001", 1, spelt_out=True)
    endpoint = version.release.model.production.endpoint
    hosting.create(endpoint, deployment)
    hosting.wait(endpoint, 60, lambda _: None)


def staged(world: EvaluationWorld) -> list[str]:
    return [name for name in world.left() if name.startswith("staging-")]


@pytest.fixture(scope="module")
def production(world: EvaluationWorld) -> Version:
    version = world.version(evaluation(), name="beside", settings=USUAL)
    serve(world, version)
    return version


def test_the_same_engine_is_not_refused_beside_production_without_a_stored_evaluation(
    world: EvaluationWorld, production: Version
) -> None:
    run = world.evaluate(world.version(evaluation(), name="beside", settings={**USUAL, "seed": 2}))
    found = run.evaluation
    assert found.verdict != "failed", found.summary  # on a busy machine a few seconds decide nothing
    assert found.production is not None
    assert (found.production.version, found.production.is_beside) == (1, True)
    result = found.profiles["chat"].objectives["e2e_p50_ms"]
    assert result.production == found.beside["chat"].metrics["e2e_p50_ms"]
    assert result.ratio_low is not None
    assert result.ratio_low < 1.4
    assert found.beside["chat"].requests > 0
    assert found.beside["chat"].goes == found.profiles["chat"].goes >= 2, "in blocks"
    assert found.not_done == []
    assert "in production" in (run.output / "report.html").read_text()
    assert staged(world) == [], "both are gone"


def test_a_slower_engine_does_not_pass_whatever_production_measured_once(world: EvaluationWorld, production: Version) -> None:
    slower = {**USUAL, "latency_factor": 2.5}
    run = world.evaluate(world.version(evaluation(), name="beside", settings=slower))
    assert run.evaluation.verdict != "passed", run.evaluation.summary
    assert "times production's" in run.evaluation.summary
    assert staged(world) == []


def test_the_version_in_production_is_measured_beside_itself(world: EvaluationWorld, production: Version) -> None:
    run = world.evaluate(production)
    assert run.evaluation.verdict != "failed", run.evaluation.summary
    assert run.evaluation.beside["chat"].requests > 0
    assert staged(world) == []


def test_without_capacity_for_two_production_is_compared_as_it_was_stored(world: EvaluationWorld, production: Version) -> None:
    only_one = evaluation(staging={"instance_types": [P4]})
    run = world.evaluate(world.version(only_one, name="beside", settings=USUAL))
    found = run.evaluation
    assert found.verdict == "passed", found.summary
    [line] = found.not_done
    assert line.startswith("production's version could not be measured beside this one: ")
    assert "InsufficientInstanceCapacity" in line
    assert found.beside == {}
    assert staged(world) == []


def test_nothing_in_production_takes_no_second_endpoint(world: EvaluationWorld) -> None:
    run = world.evaluate(world.version(evaluation(), name="first", settings=USUAL))
    assert run.evaluation.verdict == "passed", run.evaluation.summary
    assert "staging-first-b" not in run.text
    assert (run.evaluation.beside, run.evaluation.not_done) == ({}, [])
