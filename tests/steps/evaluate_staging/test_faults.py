"""Whatever AWS refuses, and when: what was measured is not lost, no fault becomes a verdict, and the next run of the step heals the rest."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from delivery.history import decisions
from delivery.job import frame
from delivery.names import Fact
from loadtest.errors import LoadTestError
from tests.support.fake_aws.shapes import arn, client_error
from tests.support.worlds.evaluation_on_fakes import FakeEvaluationWorld, Fault, denied

FAULTS: dict[str, Callable[[str], Exception]] = {
    "denied": denied,
    "500": lambda action: client_error(action, "InternalFailure", "We encountered an internal error"),
    "hangs": lambda action: ReadTimeoutError(endpoint_url=f"https://aws/{action}"),
}
WHEN = ("first", "last", "always")
BESIDE = ("PutMetricData", "DeleteEndpoint", "DeleteEndpointConfig", "DeleteModel")
"""What the step does beside measuring: decorations, and cleaning up."""
RESULT = {"PutObject", "UpdateModelPackage"}
"""What the result itself is written with."""


@pytest.fixture
def world(tmp_path: Path) -> FakeEvaluationWorld:
    return FakeEvaluationWorld(tmp_path)


def fault(world: FakeEvaluationWorld, action: str, kind: str, when: str) -> Fault:
    count = {"first": range(1), "always": range(sys.maxsize)}.get(when)
    if count is None:
        count = range(world.counts()[action] - 1, sys.maxsize)
    return Fault(action, FAULTS[kind](action), count)


def is_whole(world: FakeEvaluationWorld, execution: str = "execution001") -> bool:
    """Whether report, output, version and ledger say the same of this execution."""
    body, facts = world.stored(execution), world.facts
    events = [event for event in world.evaluated() if event.by == execution]
    if body is None or len(events) != 1:
        return False
    [event] = events
    return (
        (world.folder / execution / "evaluation.json").read_bytes() == body
        and {facts.get(Fact.EVALUATION_SHA256), event.details["sha256"]} == {hashlib.sha256(body).hexdigest()}
        and {facts.get(Fact.EVALUATION_VERDICT), event.details["verdict"]} == {json.loads(body)["verdict"]}
    )


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("action", BESIDE)
def test_decorations_and_cleaning_up_cost_no_result(world: FakeEvaluationWorld, action: str, kind: str, when: str) -> None:
    ended = world.run("execution001", fault(world, action, kind, when))
    assert ended.exit_code == 0, ended.text
    assert is_whole(world)
    evaluation = ended.evaluation
    assert evaluation is not None
    assert evaluation.verdict == "passed"
    [undone] = evaluation.not_done
    assert undone in ended.text
    if action == "PutMetricData":
        assert "the metrics in CloudWatch could not be made" in undone
    else:
        assert "the staging endpoint staging-sim-v1-ution001 could not be deleted (it expires at " in undone
        assert "and the reaper deletes it then" in undone
    if action == "DeleteEndpoint":
        assert world.staging == ["staging-sim-v1-ution001"]
        tags = world.client("sagemaker").list_tags(ResourceArn=arn("sagemaker", "endpoint/staging-sim-v1-ution001"))["Tags"]
        [expiry] = [tag["Value"] for tag in tags if tag["Key"] == "release:expires-at"]
        assert expiry in undone


def test_everything_beside_measuring_fails_at_once_and_the_result_is_there(world: FakeEvaluationWorld) -> None:
    ended = world.run("execution001", *(Fault(action, denied(action)) for action in BESIDE))
    assert ended.exit_code == 0, ended.text
    assert is_whole(world)
    assert len(ended.evaluation.not_done if ended.evaluation else []) == 2


def test_a_cloudwatch_that_tells_nothing_of_the_engine_costs_no_result(
    world: FakeEvaluationWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise LoadTestError("CloudWatch refused a PromQL query with HTTP status 403: not authorized")

    monkeypatch.setattr("steps.evaluate_staging.publish.with_server_metrics", refuse)
    ended = world.run("execution001")
    assert ended.exit_code == 0, ended.text
    assert is_whole(world)
    assert ended.evaluation is not None
    [undone] = ended.evaluation.not_done
    assert (
        "the engine's own metrics from CloudWatch could not be made: LoadTestError: CloudWatch refused a PromQL query" in undone
    )
    assert {profile.server for profile in ended.evaluation.profiles.values()} == {None}


EACH_WAY = [
    pytest.param(kind, when, marks=[] if kind == kind_in_suite else [pytest.mark.soak])
    for when, kind_in_suite in zip(WHEN, FAULTS, strict=True)
    for kind in FAULTS
]


@pytest.mark.parametrize(("kind", "when"), EACH_WAY)
def test_every_call_of_an_evaluation_may_fail_and_the_next_run_heals(tmp_path: Path, kind: str, when: str) -> None:
    actions = FakeEvaluationWorld(tmp_path).counts()
    assert set(BESIDE) | RESULT < set(actions)
    for number, action in enumerate(actions):
        world = FakeEvaluationWorld(tmp_path / f"{number}")
        world.folder.mkdir()
        what = f"{action} {kind} {when}"
        ended = world.run("execution001", fault(world, action, kind, when))
        assert "Traceback" not in ended.text, f"{what}: {ended.text}"
        assert world.package["ModelApprovalStatus"] == "PendingManualApproval", what
        if ended.exit_code == 0:
            assert is_whole(world), f"{what}: {ended.text}"
        else:
            assert action in ended.message, f"{what}: {ended.message}"
            assert all(event.details["verdict"] != "failed" for event in world.evaluated()), what
        again = world.run("execution001")
        assert again.exit_code == 0, f"{what}, then nothing: {again.text}"
        assert is_whole(world), f"{what}, then nothing: {again.text}"


NAME = "staging-sim-v1-ution001"


def deleted(world: FakeEvaluationWorld) -> None:
    del endpoints(world)[NAME]


def made_anew(world: FakeEvaluationWorld) -> None:
    deleted(world)
    sagemaker = world.client("sagemaker")
    sagemaker.create_endpoint(EndpointName=NAME, EndpointConfigName=NAME, Tags=[])
    endpoints(world)[NAME].status, endpoints(world)[NAME].config = "InService", NAME


def given_another_config(world: FakeEvaluationWorld) -> None:
    endpoints(world)[NAME].config = "somebodys"


def failed(world: FakeEvaluationWorld) -> None:
    endpoints(world)[NAME].status, endpoints(world)[NAME].failure = "Failed", "an instance was lost"


def endpoints(world: FakeEvaluationWorld) -> dict[str, Any]:
    found: dict[str, Any] = world.client("sagemaker")._service._endpoints
    return found


@pytest.mark.parametrize(
    ("act", "says"),
    [
        (deleted, "was deleted, by hand or by a reaper whose clock is ahead,"),
        (made_anew, "was deleted and made anew"),
        (given_another_config, "was given another endpoint config, somebodys,"),
        (failed, "became Failed (an instance was lost)"),
    ],
)
def test_an_endpoint_that_is_not_the_one_any_more_is_an_error_and_no_verdict(
    world: FakeEvaluationWorld, act: Callable[[FakeEvaluationWorld], None], says: str
) -> None:
    world.during_load = lambda: act(world)
    ended = world.run()
    assert ended.exit_code == 1, ended.text
    assert f"the staging endpoint {NAME} {says} while it was measured" in ended.message
    assert "measure it again: python -m pipelines.run evaluate sim 1" in ended.message
    assert (world.stored(), world.evaluated(), Fact.EVALUATION_VERDICT in world.facts) == (None, [], False)
    assert world.package["ModelApprovalStatus"] == "PendingManualApproval"


def test_where_nobody_may_look_again_the_numbers_decide_nothing(world: FakeEvaluationWorld) -> None:
    refused = Fault("DescribeEndpoint", denied("DescribeEndpoint"), range(0))
    world.during_load = lambda: setattr(refused, "when", range(sys.maxsize))
    ended = world.run("execution001", refused)
    assert ended.exit_code == 0, ended.text
    assert is_whole(world)
    evaluation = ended.evaluation
    assert evaluation is not None
    assert evaluation.verdict == "invalid"
    assert f"whether {NAME} is still the endpoint that was measured is not known" in evaluation.summary


def test_a_load_ends_when_the_version_or_the_endpoint_is_gone(
    world: FakeEvaluationWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The load here never ends by itself."""
    monkeypatch.setattr("steps.evaluate_staging.watch._LOOK_S", 0.01)
    monkeypatch.setattr(
        "loadtest.runner.Runner.run",
        lambda self, profile, seed, told, **_: [told("on it") for _ in iter(lambda: time.sleep(0.01), 1)],
    )
    world.puts_loads_on = True
    sagemaker = world.client("sagemaker")
    world.during_load = lambda: sagemaker.delete_endpoint(EndpointName=NAME)
    ended = world.run()
    assert (ended.exit_code, world.staging) == (1, []), ended.text
    assert "became Deleting while it was measured" in ended.message
    world.during_load = lambda: sagemaker.delete_model_package(ModelPackageName=world.arn)
    ended = world.run("execution002")
    assert (ended.exit_code, world.staging) == (2, []), ended.text
    assert "version 1 was deleted while it was measured" in ended.message


def test_a_second_run_after_the_verdict_measures_nothing(world: FakeEvaluationWorld) -> None:
    world.run()
    first, events = world.stored(), world.evaluated()
    world.during_load = lambda: pytest.fail("it was measured again")
    again = world.run()
    assert again.exit_code == 0, again.text
    assert "it is not measured again" in again.text
    assert (world.stored(), world.evaluated()) == (first, events)
    assert is_whole(world)


def test_another_evaluation_of_the_version_counts_from_then_on(world: FakeEvaluationWorld) -> None:
    world.run()
    world.run("execution002")
    assert is_whole(world, "execution002")
    assert [event.kind for event in world.ledger.events()] == ["registered", "evaluated", "evaluated"]


@pytest.mark.parametrize(("refused", "key"), [("PutObject", "/00000002.json"), ("UpdateModelPackage", "")])
def test_a_verdict_that_one_of_two_takes_is_not_measured_again(world: FakeEvaluationWorld, refused: str, key: str) -> None:
    """Of ledger and version."""
    ended = world.run("execution001", Fault(refused, denied(refused), key=key))
    assert ended.exit_code == 1
    assert "version 1 was measured (passed: short ttft_p50_ms" in ended.message
    assert "but not all of it could be noted" in ended.message
    world.during_load = lambda: pytest.fail("it was measured again")
    assert world.run().exit_code == 0
    assert is_whole(world)


def test_a_report_that_s3_refuses_is_an_error_that_has_the_verdict(world: FakeEvaluationWorld) -> None:
    ended = world.run("execution001", Fault("PutObject", denied("PutObject"), key="evaluation.json"))
    assert ended.exit_code == 1
    assert "version 1 was measured (passed: short ttft_p50_ms" in ended.message
    assert "AccessDenied" in ended.message
    assert ended.evaluation is not None, "where SageMaker may bring it from"
    assert (world.evaluated(), Fact.EVALUATION_VERDICT in world.facts, world.staging) == ([], False, [])


def test_a_report_that_was_laid_there_is_not_taken_for_this_executions(world: FakeEvaluationWorld) -> None:
    world.run("another00000")
    body = world.stored("another00000")
    bucket, prefix = world.release.evaluations_prefix.removeprefix("s3://").split("/", 1)
    world.client("s3").put_object(Bucket=bucket, Key=f"{prefix}/execution001/evaluation.json", Body=body)
    assert "is being created" in world.run().text
    assert is_whole(world)


def full_disk(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device", "/opt/ml/processing/output/some.file")


@pytest.mark.parametrize("what", ["mkdir", "write_bytes", "write_text", "replace"])
def test_a_disk_that_is_full_after_the_load_costs_no_result(
    world: FakeEvaluationWorld, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """S3 has the evaluation, where SageMaker brings the output to; nothing half written would take its place there."""
    world.during_load = lambda: monkeypatch.setattr(Path, what, full_disk)
    ended = world.run()
    monkeypatch.undo()
    assert ended.exit_code == 0, ended.text
    body = world.stored()
    assert body is not None
    [event] = world.evaluated()
    assert {event.details["sha256"], world.facts[Fact.EVALUATION_SHA256]} == {hashlib.sha256(body).hexdigest()}
    assert "No space left on device" in ended.text
    assert ended.evaluation is None or (ended.output / "evaluation.json").read_bytes() == body


def test_an_evaluation_is_not_begun_on_a_disk_that_is_nearly_full(
    world: FakeEvaluationWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=3_000_000))
    ended = world.run()
    assert ended.exit_code == 1
    assert re.search(r"the disk of \S+ has 3 MB left, and an evaluation is not begun with less than 50 MB", ended.message)
    assert not [call for call in world.aws.calls if call["action"] == "CreateEndpoint"]


def test_a_progress_line_that_cannot_be_written_ends_no_load(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("w", buffering=1) as full:
        monkeypatch.setattr(sys, "stdout", full)
        frame.progress("short: 5 requests")
        monkeypatch.undo()
        with contextlib.suppress(OSError):
            full.close()


@pytest.mark.parametrize("decision", ["approved", "rejected"])
@pytest.mark.parametrize("where", ["console", "command"])
def test_the_gate_leaves_a_version_that_a_person_decided_about(world: FakeEvaluationWorld, decision: Any, where: str) -> None:
    ended = world.run()
    status = {"approved": "Approved", "rejected": "Rejected"}[decision]
    if where == "command":
        decisions.note(world.ledger, decision, world.version, by="arn:aws:sts::1:assumed-role/engineer/ana", comment="I know it")
    world.client("sagemaker").update_model_package(
        ModelPackageArn=world.arn, ModelApprovalStatus=status, ApprovalDescription="I know it"
    )
    rejected = world.reject(ended.output / "evaluation.json")
    assert rejected.exit_code == 0, rejected.text
    assert "did not reject" in rejected.text
    assert (world.package["ModelApprovalStatus"], world.package["ApprovalDescription"]) == (status, "I know it")
    [event] = [event for event in world.ledger.events() if event.kind in ("approved", "rejected")]
    assert (event.kind, event.details["comment"], event.by.startswith(decisions.GATE)) == (decision, "I know it", False)


@pytest.mark.parametrize("action", ["UpdateModelPackage", "PutObject", "ListObjectsV2"])
def test_the_gates_rejection_is_made_whole_by_the_next_run(world: FakeEvaluationWorld, action: str) -> None:
    evaluation = world.run().output / "evaluation.json"
    world.reject(evaluation, Fault(action, denied(action)))
    assert world.reject(evaluation).exit_code == 0
    assert world.package["ModelApprovalStatus"] == "Rejected"
    [event] = [event for event in world.ledger.events() if event.kind == "rejected"]
    assert event.by == "the gate of execution001"


def test_a_version_that_was_rejected_is_not_measured(world: FakeEvaluationWorld) -> None:
    world.client("sagemaker").update_model_package(
        ModelPackageArn=world.arn, ModelApprovalStatus="Rejected", ApprovalDescription="it swears"
    )
    ended = world.run()
    assert (ended.exit_code, ended.message) == (2, "version 1 is rejected: it swears; it is not measured")
    assert not [call for call in world.aws.calls if call["action"] == "CreateEndpoint"]


def test_a_prompt_that_aws_refuses_to_ask_is_no_wrong_answer(world: FakeEvaluationWorld) -> None:
    ended = world.run("execution001", Fault("InvokeEndpoint", denied("InvokeEndpoint")))
    assert ended.exit_code == 0, ended.text
    evaluation = ended.evaluation
    assert evaluation is not None
    assert evaluation.verdict == "invalid"
    assert (
        "prompt check 'The capital of France?' could not be asked: ClientError: An error occurred (AccessDenied"
        in evaluation.summary
    )
    assert "measure it again: python -m pipelines.run evaluate sim 1" in evaluation.next_action


@pytest.mark.parametrize(("kind", "verdict"), [("http_403", "invalid"), ("http_401", "invalid"), ("http_424", "failed")])
def test_requests_of_expired_credentials_are_not_the_models_failures(world: FakeEvaluationWorld, kind: str, verdict: str) -> None:
    world.failing = (kind, "ExpiredTokenException: The security token included in the request is expired")
    evaluation = world.run().evaluation
    assert evaluation is not None
    assert evaluation.verdict == verdict
    assert verdict == "failed" or "requests were denied before the model was asked: ExpiredTokenException" in evaluation.summary


def test_a_verdict_is_stored_before_anything_is_drawn(world: FakeEvaluationWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    def terminated(*_: Any) -> Any:
        raise frame.Terminated

    monkeypatch.setattr("loadtest.measurement.request_table.write", terminated)
    assert world.run().exit_code == 143
    assert json.loads(world.stored() or b"{}")["verdict"] == "passed"
    monkeypatch.undo()
    assert world.run().exit_code == 0
    assert is_whole(world)
