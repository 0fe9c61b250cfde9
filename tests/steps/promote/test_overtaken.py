"""A change of production that was ended half-way, and another run that comes between it and its rerun."""

from __future__ import annotations

from unittest import mock

import pytest

from delivery.endpoint.hosting import Hosting
from delivery.errors import DeliveryError
from delivery.history import changes, serving_history
from delivery.registry import model_packages
from steps.promote.models import Intent
from steps.promote.production_endpoint import ProductionEndpoint
from tests.steps.promote.commands import approved, status
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
