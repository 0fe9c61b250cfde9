"""What a person may decide after a refusal: waive the gate, approve again; and that no event does it in their place."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest

from delivery.endpoint.lease import Lease
from delivery.errors import DeliveryError
from delivery.history.ledger import EventKind
from delivery.names import Fact
from steps.verify_approval import step as verify_approval
from steps.verify_approval.models import VerificationArguments
from tests.steps.promote.commands import approved
from tests.support.worlds.evaluation import BUCKET
from tests.support.worlds.promotion import PromotionWorld, Version

TRIED = "order: the promotion of version 1 was tried at"


def verify(world: PromotionWorld, version: Version) -> None:
    """What the promotion pipeline does before it promotes."""
    with world.account.acting_as(version.release.environment.roles.promote):
        verify_approval.run(VerificationArguments(version.arn, BUCKET, "promotion", world.folder / "verified"))


def decide_in_the_console(world: PromotionWorld, version: Version, status: str, words: str) -> None:
    world.client("sagemaker").update_model_package(
        ModelPackageArn=version.arn, ModelApprovalStatus=status, ApprovalDescription=words
    )
    if status == "Approved":
        verify(world, version)


def test_what_the_gate_refused_is_promoted_when_a_person_said_so(world: PromotionWorld) -> None:
    version = world.version("forced", status="PendingManualApproval", verdict="failed")
    assert "approval: " in world.refused(version)
    assert "although the gate's verdict is 'failed'" in approved(world, version, "the load client was at fault", force=True)
    assert world.serve(version).action == "created"
    last = world.client("sagemaker").describe_model_package(ModelPackageName=version.arn)["CustomerMetadataProperties"]
    assert last[Fact.GATE_WAIVED_BY] == "arn:aws:sts::123456789012:assumed-role/engineer/ana"


def test_the_policy_approves_nothing_that_did_not_pass(world: PromotionWorld) -> None:
    """Another evaluation of the version may have ended since the gate looked at this execution's."""
    version = world.version("measured-twice", status="PendingManualApproval", verdict="invalid")
    with pytest.raises(DeliveryError, match="approval: the version is PendingManualApproval now"):
        world.serve(version, approval="automatic")
    assert "approved" not in {event.kind for event in world.events(version)}


def test_a_promotion_that_failed_is_not_repeated_by_an_event_until_somebody_approves_again(world: PromotionWorld) -> None:
    """Approval by the gate is an event, too: it starts a promotion of the same version while the release's own is under way."""
    version = world.version("doomed", settings={"crash_at_start": True})
    verify(world, version)
    assert "crash" in world.refused(version)
    by_the_event = world.refused(version)
    assert TRIED in by_the_event
    assert "approve it again" in by_the_event
    world.client("sagemaker").update_model_package(ModelPackageArn=version.arn, CustomerMetadataProperties={"ticket": "4711"})
    verify(world, version)  # an event, too, and no decision
    assert TRIED in world.refused(version)
    decide_in_the_console(world, version, "Rejected", "let us see")
    decide_in_the_console(world, version, "Approved", "the quota was raised")
    assert TRIED not in world.refused(version)
    assert "is approved again, after its promotion failed" in approved(world, version, "the instance was broken")
    assert TRIED not in world.refused(version)
    events = [event for event in world.events(version) if event.kind != "changing"]
    kinds = ["approved", "refused", "refused", "refused", "approved", "refused", "approved", "refused"]
    assert [event.kind for event in events] == kinds
    assert events[4].details["comment"] == "the quota was raised"
    assert world.endpoint("doomed") is None


@pytest.mark.parametrize("decision", ["Rejected", "PendingManualApproval"])
def test_a_decision_against_a_version_keeps_it_out_and_production_as_it_was(world: PromotionWorld, decision: str) -> None:
    world.serve(world.version("guarded"))
    second = world.version("guarded")
    before = world.endpoint("guarded")
    decide_in_the_console(world, second, decision, "not now")
    assert f"approval: the version is {decision} now, not Approved" in world.refused(second)
    assert world.endpoint("guarded") == before


def test_an_approval_against_a_persons_word_is_taken_back_in_the_registry(world: PromotionWorld) -> None:
    """Be it in the console, or of a command that was overtaken by the rejection, and killed when the registry had its approval."""
    version = world.version("quarrelled")
    world.ledger(version).append("rejected", by="arn:aws:iam::1:user/ben", version=1, details={"comment": "it insults people"})
    decide_in_the_console(world, version, "Approved", "looks good")
    package = world.client("sagemaker").describe_model_package(ModelPackageName=version.arn)
    assert package["ModelApprovalStatus"] == "Rejected"
    assert "by arn:aws:iam::1:user/ben, 'it insults people'" in package["ApprovalDescription"]
    assert "although it was rejected" in approved(world, version, "it was another model", force=True)
    verify(world, version)
    assert world.serve(version).action == "created"


def test_a_registry_that_may_not_be_changed_refuses_the_version_all_the_same(world: PromotionWorld) -> None:
    version = world.version("foreign-registry")
    world.ledger(version).append("rejected", by="arn:aws:iam::1:user/ben", version=1, details={"comment": "it insults people"})
    with mock.patch("delivery.registry.model_packages.reject", side_effect=DeliveryError("denied")):
        decide_in_the_console(world, version, "Approved", "looks good")
    assert "it insults people" in world.refused(version)


@pytest.mark.parametrize(
    ("kind", "by", "details", "says"),
    [
        (
            "evaluated",
            "e9",
            {"verdict": "failed", "report": "s3://b/evaluation.json"},
            "the verdict in s3://b/evaluation.json is 'failed'",
        ),
        ("evaluated", "e9", {"verdict": "invalid", "report": "s3://b/evaluation.json"}, "is 'invalid', not passed"),
        ("rejected", "arn:aws:iam::1:user/ben", {"comment": "it insults people"}, "it insults people"),
        ("evaluated", "e9", {"verdict": "passed", "report": "s3://b/evaluation.json"}, ""),
    ],
)
def test_what_comes_between_the_last_look_and_the_first_touch_counts(
    world: PromotionWorld, kind: EventKind, by: str, details: dict[str, Any], says: str
) -> None:
    version, confirm = world.version("overtaken"), Lease.confirm

    def confirm_late(lease: Lease) -> None:
        if not [event for event in world.events(version) if event.by == by]:
            world.ledger(version).append(kind, by=by, version=1, details=details)
        confirm(lease)

    with mock.patch.object(Lease, "confirm", confirm_late):
        if not says:
            assert world.serve(version).action == "created"
            return
        refused = world.refused(version)
    assert says in refused
    assert "production is untouched" in refused
    assert world.endpoint("overtaken") is None


def test_a_verdict_that_was_overruled_by_name_is_overruled_between_look_and_touch_too(world: PromotionWorld) -> None:
    version = world.version("insisted", status="PendingManualApproval", verdict="failed")
    world.ledger(version).append(
        "evaluated", by="e9", version=1, details={"verdict": "failed", "report": "s3://b/evaluation.json"}
    )
    approved(world, version, "the load client was at fault", force=True)
    assert world.serve(version).action == "created"
