"""Versions that were evaluated, and must not be promoted all the same: each is refused by the check that is named, production is untouched."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from steps.verify_approval import step as verify_approval
from steps.verify_approval.models import VerificationArguments
from tests.local.prepared import BUCKET, Prepared, Version, prepared

MODEL = "guarded"
_seeds = itertools.count(10)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    with prepared(tmp_path_factory.mktemp("refused")) as made:
        assert made.promote(made.version(MODEL)).returncode == 0
        yield made


def fact(world: Prepared, version: Version, name: str) -> str:
    described = world.client("sagemaker").describe_model_package(ModelPackageName=version.arn)
    value: str = described["CustomerMetadataProperties"][name]
    return value


def exchange_weights(world: Prepared, version: Version) -> None:
    location = fact(world, version, "weights:prefix") + "model.safetensors"
    body = bytearray(world.read(location))
    body[-1] ^= 1
    world.write(location, bytes(body), ChecksumAlgorithm="CRC64NVME")


def edit_the_report(world: Prepared, version: Version) -> None:
    world.write(version.report, world.read(version.report).replace(b"as prepared", b"even better"))


def withdraw_the_approval(world: Prepared, version: Version) -> None:
    world.client("sagemaker").update_model_package(ModelPackageArn=version.arn, ModelApprovalStatus="Rejected")


def move_the_tag(world: Prepared, version: Version) -> None:
    world.push_image("another one")


def verify(world: Prepared, version: Version) -> None:
    """What the promotion pipeline does before it promotes."""

    def verify() -> None:
        verify_approval.run(VerificationArguments(version.arn, BUCKET, "promotion", world.folder / "verified"))

    world.inside(verify)


def decide_in_the_console(world: Prepared, version: Version, status: str, words: str) -> None:
    world.client("sagemaker").update_model_package(
        ModelPackageArn=version.arn, ModelApprovalStatus=status, ApprovalDescription=words
    )
    if status == "Approved":
        verify(world, version)


def note_facts(world: Prepared, version: Version) -> None:
    world.client("sagemaker").update_model_package(ModelPackageArn=version.arn, CustomerMetadataProperties={"ticket": "4711"})
    verify(world, version)


def nothing(world: Prepared, version: Version) -> None:
    """The version itself is what is wrong."""


@pytest.mark.parametrize(
    ("attack", "made", "check", "says"),
    [
        (exchange_weights, {}, "weights", "model.safetensors is not what was evaluated"),
        (edit_the_report, {}, "evaluation", "was changed after it was stored"),
        (withdraw_the_approval, {}, "approval", "is Rejected now, not Approved"),
        (nothing, {"evaluated_at": datetime.now(UTC) - timedelta(days=31)}, "evaluation", "31.0 days old"),
        (move_the_tag, {}, "image", "the tag was moved"),
    ],
)
def test_it_is_refused_by_name_and_production_is_untouched(
    world: Prepared, attack: Callable[[Prepared, Version], None], made: dict[str, Any], check: str, says: str
) -> None:
    sagemaker = world.client("sagemaker")
    # Settings of its own: weights under a prefix of its own, so that one attack does not spoil another's.
    version = world.version(MODEL, settings={"seed": next(_seeds)}, **made)
    attack(world, version)
    before = sagemaker.describe_endpoint(EndpointName=MODEL)
    result = world.promote(version)
    assert result.returncode == 1
    assert f"{check}: " in result.stderr
    assert says in result.stderr
    after = sagemaker.describe_endpoint(EndpointName=MODEL)
    assert (after["EndpointConfigName"], after["LastModifiedTime"]) == (before["EndpointConfigName"], before["LastModifiedTime"])
    last = world.ledger(MODEL)[-1]
    assert (last.kind, last.version) == ("refused", version.number)
    assert says in str(last.details)


def test_what_the_gate_refused_is_promoted_when_a_person_said_so(world: Prepared) -> None:
    version = world.version("forced", approved=False, verdict="failed")
    assert world.run("approve", "forced", "1", "--force", "--comment", "the load client was at fault").returncode == 0
    result = world.promote(version)
    assert result.returncode == 0, result.stderr
    assert set(world.endpoints()) == {MODEL, "forced"}


def test_a_promotion_that_failed_is_not_repeated_by_an_event_until_somebody_approves_again(world: Prepared) -> None:
    """Approval by the gate is an event, too: it starts a promotion of the same version while the release's own is under way."""
    version = world.version("doomed", settings={"crash_at_start": True})
    verify(world, version)
    failed = world.promote(version)
    assert failed.returncode == 1
    assert "crash" in failed.stderr
    by_the_event = world.promote(version)
    assert by_the_event.returncode == 1
    assert "order: the promotion of version 1 was tried at" in by_the_event.stderr
    assert "approve it again" in by_the_event.stderr
    note_facts(world, version)  # an event, too, and no decision
    assert "was tried at" in world.promote(version).stderr
    decide_in_the_console(world, version, "Rejected", "let us see")
    decide_in_the_console(world, version, "Approved", "the quota was raised")
    assert "was tried at" not in world.promote(version).stderr
    again = world.run("approve", "doomed", "1", "--comment", "the instance was broken")
    assert "is approved again, after its promotion failed" in again.stdout
    assert "was tried at" not in world.promote(version).stderr
    kinds = [event.kind for event in world.ledger("doomed")]
    assert kinds == ["approved", "refused", "refused", "refused", "approved", "refused", "approved", "refused"]
    assert world.ledger("doomed")[4].details["comment"] == "the quota was raised"
    assert "doomed" not in world.endpoints()
