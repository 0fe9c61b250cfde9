"""A promotion asked for twice: the gate's own approval is an event, and EventBridge may deliver any event again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest

from delivery.endpoint import lease
from delivery.errors import DeliveryError, LeaseHeld
from delivery.history.ledger import Event, EventKind, Ledger
from steps.promote.endpoint.production_endpoint import ProductionEndpoint
from steps.promote.models import Promotion
from steps.verify_approval import step as verify_approval
from steps.verify_approval.models import VerificationArguments
from tests.steps.promote.commands import approved
from tests.support.worlds.evaluation import BUCKET
from tests.support.worlds.promotion import PromotionWorld, Version

HASTY = {"wait_s": 0, "expires_s": 5}
"""Gives up at once; renews its own lease every 1.25 s."""


@contextmanager
def during(method: str, act: Callable[[], Any]) -> Iterator[list[Any]]:
    """`act` once, when a promotion comes to that point; what it returned, or raised."""
    real, results = getattr(ProductionEndpoint, method), list[Any]()

    def called(self: Any, *arguments: Any, **more: Any) -> Any:
        if not results:
            results.append(None)
            try:
                results[0] = act()
            except DeliveryError as error:
                results[0] = error
        return real(self, *arguments, **more)

    with mock.patch.object(ProductionEndpoint, method, called):
        yield results


def verified(world: PromotionWorld, version: Version) -> None:
    """What the promotion pipeline does first."""
    with world.account.acting_as(version.release.environment.roles.promote):
        found = verify_approval.run(VerificationArguments(version.arn, BUCKET, "promotion", world.folder / "verified"))
    assert found.approved, found.reason


def by_an_event(world: PromotionWorld, version: Version, execution: str = "of-the-event") -> Promotion:
    """What the promotion pipeline does."""
    verified(world, version)
    return world.serve(version, execution=execution)


@pytest.mark.parametrize("moment", ["create", "smoke_test", "settle", "tidy_up"])
def test_the_event_of_the_gates_own_approval_is_success_that_names_the_release(world: PromotionWorld, moment: str) -> None:
    """Whenever it comes: before the change was begun, while it is made, and when it is done and the lease not given back."""
    version = world.version(world.name(), status="PendingManualApproval", lease=HASTY)
    with during(moment, lambda: by_an_event(world, version)) as results:
        assert world.serve(version, execution="of-the-release", approval="automatic").action == "created"
    [event] = results
    assert (event.action, event.execution) == ("under_way", "of-the-release")
    assert [one.kind for one in world.events(version)] == ["approved", "changing", "promoted"]


def test_a_promotion_that_died_is_not_under_way(world: PromotionWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed right after it changed the endpoint: its lease says what it was held for, and nobody renews it."""
    name = world.name()
    first, version = world.version(name), world.version(name, lease=HASTY)
    world.serve(first)

    def killed(_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(lease.Lease, "release", lambda lease: lease._done.set())
        dying.setattr(ProductionEndpoint, "smoke_test", lambda *_: killed(None))
        dying.setattr(ProductionEndpoint, "restore", lambda *_: killed(None))
        with pytest.raises(KeyboardInterrupt):
            world.serve(version, execution="of-the-dead")
    again = world.serve(version, execution="of-the-living")
    assert (again.action, again.execution) == ("updated", "of-the-living")
    assert [one.kind for one in world.events(version)][-2:] == ["changing", "promoted"]


def test_an_event_that_comes_when_it_is_done_says_who_did_it(world: PromotionWorld, caplog: pytest.LogCaptureFixture) -> None:
    version = world.version(world.name())
    world.serve(version, execution="the-first")
    caplog.set_level("INFO")
    again = by_an_event(world, version)
    assert (again.action, again.execution) == ("unchanged", "the-first")
    assert "by the-first: nothing is changed" in caplog.text


def test_who_approves_in_the_console_before_the_gate_does_is_in_the_ledger(world: PromotionWorld) -> None:
    version = world.version(world.name())
    assert world.serve(version, execution="of-the-release", approval="automatic").action == "created"
    assert [one.kind for one in world.events(version)] == ["approved", "changing", "promoted"]


def test_an_event_that_comes_when_a_newer_version_serves_says_so(world: PromotionWorld) -> None:
    name = world.name()
    first, second = world.version(name), world.version(name)
    by_an_event(world, first)
    world.serve(second)
    before = world.events(first)
    late = world.serve(first, execution="late")
    assert (late.action, late.previous_version, late.execution) == ("superseded", 2, "of-the-event")
    assert world.events(first) == before
    assert "-v2-" in world.config(name)["EndpointConfigName"]


def test_who_approved_anew_while_the_first_try_was_under_way_is_not_told_that_it_covers_that(world: PromotionWorld) -> None:
    version = world.version(world.name(), lease=HASTY)

    def decide_anew() -> Promotion:
        world.client("sagemaker").update_model_package(
            ModelPackageArn=version.arn, ModelApprovalStatus="Approved", ApprovalDescription="with other words"
        )
        world.ledger(version).append("approved", by="ana", version=version.number, model_package=version.arn)
        return world.serve(version, execution="the-second")

    with during("smoke_test", decide_anew) as results:
        world.serve(version, execution="the-first")
    assert isinstance(results[0], LeaseHeld)


def test_another_version_does_not_take_the_first_ones_promotion_for_its_own(world: PromotionWorld) -> None:
    name = world.name()
    first, second = world.version(name, lease=HASTY), world.version(name, lease=HASTY)
    with during("smoke_test", lambda: world.serve(second)) as results:
        world.serve(first)
    assert isinstance(results[0], LeaseHeld)


def test_an_event_after_the_promotion_failed_is_refused_with_its_reason(world: PromotionWorld) -> None:
    version = world.version(world.name(), settings={"crash_at_start": True})
    with pytest.raises(DeliveryError, match="ping health check"):
        by_an_event(world, version)
    with pytest.raises(DeliveryError, match="approve it again to try again"):
        by_an_event(world, version, "of-the-same-event-again")
    assert "is approved again" in approved(world, version, "once more")


def test_two_events_of_one_approval_in_the_console_note_it_once(world: PromotionWorld) -> None:
    version = world.version(world.name())
    read, twice = Ledger.append, list[Any]()

    def other_is_faster(self: Ledger, kind: EventKind, **event: Any) -> Event:
        if not twice:
            twice.append(kind)
            verified(world, version)
        return read(self, kind, **event)

    with mock.patch.object(Ledger, "append", other_is_faster):
        verified(world, version)
    assert twice == ["approved"]
    assert [one.kind for one in world.events(version)] == ["approved"]
