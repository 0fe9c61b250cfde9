"""A change of production that was ended half-way, and another run that comes between it and its rerun."""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

import pytest

from delivery.endpoint.hosting import Hosting
from delivery.errors import DeliveryError
from delivery.history import changes, decisions, serving_history
from delivery.registry import model_packages
from steps.promote.endpoint.production_endpoint import ProductionEndpoint
from steps.promote.models import Intent
from tests.steps.promote.commands import approved, rollback_started, status
from tests.support.worlds.promotion import PromotionWorld, Version


class Killed(BaseException):
    """The process ends here."""


def killed(world: PromotionWorld, version: Version, owner: type, at: str, intent: Intent = "promotion") -> None:
    """Run it with a process that ends at a method."""
    with mock.patch.object(owner, at, side_effect=Killed), pytest.raises(Killed):
        world.serve(version, intent=intent)


def serves(world: PromotionWorld, version: Version) -> int | None:
    """The version that the endpoint serves, by the name of its config."""
    if world.endpoint(version.endpoint) is None:
        return None
    return int(world.config(version.endpoint)["EndpointConfigName"].split("-v")[1].split("-")[0])


@pytest.fixture
def two_left_open(world: PromotionWorld) -> list[Version]:
    """The first version serves and nobody smoke-tested it; the second one's update was never made. The ledger has both as begun."""
    name = world.name()
    first, second = world.version(name), world.version(name)
    killed(world, first, ProductionEndpoint, "smoke_test")
    killed(world, second, Hosting, "switch")
    assert serves(world, first) == 1
    return [first, second]


def test_of_two_changes_left_open_the_one_that_serves_is_gone_on_with(
    world: PromotionWorld, two_left_open: list[Version]
) -> None:
    first, _ = two_left_open
    assert "the promotion of version 1, begun at " in "".join(status(world, first).unfinished)
    assert "after its promotion was ended half-way" in approved(world, first, "again")
    assert world.serve(first).action == "created"
    assert serves(world, first) == serving_history.version_now(world.events(first)) == 1
    assert changes.open_change(world.events(first)) is None


def test_of_two_changes_left_open_the_one_that_serves_is_taken_out_once_rejected(
    world: PromotionWorld, two_left_open: list[Version]
) -> None:
    for version in two_left_open:
        model_packages.reject(world.client("sagemaker"), version.arn, "on second thought")
    first, second = two_left_open
    with pytest.raises(DeliveryError, match="version 2 is not promoted"):
        world.serve(second)
    with pytest.raises(DeliveryError, match=r"must not stay: approval: .* it was the first and is deleted"):
        world.serve(first)
    assert serves(world, first) is None
    assert 1 not in [change.version for change in changes.open_changes(world.events(first))]


@pytest.fixture
def four(world: PromotionWorld) -> list[Version]:
    """Versions 1 to 4, of which 1, 2 and 4 were promoted."""
    name = world.name()
    versions = [world.version(name) for _ in range(4)]
    for version in (versions[0], versions[1], versions[3]):
        world.serve(version)
    return versions


def registry_says(world: PromotionWorld, version: Version) -> str:
    return model_packages.read(world.client("sagemaker"), version.arn).approval_status


def nothing_promotes(world: PromotionWorld, version: Version, why: str) -> None:
    """Not even once somebody approves it in the console."""
    world.client("sagemaker").update_model_package(
        ModelPackageArn=version.arn, ModelApprovalStatus="Approved", ApprovalDescription="in the console"
    )
    before = serves(world, version)
    with pytest.raises(DeliveryError, match=why):
        world.serve(version)
    assert serves(world, version) == before


OVERTAKERS: dict[str, tuple[int, Intent, int | None]] = {
    "a promotion": (3, "promotion", 3),
    "the promotion of what it returned to": (2, "promotion", 2),
    "a rollback that goes further": (1, "rollback", 1),
    "a retirement": (2, "retirement", None),
}


@pytest.mark.parametrize("overtaker", OVERTAKERS)
def test_what_a_rollback_left_stays_out_when_it_was_ended_half_way_and_overtaken(
    world: PromotionWorld, four: list[Version], overtaker: str
) -> None:
    killed(world, four[1], ProductionEndpoint, "smoke_test", "rollback")
    number, intent, leads_to = OVERTAKERS[overtaker]
    world.serve(four[number - 1], intent=intent)
    events = world.events(four[3])
    assert serves(world, four[3]) == serving_history.version_now(events) == leads_to
    assert changes.unfinished(events) == []
    assert changes.open_changes(events) == []
    assert registry_says(world, four[3]) == "Rejected"
    [told] = [event for event in events if event.details.get("previous_version") == 4]
    assert (told.kind, told.version) == ("rolled_back", 2)
    nothing_promotes(world, four[3], "production was rolled back from it|it was rejected at .* rolled back from it")


def test_the_next_event_of_what_a_half_way_rollback_left_does_not_promote_it(world: PromotionWorld, four: list[Version]) -> None:
    killed(world, four[1], ProductionEndpoint, "smoke_test", "rollback")
    nothing_promotes(world, four[3], "version 4 is not promoted; production is untouched: approval: production was rolled back")
    assert serves(world, four[3]) == 2
    assert "it was ended half-way, and nobody looked it over" in "".join(status(world, four[1]).unfinished)
    assert world.serve(four[1], intent="rollback").action == "unchanged"
    assert registry_says(world, four[3]) == "Rejected"
    assert status(world, four[1]).unfinished == []


def test_a_rejection_since_an_overtaken_rollback_began_stands(world: PromotionWorld, four: list[Version]) -> None:
    killed(world, four[1], ProductionEndpoint, "smoke_test", "rollback")
    world.ledger(four[1]).append("rejected", by="arn:aws:iam::1:user/ben", version=2)
    world.serve(four[2])
    standing = decisions.standing_rejection(world.events(four[1]), 2)
    assert standing is not None and standing.by.endswith("ben")


@pytest.mark.parametrize("overtaker", ["another version", "itself"])
def test_what_a_half_way_retirement_took_out_stays_out(world: PromotionWorld, four: list[Version], overtaker: str) -> None:
    killed(world, four[3], ProductionEndpoint, "is_there", "retirement")
    assert serves(world, four[3]) is None
    if overtaker == "another version":
        assert world.serve(four[2]).action == "created"
        assert registry_says(world, four[3]) == "Rejected"
    nothing_promotes(world, four[3], "it was taken out of service|it was rejected at .* 'it was taken out of service'")
    assert world.serve(four[3], intent="retirement").action == "retired" if overtaker == "itself" else True


def test_a_rollback_that_was_ended_before_it_changed_anything_left_nothing(world: PromotionWorld, four: list[Version]) -> None:
    killed(world, four[1], Hosting, "switch", "rollback")
    assert world.serve(four[3]).action == "unchanged"
    assert decisions.standing_rejection(world.events(four[3]), 4) is None


def rejecting(world: PromotionWorld, version: Version) -> Callable[..., object]:
    """What a method does in whose place a person rejects a version first."""

    def reject(*_: object, **__: object) -> object:
        world.ledger(version).append("rejected", by="arn:aws:iam::1:user/ben", version=version.number)
        return mock.DEFAULT

    return reject


@pytest.mark.parametrize("is_resumed", [False, True], ids=["in one run", "in two runs"])
def test_a_rejection_during_the_rollback_to_a_version_stands(
    world: PromotionWorld, four: list[Version], is_resumed: bool
) -> None:
    if is_resumed:
        killed(world, four[1], ProductionEndpoint, "smoke_test", "rollback")
        rejecting(world, four[1])()
        world.serve(four[1], intent="rollback", ledger_seen=len(world.events(four[1])) - 1)
    else:
        with mock.patch.object(ProductionEndpoint, "smoke_test", side_effect=rejecting(world, four[1]), return_value=[]):
            world.serve(four[1], intent="rollback")
    events = world.events(four[1])
    assert serves(world, four[1]) == serving_history.version_now(events) == 2
    standing = decisions.standing_rejection(events, 2)
    assert standing is not None and standing.by.endswith("ben")


def test_whoever_repeats_a_half_way_rollback_by_force_overrules_a_rejection_since_it_began(
    world: PromotionWorld, four: list[Version]
) -> None:
    killed(world, four[1], ProductionEndpoint, "smoke_test", "rollback")
    rejecting(world, four[1])()
    world.serve(four[1], intent="rollback", ledger_seen=len(world.events(four[1])))
    assert decisions.standing_rejection(world.events(four[1]), 2) is None


@pytest.mark.parametrize("moment", ["before its promotion begins", "right before production is touched"])
def test_a_rejection_after_a_rollback_was_asked_for_refuses_it(world: PromotionWorld, four: list[Version], moment: str) -> None:
    seen = len(world.events(four[1]))
    owner, method = (ProductionEndpoint, "at_rest") if moment == "before its promotion begins" else (Hosting, "define")
    real = getattr(owner, method)

    def rejected_first(*arguments: object, **more: object) -> object:
        rejecting(world, four[1])()
        return real(*arguments, **more)

    with mock.patch.object(owner, method, rejected_first), pytest.raises(DeliveryError) as refused:
        world.serve(four[1], intent="rollback", ledger_seen=seen)
    assert "does not go back to version 2, and is untouched: it was rejected at " in str(refused.value)
    assert serves(world, four[1]) == 4
    assert world.events(four[1])[-1].kind == "refused"


def test_the_command_says_what_a_rollback_goes_by(world: PromotionWorld, four: list[Version]) -> None:
    seen = len(world.events(four[1]))
    assert rollback_started(world, four[1]).kwargs == {"seen": seen}
