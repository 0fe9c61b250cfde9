"""approve and reject: who decided what and why, in the registry and in the ledger."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from pipelines.executions.execution import Executions
from tests.support.waiting import HANG_S
from tests.support.worlds.registry import RegistryWorld, registry_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryWorld]:
    with registry_world(tmp_path_factory.mktemp("decisions")) as made:
        yield made


def test_an_approval_stands_in_registry_and_ledger_with_who_and_why(world: RegistryWorld) -> None:
    version = world.version("plain", approved=False)
    result = world.run("approve", "plain", "1", "--comment", "good numbers")
    assert result.returncode == 0, result.stderr
    assert "version 1 is approved" in result.stdout
    assert world.status(version) == "Approved"
    described = world.client("sagemaker").describe_model_package(ModelPackageName=version.arn)["ApprovalDescription"]
    [event] = world.ledger("plain")
    assert (event.kind, event.version, event.model_package) == ("approved", 1, version.arn)
    assert event.by.startswith("arn:aws:sts:")
    assert event.details["comment"] == "good numbers"
    assert event.by in described
    assert "good numbers" in described
    # No rule here: what starts the promotion is said.
    assert f"--pipeline-parameters Name=ModelPackageArn,Value={version.arn}" in result.stdout
    again = world.run("approve", "plain", "1", "--json")
    assert again.returncode == 0
    assert json.loads(again.stdout)["changed"] is False
    assert len(world.ledger("plain")) == 1


def test_where_a_rule_answers_it_is_named(world: RegistryWorld) -> None:
    world.version("ruled", approved=False)
    events = world.client("events")
    pattern = {"source": ["aws.sagemaker"], "detail": {"ModelPackageGroupName": ["release-ruled"]}}
    events.put_rule(Name="release-approved", EventPattern=json.dumps(pattern))
    events.put_targets(
        Rule="release-approved", Targets=[{"Id": "1", "Arn": "arn:aws:sagemaker:us-east-1:123456789012:pipeline/promotion"}]
    )
    try:
        result = world.run("approve", "ruled", "1")
    finally:
        events.remove_targets(Rule="release-approved", Ids=["1"])
        events.delete_rule(Name="release-approved")
    assert "the rule release-approved starts the pipeline promotion" in result.stdout


def test_what_somebody_decided_about_is_not_evaluated_again(world: RegistryWorld) -> None:
    """Nor what has a verdict, unless it is asked for by name; nothing is started."""
    world.version("again", approved=False)
    assert world.run("reject", "again", "1", "--comment", "it swears").returncode == 0
    world.version("again")
    world.version("again", approved=False, verdict="failed")
    refused = {
        ("1",): "it was rejected at .*, 'it swears'; .* approve again 1 --force --comment WHY",
        ("1", "--force"): "it was rejected at .*, 'it swears'",
        ("2", "--force"): "it is approved, by the evaluation that it has; .* release them as a new version",
        ("3",): "it failed at .*; .*reject again 3 --comment WHY .*; --force measures it again",
        ("9",): "again has no version 9",
    }
    for arguments, says in refused.items():
        result = world.run("evaluate", "again", *arguments)
        assert result.returncode == 2, result.stdout
        assert re.search(says, result.stderr), result.stderr
    names = [one["PipelineName"] for one in world.client("sagemaker").list_pipelines()["PipelineSummaries"]]
    assert "evaluate-again" not in names


def test_two_who_evaluate_a_version_at_the_same_moment_start_one_execution(
    world: RegistryWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = world.version("twice", approved=False, verdict="invalid")
    started: list[tuple[str, dict[str, str], str | None]] = []
    counts = iter((0, 0, 1))

    class Stale(Executions):
        """Sees as many executions as a test says, none of them under way."""

        def count(self, pipeline: str) -> int:
            return next(counts)

        def unfinished(self, pipeline: str) -> list[str]:
            return []

        def start(self, pipeline: str, parameters: dict[str, str], description: str, *, only_once: str | None = None) -> str:
            started.append((pipeline, parameters, only_once))
            return "arn:aws:sagemaker:us-east-1:123456789012:pipeline/evaluate-twice/execution/abc"

    monkeypatch.setattr("pipelines.commands.versions.evaluate.Executions", Stale)
    for _ in range(3):
        assert world.run("evaluate", "twice", "1", "--detach").returncode == 0
    assert [name for _, _, name in started] == ["version-1-1", "version-1-1", "version-1-2"]
    pipeline, parameters, _ = started[0]
    assert (pipeline, parameters["ModelPackageArn"]) == ("evaluate-twice", version.arn)


def test_an_undecided_version_names_the_command_that_measures_it_again(world: RegistryWorld) -> None:
    world.version("undecided", approved=False, verdict="invalid")
    result = world.run("approve", "undecided", "1")
    assert result.returncode == 2
    assert "measure it again: python -m pipelines.run evaluate undecided 1" in result.stderr


def test_what_the_gate_refused_is_approved_only_by_force_with_a_reason(world: RegistryWorld) -> None:
    version = world.version("refused", approved=False, verdict="failed")
    for arguments in ((), ("--force",)):
        result = world.run("approve", "refused", "1", *arguments)
        assert result.returncode == 2
        assert "the gate's verdict is 'failed'" in result.stderr
        assert "--comment WHY" in result.stderr
        assert world.status(version) == "PendingManualApproval"
    assert world.ledger("refused") == []
    result = world.run("approve", "refused", "1", "--force", "--comment", "the load client was at fault")
    assert result.returncode == 0, result.stderr
    assert world.status(version) == "Approved"
    [event] = world.ledger("refused")
    assert "'failed'" in str(event.details["despite"])


def test_what_a_person_rejected_is_approved_only_by_force_with_a_reason(world: RegistryWorld) -> None:
    version = world.version("turned-down", approved=False)
    assert world.run("reject", "turned-down", "1", "--comment", "too slow for chat").returncode == 0
    assert world.status(version) == "Rejected"
    assert "rejected already" in world.run("reject", "turned-down", "1").stdout
    for arguments in ((), ("--force",)):
        result = world.run("approve", "turned-down", "1", *arguments)
        assert result.returncode == 2
        assert "it was rejected at" in result.stderr
        assert "'too slow for chat'" in result.stderr
        assert "--comment WHY" in result.stderr
        assert world.status(version) == "Rejected"
    assert world.run("approve", "turned-down", "1", "--force", "--comment", "fast enough for batches").returncode == 0
    rejected, approved = world.ledger("turned-down")
    assert (rejected.kind, approved.kind) == ("rejected", "approved")
    assert "'too slow for chat'" in str(approved.details["despite"])
    assert world.status(version) == "Approved"


def test_production_returns_to_a_version_that_somebody_is_against_only_by_force_with_a_reason(world: RegistryWorld) -> None:
    """An approval in the console, which no ledger has, overrules nobody."""
    first, second = world.version("left"), world.version("left")
    for version in (first, second):
        assert world.promote(version).returncode == 0
    assert world.run("reject", "left", "1", "--comment", "it leaks").returncode == 0
    world.client("sagemaker").update_model_package(ModelPackageArn=first.arn, ModelApprovalStatus="Approved")
    for arguments in ((), ("--force",)):
        result = world.run("rollback", "left", "--detach", *arguments)
        assert result.returncode == 2
        assert "'it leaks'" in result.stderr
        assert "--comment WHY" in result.stderr
    assert world.run("rollback", "left", "--detach", "--force", "--comment", "better than this").returncode == 0


def test_of_two_persons_who_decide_at_once_both_learn_what_stands(world: RegistryWorld) -> None:
    """Whoever is told that his decision stands is right, or it was changed by a later one that says so."""
    for number in range(1, 4):
        version = world.version("disputed", approved=False)
        approved = world.start("approve", "disputed", str(number), "--comment", "good")
        rejected = world.start("reject", "disputed", str(number), "--comment", "bad")
        approval_said, rejection_said = approved.communicate(timeout=HANG_S)[1], rejected.communicate(timeout=HANG_S)[1]
        events = [event for event in world.ledger("disputed") if event.version == number]
        assert world.status(version) == {"approved": "Approved", "rejected": "Rejected"}[events[-1].kind]
        if approved.returncode:
            assert "it was rejected at" in approval_said
            assert [event.kind for event in events] == ["rejected"]
        if rejected.returncode:
            assert "it was approved at" in rejection_said
            assert [event.kind for event in events] == ["approved"]
        if not approved.returncode and not rejected.returncode:
            assert [event.kind for event in events] == ["approved", "rejected"], "an approval after a rejection takes --force"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["approve", "plain", "7"], "has no version 7 in the Model Registry; it has 1"),
        (["approve", "smollm", "1"], "did you mean 'smollm2-135m'"),
        (["approve", "no-such", "1"], "there is no such model file"),
    ],
)
def test_what_is_not_there_is_said(world: RegistryWorld, arguments: list[str], says: str) -> None:
    result = world.run(*arguments)
    assert result.returncode == 2
    assert says in result.stderr
    assert "Traceback" not in result.stderr
