"""What a run left undone: the command says so, and the next run does it."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest

from delivery.errors import DeliveryError
from delivery.registry import model_packages
from steps.promote.endpoint.autoscaling import EndpointAutoscaling
from steps.promote.endpoint.production_endpoint import ProductionEndpoint
from tests.steps.promote.commands import approved, rolled_back_to, status
from tests.support.worlds.promotion import QUESTION, PromotionWorld, Version

SCALING = {"min_instances": 1, "max_instances": 3, "concurrent_requests_per_instance": 16}
WRONG: dict[str, Any] = {"answers": {QUESTION: "something else a b c d e f g h i j"}}
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


@pytest.fixture
def without_its_autoscaling(world: PromotionWorld) -> list[Version]:
    """Versions 1 and 2 were promoted; the third came to nothing, and the second, which serves on, lost its autoscaling by that."""
    name = world.name()
    made = [world.version(name, autoscaling=SCALING) for _ in range(2)]
    for version in made:
        world.serve(version)
    third = world.version(name, settings=WRONG, autoscaling=SCALING, serving={"instance_type": "ml.p5e.48xlarge"})
    with (
        mock.patch.object(EndpointAutoscaling, "apply", DENIED),
        pytest.raises(
            DeliveryError, match=rf"could not be brought back: AccessDenied.*: python -m pipelines.run approve {name} 2$"
        ),
    ):
        world.serve(third)
    assert world.autoscaling(name) is None
    return [*made, third]


@pytest.mark.parametrize("run", ["approved again", "a new version", "a rollback", "a retirement"])
def test_autoscaling_that_a_change_lost_which_came_to_nothing_is_given_back_by_any_next_run(
    world: PromotionWorld, without_its_autoscaling: list[Version], run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, _ = without_its_autoscaling
    [unfinished] = status(world, second).unfinished
    assert unfinished.startswith("autoscaling: it was taken away and could not be brought back: AccessDenied: python")
    match run:
        case "approved again":
            assert "is approved again" in approved(world, second, "give it back")
            assert world.serve(second).action == "unchanged"
            settled = world.events(second)[-1]
            assert (settled.kind, settled.details["finished"]) == ("settled", [unfinished.partition(": python")[0]])
        case "a new version":
            world.serve(world.version(first.release.name, autoscaling=SCALING))
        case "a rollback":
            world.serve(first, intent="rollback")
        case _:
            world.serve(second, intent="retirement")
    assert "no longer unfinished, as an earlier run had left it: autoscaling: it was taken away" in capsys.readouterr().out
    assert (world.autoscaling(second.endpoint) is None) is (run == "a retirement")
    assert status(world, second).unfinished == []
