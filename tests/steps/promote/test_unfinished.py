"""What a run left undone: the command says so, and the next run does it."""

from __future__ import annotations

from unittest import mock

import pytest

from delivery.errors import DeliveryError
from delivery.registry import model_packages
from steps.promote.autoscaling import EndpointAutoscaling
from steps.promote.production_endpoint import ProductionEndpoint
from tests.steps.promote.commands import approved, rolled_back_to, status
from tests.support.worlds.promotion import PromotionWorld

SCALING = {"min_instances": 1, "max_instances": 3, "concurrent_requests_per_instance": 16}
DENIED = mock.Mock(side_effect=DeliveryError("AccessDenied"))


class Killed(BaseException):
    """The process ends here."""


def test_a_version_without_its_autoscaling_is_recorded_said_and_finished_by_approving_again(world: PromotionWorld) -> None:
    version = world.version(world.name(), autoscaling=SCALING)
    with (
        mock.patch.object(EndpointAutoscaling, "apply", DENIED),
        pytest.raises(
            DeliveryError, match=r"serves version 1 and the ledger says so, but this is unfinished: autoscaling: AccessDenied"
        ),
    ):
        world.serve(version)
    found = status(world, version)
    [unfinished] = found.unfinished
    assert unfinished.startswith("autoscaling: AccessDenied: python -m pipelines.run approve ")
    assert (found.ledger_version, found.drift) == (1, [])
    assert "is approved again, after its promotion was ended half-way" in approved(world, version, "again")
    assert world.serve(version).action == "unchanged"
    assert world.autoscaling(version.endpoint) is not None
    assert status(world, version).unfinished == []
    assert "nothing was changed" in approved(world, version, "once more")


def test_a_promotion_that_was_ended_half_way_is_said_and_finished_by_approving_again(world: PromotionWorld) -> None:
    version = world.version(world.name())
    with mock.patch.object(ProductionEndpoint, "smoke_test", side_effect=Killed), pytest.raises(Killed):
        world.serve(version)
    [unfinished] = status(world, version).unfinished
    assert "the promotion of version 1, begun at " in unfinished
    assert "was ended half-way, and production serves it: python -m pipelines.run approve " in unfinished
    approved(world, version, "again")
    assert world.serve(version).action == "created"
    assert status(world, version).unfinished == []


def test_a_rollback_that_could_not_reject_is_finished_by_the_next_one_and_goes_no_further(world: PromotionWorld) -> None:
    name = world.name()
    first, second, third = (world.version(name) for _ in range(3))
    for version in (first, second, third):
        world.serve(version)
    with (
        mock.patch.object(model_packages, "reject", DENIED),
        pytest.raises(DeliveryError, match=r"unfinished: rejecting version 3: AccessDenied; .*rollback model-\d+ --to 2"),
    ):
        world.serve(second, intent="rollback")
    [unfinished] = status(world, third).unfinished
    assert unfinished.startswith("version 3 was taken out of production at ")
    assert rolled_back_to(world, third) == rolled_back_to(world, third, to=2) == second.arn
    assert rolled_back_to(world, third, to=1) == first.arn
    assert world.serve(second, intent="rollback").action == "unchanged"
    assert model_packages.read(world.client("sagemaker"), third.arn).approval_status == "Rejected"
    assert status(world, third).unfinished == []
    assert rolled_back_to(world, third) == first.arn


def test_a_promotion_rejects_what_a_rollback_before_it_could_not(world: PromotionWorld) -> None:
    name = world.name()
    first, second = world.version(name), world.version(name)
    world.serve(first)
    world.serve(second)
    with mock.patch.object(model_packages, "reject", DENIED), pytest.raises(DeliveryError):
        world.serve(first, intent="rollback")
    world.serve(world.version(name))
    assert model_packages.read(world.client("sagemaker"), second.arn).approval_status == "Rejected"
