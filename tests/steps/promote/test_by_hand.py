"""The production endpoint changed by hand while a promotion looks it over, or tidies up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from delivery.errors import ChangedByHand, DeliveryError
from delivery.history import serving_history
from steps.promote.endpoint.production_endpoint import ProductionEndpoint
from steps.promote.models import Promotion
from tests.support.worlds.promotion import PromotionWorld, Version


def served(world: PromotionWorld, version: Version) -> str:
    """The endpoint config that the endpoint serves once nothing changes it; empty when it is gone."""
    described = [world.endpoint(version.endpoint) for _ in range(3)][-1] or {}
    return str(described.get("EndpointConfigName", ""))


def give(world: PromotionWorld, version: Version, config: str) -> None:
    world.client("sagemaker").update_endpoint(
        EndpointName=version.endpoint, EndpointConfigName=config, DeploymentConfig={}, RetainAllVariantProperties=False
    )


def delete(world: PromotionWorld, version: Version) -> None:
    world.client("sagemaker").delete_endpoint(EndpointName=version.endpoint)


def promoted_while(world: PromotionWorld, version: Version, method: str, act: Callable[[], None]) -> Promotion:
    """Promote it, and do something right after that method."""
    real = getattr(ProductionEndpoint, method)

    def called(self: ProductionEndpoint, *arguments: Any) -> Any:
        result = real(self, *arguments)
        act()
        return result

    with mock.patch.object(ProductionEndpoint, method, called):
        return world.serve(version)


@pytest.mark.parametrize("method", ["update", "smoke_test", "settle"])
def test_the_old_config_given_back_by_hand_stays_and_is_no_success(world: PromotionWorld, method: str) -> None:
    name = world.name()
    first, second = world.version(name), world.version(name)
    world.serve(first)
    before = served(world, first)
    with pytest.raises(DeliveryError, match=r"somebody gave it that while|taken out of production"):
        promoted_while(world, second, method, lambda: give(world, second, before))
    assert served(world, first) == before
    assert world.config(name)["EndpointConfigName"] == before, "what production serves is still there"
    events = world.events(second)
    assert (events[-1].kind, serving_history.version_now(events)) == ("refused", 1)
    arn = (world.endpoint(name) or {})["EndpointArn"]
    tags = {tag["Key"]: tag["Value"] for tag in world.client("sagemaker").list_tags(ResourceArn=arn)["Tags"]}
    assert tags["release:version"] == ("2" if method == "settle" else "1"), "nothing is settled that does not serve"


@pytest.mark.parametrize("method", ["update", "smoke_test", "settle"])
def test_an_endpoint_deleted_by_hand_is_no_success(world: PromotionWorld, method: str) -> None:
    name = world.name()
    first, second = world.version(name), world.version(name)
    world.serve(first)
    with pytest.raises(DeliveryError, match=r"is gone: somebody deleted it|Could not find endpoint"):
        promoted_while(world, second, method, lambda: delete(world, second))
    assert served(world, second) == ""
    assert world.events(second)[-1].kind == "refused"


def test_another_config_given_by_hand_is_not_taken_away_again(world: PromotionWorld) -> None:
    name = world.name()
    first, second = world.version(name), world.version(name)
    world.serve(first)
    sagemaker = world.client("sagemaker")
    variants = world.config(name)["ProductionVariants"]
    sagemaker.create_endpoint_config(EndpointConfigName="by-hand", ProductionVariants=variants, Tags=[])
    with pytest.raises(
        ChangedByHand, match=r"serves by-hand: somebody gave it that while production-.* was looked over; it stays"
    ):
        promoted_while(world, second, "smoke_test", lambda: give(world, second, "by-hand"))
    assert served(world, second) == "by-hand"


def test_what_production_is_given_while_it_is_tidied_up_is_not_deleted(world: PromotionWorld) -> None:
    name = world.name()
    first, second = world.version(name), world.version(name)
    world.serve(first)
    before = served(world, first)
    tidy_up = ProductionEndpoint.tidy_up

    def given_back_meanwhile(self: ProductionEndpoint, config: str) -> None:
        give(world, second, before)
        tidy_up(self, config)

    with mock.patch.object(ProductionEndpoint, "tidy_up", given_back_meanwhile):
        world.serve(second)
    assert served(world, second) == before
    assert world.config(name)["EndpointConfigName"] == before
