"""Decisions: in the ledger once, whoever made them, and anew only when somebody decided anew."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import pytest

from delivery.errors import DecisionOvertaken
from delivery.history import decisions, registry_decisions
from delivery.history.ledger import Event, EventKind, Ledger
from delivery.registry.model_packages import ModelPackage
from tests.delivery.fake_s3 import FakeS3

ARN = "arn:aws:sagemaker:us-west-2:111122223333:model-package/release-chat/3"


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(FakeS3().client, "release", "chat")


def package(status: str = "Approved", **changes: Any) -> ModelPackage:
    return ModelPackage(ARN, "release-chat", 3, status, {}, **changes)


def failed(ledger: Ledger, approval: str | None, *, tried: Any = True) -> Event:
    return ledger.append("refused", by="e1", version=3, details={"reason": "an alarm", "tried": tried, "approval": approval})


def told(ledger: Ledger) -> list[tuple[EventKind, str, Any]]:
    return [(event.kind, event.by, event.details.get("comment")) for event in ledger.events()]


def test_a_decision_is_noted_once(ledger: Ledger) -> None:
    first = decisions.note(ledger, "approved", package(), by="ana", comment="good", ticket="T-1")
    assert first.details == {"comment": "good", "ticket": "T-1"}
    assert (first.version, first.model_package) == (3, ARN)
    assert decisions.note(ledger, "approved", package(), by="ben", comment="good, too") == first
    assert told(ledger) == [("approved", "ana", "good")]


def test_the_other_decision_and_the_same_one_after_it_are_new(ledger: Ledger) -> None:
    for decision in ("approved", "rejected", "approved"):
        decisions.note(ledger, decision, package(), by="ana", comment=decision)
    assert [kind for kind, _, _ in told(ledger)] == ["approved", "rejected", "approved"]


def test_the_last_decision_is_about_that_version(ledger: Ledger) -> None:
    assert decisions.last_decision(ledger.events(), 3) is None
    ledger.append("approved", by="ana", version=3)
    rejected = ledger.append("rejected", by="ana", version=3)
    ledger.append("approved", by="ana", version=4)
    ledger.append("promoted", by="e1", version=3)
    assert decisions.last_decision(ledger.events(), 3) == rejected


@pytest.mark.parametrize(("status", "kind"), [("Approved", "approved"), ("Rejected", "rejected")])
def test_a_decision_of_the_console_is_noted_once_with_who_made_it(ledger: Ledger, status: str, kind: EventKind) -> None:
    made = package(status, approval_description="seen it", changed_by="arn:aws:iam::111122223333:user/ana")
    event = registry_decisions.note_if_made_elsewhere(ledger, made)
    assert event is not None
    assert (event.kind, event.by, event.details) == (kind, "arn:aws:iam::111122223333:user/ana", {"comment": "seen it"})
    assert registry_decisions.note_if_made_elsewhere(ledger, made) is None


def test_who_is_not_known_is_said(ledger: Ledger) -> None:
    event = registry_decisions.note_if_made_elsewhere(ledger, package())
    assert event is not None and event.by == "unknown: CloudTrail has it as UpdateModelPackage"


def test_a_version_that_waits_was_not_decided_about(ledger: Ledger) -> None:
    assert registry_decisions.note_if_made_elsewhere(ledger, package("PendingManualApproval")) is None
    assert ledger.events() == []


def test_an_approval_in_other_words_after_a_try_that_failed_is_a_new_one(ledger: Ledger) -> None:
    ledger.append("approved", by="ana", version=3)
    failed(ledger, "good")
    assert registry_decisions.note_if_made_elsewhere(ledger, package(approval_description="good")) is None, "the same approval"
    event = registry_decisions.note_if_made_elsewhere(ledger, package(approval_description="try again"))
    assert event is not None
    assert event.details == {"comment": "try again", "after": "event 2"}
    assert decisions.failed_try(ledger.events(), 3) is None, "approved anew since"
    assert registry_decisions.note_if_made_elsewhere(ledger, package(approval_description="try again")) is None


def test_a_rollback_that_failed_went_by_no_approval(ledger: Ledger) -> None:
    ledger.append("approved", by="ana", version=3)
    failed(ledger, None)
    assert registry_decisions.note_if_made_elsewhere(ledger, package(approval_description="good")) is None


@pytest.mark.parametrize("kind", ["approved", "promoted", "rolled_back"])
def test_what_ends_a_failed_try(ledger: Ledger, kind: EventKind) -> None:
    tried = failed(ledger, "good")
    assert decisions.failed_try(ledger.events(), 3) == tried
    ledger.append(kind, by="ana", version=4)
    assert decisions.failed_try(ledger.events(), 3) == tried, "of another version"
    ledger.append(kind, by="ana", version=3)
    assert decisions.failed_try(ledger.events(), 3) is None


@pytest.mark.parametrize("tried", [False, None, "yes"])
def test_a_refusal_that_touched_nothing_is_no_try(ledger: Ledger, tried: Any) -> None:
    failed(ledger, "good", tried=tried)
    assert decisions.failed_try(ledger.events(), 3) is None


def test_times_are_utc(ledger: Ledger) -> None:
    event = decisions.note(ledger, "approved", package(), by="ana", comment="good")
    assert abs(datetime.fromisoformat(event.at) - datetime.now(UTC)) < timedelta(minutes=5)


def test_a_persons_rejection_stands_until_it_is_overruled_by_name(ledger: Ledger) -> None:
    ledger.append("rejected", by="ana", version=3, details={"comment": "bad"})
    ledger.append("approved", by="ben", version=3, details={"comment": "I did not see"})
    standing = decisions.standing_rejection(ledger.events(), 3)
    assert standing is not None
    assert standing.sequence == 1
    assert decisions.objection(ledger.events(), 3) == f"it was rejected at {standing.at} by ana, 'bad'"
    [refusal] = decisions.refusals(ledger.events(), 3, "chat")
    assert refusal.startswith("approval: it was rejected at ")
    assert refusal.endswith("python -m pipelines.run approve chat 3 --force --comment WHY")
    ledger.append("approved", by="ben", version=3, details={"despite": "it was rejected"})
    assert decisions.standing_rejection(ledger.events(), 3) is None
    assert decisions.refusals(ledger.events(), 3, "chat") == []


def test_a_rejection_of_the_gate_is_no_persons(ledger: Ledger) -> None:
    ledger.append("rejected", by=f"{decisions.GATE}e1", version=3)
    assert decisions.standing_rejection(ledger.events(), 3) is None


def test_a_rollback_is_against_what_it_left_even_if_it_ended_before_it_rejected_that(ledger: Ledger) -> None:
    ledger.append("approved", by="ana", version=3)
    ledger.append("promoted", by="e1", version=3, details={"previous_version": 2})
    ledger.append("rolled_back", by="ana", version=2, details={"previous_version": 3, "comment": "prod is bad"})
    assert "production was rolled back from it" in decisions.objection(ledger.events(), 3)
    assert registry_decisions.note_if_made_elsewhere(ledger, package(approval_description="in the console")) is None
    assert decisions.objection(ledger.events(), 2) == ""
    ledger.append("rolled_back", by="ben", version=3, details={"previous_version": 2})
    assert decisions.objection(ledger.events(), 3) == "", "a person returned to it"
    assert decisions.objection(ledger.events(), 2) != ""


@pytest.mark.parametrize(
    ("verdicts", "approval", "said"),
    [
        ([], None, []),
        (["passed"], None, []),
        (["failed", "passed"], None, []),
        (["failed"], {"comment": "looks well"}, ["evaluation: the verdict in s3://b/0 is 'failed', not passed"]),
        (["passed", "invalid"], None, ["evaluation: the verdict in s3://b/1 is 'invalid', not passed"]),
        (["failed"], {"despite": "the gate"}, []),
    ],
)
def test_the_newest_evaluation_counts_unless_it_was_overruled_by_name(
    ledger: Ledger, verdicts: list[str], approval: dict[str, Any] | None, said: list[str]
) -> None:
    for number, verdict in enumerate(verdicts):
        ledger.append("evaluated", by="e1", version=3, details={"verdict": verdict, "report": f"s3://b/{number}"})
    ledger.append("evaluated", by="e1", version=4, details={"verdict": "failed", "report": "s3://b/another version"})
    ledger.append("approved", by="ana", version=4, details={"despite": "of another version"})
    if approval is not None:
        ledger.append("approved", by="ana", version=3, details=approval)
    assert decisions.failed_evaluation(ledger.events(), 3) == said


@pytest.mark.parametrize(("later", "stands"), [(0, False), (1, True)])
def test_a_rollback_overrules_a_rejection_that_it_began_after(ledger: Ledger, later: int, stands: bool) -> None:
    """Whoever rejects a version while production is being rolled back to it is heard."""
    rejected = ledger.append("rejected", by="ana", version=3, details={"comment": "bad"})
    ledger.append("rolled_back", by="e1", version=3, details={"begun": rejected.sequence - later})
    assert (decisions.standing_rejection(ledger.events(), 3) is not None) == stands


def test_of_two_who_decide_at_once_the_second_is_told_who_won(ledger: Ledger) -> None:
    seen = ledger.events()
    won = decisions.decide(ledger, "rejected", package(), by="ana", comment="bad", seen=seen)
    with pytest.raises(DecisionOvertaken, match=r"it was rejected at .* by ana, 'bad', and that stands"):
        decisions.decide(ledger, "approved", package(), by="ben", comment="good", seen=seen)
    assert ledger.events() == [won]


@pytest.mark.parametrize("racers", [2, 8])
def test_of_many_who_decide_in_the_same_moment_one_wins(ledger: Ledger, racers: int) -> None:
    seen, start = ledger.events(), Barrier(racers)

    def decide(number: int) -> str:
        decision: decisions.Decision = "approved" if number % 2 else "rejected"
        start.wait()
        try:
            return decisions.decide(ledger, decision, package(), by=f"p{number}", comment="", seen=seen).by
        except DecisionOvertaken as error:
            return str(error)

    with ThreadPoolExecutor(racers) as pool:
        said = list(pool.map(decide, range(racers)))
    [event] = ledger.events()
    assert said.count(event.by) == 1
    assert all(f"by {event.by}" in one for one in said if one != event.by)


def test_a_decision_about_another_version_is_in_nobodys_way(ledger: Ledger) -> None:
    seen = ledger.events()
    ledger.append("rejected", by="ana", version=2)
    ledger.append("evaluated", by="e1", version=3)
    assert decisions.decide(ledger, "approved", package(), by="ben", comment="", seen=seen).sequence == 3


def test_a_rollback_from_the_version_is_a_decision_about_it(ledger: Ledger) -> None:
    seen = ledger.events()
    ledger.append("rolled_back", by="e2", version=2, details={"previous_version": 3, "comment": "answers in Latin"})
    with pytest.raises(
        DecisionOvertaken, match=r"production was rolled back from it at .* by e2, 'answers in Latin', and that stands"
    ):
        decisions.decide(ledger, "approved", package(), by="ben", comment="", seen=seen)


@pytest.mark.parametrize("kind", ["rolled_back", "promoted"])
def test_no_other_rollback_and_no_promotion_is(ledger: Ledger, kind: EventKind) -> None:
    seen = ledger.events()
    ledger.append(kind, by="e2", version=2, details={"previous_version": 3 if kind == "promoted" else 4})
    assert decisions.decide(ledger, "approved", package(), by="ben", comment="", seen=seen).sequence == 2


class Registry:
    """A registry that keeps a status."""

    status = ""
    description = ""

    def update_model_package(self, **changes: str) -> None:
        self.status, self.description = changes["ModelApprovalStatus"], changes["ApprovalDescription"]


def test_the_registry_ends_with_the_ledgers_last_word(ledger: Ledger) -> None:
    """Ana's answer from the registry comes late: Ben has rejected the version since, in ledger and registry."""
    registry = Registry()
    approved = decisions.decide(ledger, "approved", package(), by="ana", comment="good", seen=ledger.events())
    decisions.decide(ledger, "rejected", package(), by="ben", comment="bad", seen=ledger.events())
    registry.status = "Approved"
    with pytest.raises(DecisionOvertaken, match="by ben"):
        registry_decisions.settle(ledger, registry, package(), approved)  # type: ignore[arg-type]
    assert (registry.status, registry.description) == ("Rejected", "rejected by ben: bad")


def test_settling_an_undisputed_decision_changes_nothing(ledger: Ledger) -> None:
    registry = Registry()
    approved = decisions.decide(ledger, "approved", package(), by="ana", comment="good", seen=[])
    registry_decisions.settle(ledger, registry, package(), approved)  # type: ignore[arg-type]
    assert registry.status == ""


def reject_for_gate(ledger: Ledger, registry: Registry, made: ModelPackage) -> str:
    """What is in the way of the gate's rejection, and empty where nothing is."""
    stands = registry_decisions.reject_for_gate(ledger, registry, made, execution="e1", reason="too slow")  # type: ignore[arg-type]
    return str(stands or "")


def test_the_gate_rejects_once_however_often_its_step_runs(ledger: Ledger) -> None:
    registry = Registry()
    for _ in range(2):
        assert reject_for_gate(ledger, registry, package("PendingManualApproval")) == ""
        assert registry.status == "Rejected"
    assert told(ledger) == [("rejected", "the gate of e1", "too slow")]


def test_the_gate_rejects_what_the_policy_approved(ledger: Ledger) -> None:
    ledger.append("approved", by="0123456789ab", version=3)
    assert reject_for_gate(ledger, Registry(), package()) == ""


def test_a_persons_approval_stands_against_the_gate(ledger: Ledger) -> None:
    registry = Registry()
    decisions.decide(ledger, "approved", package(), by="arn:aws:iam::1:user/ana", comment="it will do", seen=[], despite="slow")
    assert "it was approved at" in reject_for_gate(ledger, registry, package())
    assert registry.status == "", "the registry is left alone"
    assert [kind for kind, _, _ in told(ledger)] == ["approved"]


def test_so_does_one_that_was_given_in_the_console(ledger: Ledger) -> None:
    registry = Registry()
    made = package(approval_description="it will do", changed_by="arn:aws:iam::1:user/ana")
    assert "by arn:aws:iam::1:user/ana, 'it will do'" in reject_for_gate(ledger, registry, made)
    assert registry.status == ""


def test_one_that_comes_while_the_gate_rejects_is_given_back_to_the_registry(ledger: Ledger) -> None:
    class Overtaken(Registry):
        def update_model_package(self, **changes: str) -> None:
            super().update_model_package(**changes)
            if changes["ModelApprovalStatus"] == "Rejected":
                ledger.append("approved", by="arn:aws:iam::1:user/ana", version=3, details={"comment": "it will do"})

    registry = Overtaken()
    assert "it will do" in reject_for_gate(ledger, registry, package("PendingManualApproval"))
    assert registry.status == "Approved"


def test_an_approval_by_name_that_comes_while_a_rejection_is_restored_stands(ledger: Ledger) -> None:
    class Overruled(Registry):
        def update_model_package(self, **changes: str) -> None:
            super().update_model_package(**changes)
            if changes["ModelApprovalStatus"] == "Rejected":
                details = {"comment": "it will do", "despite": "ben"}
                ledger.append("approved", by="arn:aws:iam::1:user/ana", version=3, details=details)

    ledger.append("rejected", by="arn:aws:iam::1:user/ben", version=3, details={"comment": "bad"})
    registry = Overruled()
    registry_decisions.restore_rejection(ledger, registry, package())  # type: ignore[arg-type]
    assert (registry.status, registry.description) == ("Approved", "approved by arn:aws:iam::1:user/ana: it will do")


@pytest.mark.parametrize("status", ["Rejected", "PendingManualApproval"])
def test_a_rejection_is_restored_only_where_the_registry_says_approved(ledger: Ledger, status: str) -> None:
    ledger.append("rejected", by="arn:aws:iam::1:user/ben", version=3, details={"comment": "bad"})
    registry = Registry()
    registry_decisions.restore_rejection(ledger, registry, package(status))  # type: ignore[arg-type]
    assert registry.status == ""


def evaluated(ledger: Ledger, by: str, verdict: str) -> None:
    ledger.append("evaluated", by=by, version=3, details={"verdict": verdict})


@pytest.mark.parametrize(
    ("evaluations", "stands"),
    [
        ([("e1", "failed")], False),
        ([("e0", "passed"), ("e1", "failed")], False),
        ([("e1", "failed"), ("e2", "passed")], True),
        ([("e1", "failed"), ("e2", "invalid")], True),
        ([("e1", "failed"), ("e2", "passed"), ("e3", "failed")], False),
        ([("e1", "failed"), ("e2", "passed"), ("e1", "failed")], False),
        ([("e0", "passed")], False),
    ],
)
def test_a_gate_whose_step_runs_again_late_rejects_nothing_that_was_evaluated_since(
    ledger: Ledger, evaluations: list[tuple[str, str]], stands: bool
) -> None:
    for by, verdict in evaluations:
        evaluated(ledger, by, verdict)
    registry = Registry()
    said = reject_for_gate(ledger, registry, package("PendingManualApproval"))
    assert ("was evaluated again by e2" in said, registry.status) == ((True, "") if stands else (False, "Rejected"))


BEN = "arn:aws:iam::1:user/ben"


@pytest.mark.parametrize(
    ("by", "comment", "in_registry", "is_new"),
    [
        (f"{decisions.GATE}e1", "too slow", "too slow", False),
        (BEN, "bad", f"rejected by {BEN}: bad", False),
        (BEN, "", f"rejected by {BEN}", False),
        (BEN, "production was rolled back from it", f"production was rolled back from it (by {BEN})", False),
        (BEN, "bad", "bad", True),
        (f"{decisions.GATE}e1", "too slow", "too slow for me", True),
    ],
)
def test_a_registry_that_is_behind_the_ledger_holds_no_new_decision(
    ledger: Ledger, by: str, comment: str, in_registry: str, is_new: bool
) -> None:
    """Ana approved by name, and her command ended before the registry had it. Words that no command writes are the console's."""
    ledger.append("rejected", by=by, version=3, details={"comment": comment})
    ledger.append("approved", by="arn:aws:iam::1:user/ana", version=3, details={"comment": "it will do", "despite": "slow"})
    noted = registry_decisions.note_if_made_elsewhere(
        ledger, package("Rejected", approval_description=in_registry, changed_by=BEN)
    )
    assert (noted is not None) == is_new


def test_a_gates_rejection_that_reached_the_registry_last_is_taken_back(ledger: Ledger) -> None:
    """The gate rejects, ana approves by name, and the gate's step dies when the registry has its rejection: it runs again."""
    ledger.append("rejected", by=f"{decisions.GATE}e1", version=3, details={"comment": "too slow"})
    ledger.append("approved", by="arn:aws:iam::1:user/ana", version=3, details={"comment": "it will do", "despite": "slow"})
    registry = Registry()
    assert "it will do" in reject_for_gate(ledger, registry, package("Rejected", approval_description="too slow"))
    assert (registry.status, registry.description) == ("Approved", "approved by arn:aws:iam::1:user/ana: it will do")
    assert [kind for kind, _, _ in told(ledger)] == ["rejected", "approved"]
