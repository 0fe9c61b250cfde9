"""One evaluation as a user meets it: where there is no capacity, what it measures, what it leaves on the version and in CloudWatch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from config.evaluation import Staging
from delivery.aws.clock import ServiceClock
from delivery.endpoint.deployment import Deployment
from delivery.endpoint.hosting import EndpointState, Hosting
from delivery.errors import DeliveryError
from loadtest.profiles import COST
from loadtest.report import shown_metrics
from steps.evaluate_staging.staging import staging
from tests.support.waiting import WHOLE_SYSTEM_S
from tests.support.worlds.evaluation import EvaluationRun, EvaluationWorld, closed_loop, evaluation_world

pytestmark = pytest.mark.timeout(WHOLE_SYSTEM_S)

SCARCE, PLENTY = "ml.p5.48xlarge", "ml.p4d.24xlarge"
USD_PER_HOUR = 36.0


@pytest.fixture(scope="module")
def scarce(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EvaluationWorld]:
    """A world without a single p5."""
    with evaluation_world(tmp_path_factory.mktemp("scarce"), capacity={SCARCE: 0}) as made:
        yield made


@pytest.fixture(scope="module")
def measured(scarce: EvaluationWorld) -> EvaluationRun:
    """An evaluation on the second instance type, with everything that it can be asked for."""
    profile = closed_loop(
        concurrency=6,
        duration_s=3,
        objectives={"ttft_p90_ms": {"at_most": 5000}, "output_tokens_per_s": {"at_least": 1}, COST: {"at_most": 1e6}},
    )
    version = scarce.version(
        {
            "load_profiles": {"chat": profile},
            "prompt_checks": [{"prompt": "Which city is the capital of France?", "expect": "Paris"}],
            "staging": {"instance_types": [SCARCE, PLENTY]},
        },
        settings={"answers": {"France": "It is Paris."}},
        environment={"instance_usd_per_hour": {PLENTY: USD_PER_HOUR}},
    )
    return scarce.evaluate(version, with_suite=True)


def test_another_instance_type_is_taken_where_there_is_no_capacity(scarce: EvaluationWorld, measured: EvaluationRun) -> None:
    assert re.search(rf"there is no capacity of {SCARCE} now: .*InsufficientInstanceCapacity", measured.text)
    assert f"is being created on {PLENTY}" in measured.text
    assert measured.evaluation.environment["instances"] == f"1 {PLENTY}"
    assert measured.evaluation.verdict == "passed"
    assert scarce.left() == []


def test_a_million_tokens_cost_what_the_instance_that_was_used_costs(measured: EvaluationRun) -> None:
    metrics = measured.evaluation.profiles["chat"].metrics
    tokens_per_s = metrics["output_tokens_per_s"]
    assert tokens_per_s is not None
    assert metrics[COST] == pytest.approx(USD_PER_HOUR / 3600 / tokens_per_s * 1e6)


def test_the_version_has_the_verdict_the_headline_numbers_and_the_reports_digest(
    scarce: EvaluationWorld, measured: EvaluationRun
) -> None:
    facts = scarce.facts(measured.version)
    objectives = measured.evaluation.profiles["chat"].objectives
    assert facts["evaluation:verdict"] == "passed"
    assert facts["evaluation:report"].endswith(f"/{measured.execution}/evaluation.json")
    assert len(facts["evaluation:sha256"]) == 64
    for name, result in objectives.items():
        assert float(facts[f"evaluation:chat:{name}"]) == pytest.approx(result.value, rel=0.01)


def test_every_metric_is_in_cloudwatch_by_model_and_version(scarce: EvaluationWorld, measured: EvaluationRun) -> None:
    cloudwatch, now = scarce.client("cloudwatch"), datetime.now(UTC)
    dimensions = {"Model": "sim", "Version": str(measured.evaluation.version), "Profile": "chat"}
    profile = measured.evaluation.profiles["chat"]
    for metric in shown_metrics(profile):
        if (value := profile.metrics[metric]) is None:
            continue
        points = cloudwatch.get_metric_statistics(
            Namespace="Release/Evaluation",
            MetricName=metric,
            Dimensions=[{"Name": name, "Value": text} for name, text in dimensions.items()],
            StartTime=now - timedelta(hours=1),
            EndTime=now + timedelta(hours=1),
            Period=7200,
            Statistics=["Maximum"],
        )["Datapoints"]
        assert [point["Maximum"] for point in points] == [pytest.approx(value)], metric


def test_the_prompt_check_is_asked_alone_and_in_a_full_batch(measured: EvaluationRun) -> None:
    prompt_checks = measured.evaluation.prompt_checks
    assert prompt_checks.failed == 0
    assert prompt_checks.batch is not None
    assert (prompt_checks.batch.asked, prompt_checks.batch.same, prompt_checks.batch.alone) == (6, 6, "It is Paris.")


def test_the_table_has_every_request_the_warm_up_too(measured: EvaluationRun) -> None:
    from pyarrow import parquet  # type: ignore[import-untyped]

    rows = parquet.read_table(measured.output / "requests.parquet").to_pylist()
    counted = [row for row in rows if row["measured"]]
    assert len(counted) == measured.evaluation.profiles["chat"].requests
    assert len(rows) > len(counted)
    assert all(row["ttft_ms"] <= row["e2e_ms"] for row in rows)  # the same, where a busy machine reads a whole answer at once
    assert any(row["ttft_ms"] < row["e2e_ms"] for row in rows)


def test_the_suite_held_and_its_data_docs_are_beside_the_report(measured: EvaluationRun) -> None:
    suite = measured.evaluation.expectations
    assert suite is not None
    assert (suite.success, suite.failed) == (True, [])
    assert (measured.output / "data_docs" / "index.html").is_file()
    assert (measured.output / "report.html").stat().st_size < 1_000_000


def test_a_load_for_which_the_endpoint_lives_too_short_is_not_put_on_and_rejects_nobody(scarce: EvaluationWorld) -> None:
    profiles = {"short": closed_loop(duration_s=5), "long": closed_loop(duration_s=60)}
    wanted = {
        "load_profiles": profiles,
        "staging": {"instance_types": [PLENTY]},
        "max_runtime_s": 60,
    }
    run = scarce.evaluate(scarce.version(wanted, name="brief"))
    assert run.evaluation.verdict == "invalid"
    assert re.search(  # on a machine that is busy enough the half second of the other has no request, and the summary says so, too
        r"\blong: the staging endpoint expires in \d+ s and this load takes 60 s: it was not put on \(raise evaluation.max_runtime_s\)",
        run.evaluation.summary,
    )
    assert run.evaluation.profiles["short"].requests > 0
    assert run.evaluation.profiles["long"].requests == 0
    assert "it was not put on" in (run.output / "report.html").read_text()
    assert scarce.left() == []


def test_no_capacity_of_anything_is_one_clear_error(scarce: EvaluationWorld) -> None:
    run = scarce.start(scarce.version({"staging": {"capacity_retries": 1, "capacity_wait_s": 0.1}}))
    assert run.wait() == 1
    assert run.text.count("there is no capacity of ml.p5.48xlarge now") == 2
    assert "error: there was no capacity of ml.p5.48xlarge in 2 tries" in run.text
    assert "name more types in evaluation.staging.instance_types" in run.text
    assert "Traceback" not in run.text
    assert scarce.left() == []


@dataclass
class Scripted:
    """Hosting whose starts end as told: what AWS says of each, None for a good one."""

    script: list[str | None]
    refuses_to_create: bool = False
    created_on: list[str] = field(default_factory=list)
    removed: int = 0
    clock: ServiceClock = field(default_factory=ServiceClock)
    _failure: str | None = None
    _defined: bool = False

    def create(self, endpoint: str, deployment: Deployment) -> None:
        self.created_on.append(deployment.release.model.serving.instance_type)
        failure, self._defined = self.script.pop(0), True
        if failure and self.refuses_to_create:
            raise DeliveryError(f"could not create the endpoint {endpoint}: {failure}")
        self._failure = failure

    def wait(self, endpoint: str, timeout_s: float, on_progress: Any) -> EndpointState:
        if self._failure:
            raise DeliveryError(f"the endpoint {endpoint} is Failed: {self._failure}; its container wrote nothing")
        return EndpointState("arn", "InService", endpoint, "")

    def state(self, endpoint: str) -> Any:
        return SimpleNamespace(failure=self._failure) if self._failure else None

    def config(self, name: str) -> Any:
        return {} if self._defined else None

    def remove(self, endpoint: str) -> None:
        self._failure, self._defined = None, False
        self.removed += 1

    def wait_gone(self, endpoint: str) -> None:
        assert self._failure is None


ICE = "Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity error. Please retry"
QUOTA = "ResourceLimitExceeded: The account-level service limit 'ml.p5.48xlarge for endpoint usage' is 0 Instances"
BROKEN = "The primary container for production variant AllTraffic did not pass the ping health check."


def started_on(scarce: EvaluationWorld, hosting: Scripted, types: list[str]) -> str:
    release = scarce.version({}, name="scripted").release
    wanted = Staging(instance_types=types, capacity_retries=2, capacity_wait_s=0.01)
    evaluation = release.model.evaluation.model_copy(update={"staging": wanted})
    release = release.model_copy(update={"model": release.model.model_copy(update={"evaluation": evaluation})})
    package: Any = SimpleNamespace(version=1, container={}, arn="arn")
    with staging(cast(Hosting, hosting), release, package, "execution") as staged:
        return staged.instance_type


@pytest.mark.parametrize("refuses_to_create", [False, True])
def test_all_types_are_tried_in_order_and_then_again(scarce: EvaluationWorld, refuses_to_create: bool) -> None:
    hosting = Scripted([ICE if not refuses_to_create else QUOTA] * 3 + [None], refuses_to_create)
    assert started_on(scarce, hosting, [SCARCE, PLENTY]) == PLENTY
    assert hosting.created_on == [SCARCE, PLENTY, SCARCE, PLENTY]
    assert hosting.removed == 4, "before each start but the first, and at the end"


def test_a_start_that_fails_for_another_reason_is_not_tried_again(scarce: EvaluationWorld) -> None:
    hosting = Scripted([BROKEN])
    with pytest.raises(DeliveryError, match="did not pass the ping health check"):
        started_on(scarce, hosting, [SCARCE, PLENTY])
    assert hosting.created_on == [SCARCE]


def test_the_engine_is_shown_beside_the_client_by_what_sagemaker_published_of_it(scarce: EvaluationWorld) -> None:
    profile = closed_loop(concurrency=8, output_tokens=40, warmup_s=1, duration_s=21, duration_at_most_s=21)
    version = scarce.version(
        {"load_profiles": {"busy": profile}, "staging": {"instance_types": [PLENTY]}},
        name="seen",
        settings={"itl_ms": 20},
        sglang={"enable-metrics": True, "max-running-requests": 4, "max-total-tokens": 1000},
    )
    run = scarce.evaluate(version)
    assert (run.evaluation.verdict, run.evaluation.not_done) == ("passed", [])
    server = run.evaluation.profiles["busy"].server
    assert server is not None
    assert (server.source, server.every_s, server.note) == ("CloudWatch", 10, "")
    running, queued = server.metrics["running_requests"], server.metrics["queued_requests"]
    assert (running.values, running.max) == ([4.0] * len(running.at_s), 4)
    assert len(running.at_s) in (1, 2), "one each ten seconds"
    assert queued.mean == pytest.approx(4, abs=0.5)
    assert 0 < server.metrics["kv_cache_usage"].max < 4 * (32 + 40 + 1) / 1000 * 1.2
    page = (run.output / "report.html").read_text()
    assert "In the server: running and queued requests over time" in page
    assert "from CloudWatch, every 10 s; they decide nothing" in page


def test_why_there_is_nothing_of_the_engine_is_said(measured: EvaluationRun) -> None:
    server = measured.evaluation.profiles["chat"].server
    assert server is not None
    assert server.metrics == {}
    assert server.note == "SGLang says nothing without serving.sglang.enable-metrics in the model file"
    assert server.note in (measured.output / "report.html").read_text()
