"""What may happen while a promotion waits, between two of its calls, or after the last one that counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast
from unittest import mock

import pytest

from delivery.endpoint.hosting import Hosting
from delivery.errors import DeliveryError, LeaseLost
from delivery.history.ledger import Event, EventKind, Ledger
from delivery.registry import model_packages
from steps.promote.endpoint.autoscaling import EndpointAutoscaling
from steps.promote.endpoint.production_endpoint import ProductionEndpoint
from steps.promote.models import Promotion
from tests.support.fake_aws import FakeAws
from tests.support.fake_aws.shapes import client_error
from tests.support.worlds.promotion import QUESTION, PromotionWorld, Version

WRONG = {"answers": {QUESTION: "something else a b c d e f g h i j"}}
SCALING = {"min_instances": 1, "max_instances": 3, "concurrent_requests_per_instance": 16, "scale_in_cooldown_s": 3600}
MORE_SCALING = {**SCALING, "max_instances": 4}


class Killed(BaseException):
    """The process ends here."""


@contextmanager
def instead(owner: type, method: str, act: Callable[[], object], *, then: bool = False) -> Iterator[None]:
    """`act` in the method's place, or before it."""
    real = getattr(owner, method)

    def called(self: Any, *arguments: Any, **more: Any) -> Any:
        result = act()
        return real(self, *arguments, **more) if then else result

    with mock.patch.object(owner, method, called):
        yield


def refused(error: str) -> Callable[[], None]:
    """What AWS says."""

    def act() -> None:
        raise DeliveryError(error)

    return act


def kill() -> None:
    raise Killed


def kinds(world: PromotionWorld, version: Version) -> list[tuple[str, int | None]]:
    """What the ledger tells, without what was only begun."""
    return [(event.kind, event.version) for event in world.events(version) if event.kind != "changing"]


def serves(world: PromotionWorld, version: Version) -> int:
    """The version that the endpoint serves, by the name of its config."""
    return int(world.config(version.endpoint)["EndpointConfigName"].split("-v")[1].split("-")[0])


def left_unseen(world: PromotionWorld, version: Version) -> None:
    """Promote it with a process that ends after the update, before it was looked over."""
    with instead(ProductionEndpoint, "smoke_test", kill), pytest.raises(Killed):
        world.serve(version)
    assert serves(world, version) == version.number


def test_an_approval_that_is_withdrawn_during_the_wait_for_the_endpoint_counts(world: PromotionWorld) -> None:
    version = world.version(world.name())

    def withdraw() -> None:
        model_packages.reject(world.client("sagemaker"), version.arn, "on second thought")

    with (
        instead(ProductionEndpoint, "at_rest", withdraw, then=True),
        pytest.raises(DeliveryError, match="approval: the version is Rejected now"),
    ):
        world.serve(version)
    assert world.endpoint(version.endpoint) is None


def test_an_approval_that_is_withdrawn_during_the_update_takes_the_version_out_again(world: PromotionWorld) -> None:
    name = world.name()
    world.serve(world.version(name))
    second = world.version(name)

    def withdraw() -> None:
        model_packages.reject(world.client("sagemaker"), second.arn, "on second thought")

    with (
        instead(ProductionEndpoint, "smoke_test", withdraw, then=True),
        pytest.raises(DeliveryError, match=r"was taken back .* Rejected now"),
    ):
        world.serve(second)
    assert serves(world, second) == 1
    assert kinds(world, second) == [("promoted", 1), ("refused", 2)]


def test_a_rejection_after_the_last_look_at_the_approval_takes_the_version_out_again(world: PromotionWorld) -> None:
    """Whoever rejects is told that nothing promotes the version: its promotion, which is all but done, is undone."""
    name = world.name()
    world.serve(world.version(name))
    second = world.version(name)

    def reject() -> None:
        world.ledger(second).append("rejected", by="arn:aws:iam::1:user/ben", version=2)

    with (
        instead(ProductionEndpoint, "settle", reject, then=True),
        pytest.raises(DeliveryError, match=r"was rejected during the update, at .* by .*/ben; .* it serves version 1 again"),
    ):
        world.serve(second)
    assert serves(world, second) == 1
    assert kinds(world, second) == [("promoted", 1), ("rejected", 2), ("refused", 2)]


def test_a_failed_endpoint_of_an_ended_try_goes_even_where_no_version_takes_its_place(world: PromotionWorld) -> None:
    """It serves nobody and costs as much as one that does."""
    name = world.name()
    with instead(ProductionEndpoint, "_delete", kill), pytest.raises(Killed):
        world.serve(world.version(name, settings={"crash_at_start": True}))
    assert (world.endpoint(name) or {})["EndpointStatus"] == "Failed"
    pending = world.version(name, status="PendingManualApproval")
    with pytest.raises(DeliveryError, match="approval: "):
        world.serve(pending)
    assert world.endpoint(name) is None
    assert world.serve(world.version(name)).action == "created"


def test_what_cannot_be_tidied_up_is_no_failed_promotion(world: PromotionWorld, caplog: pytest.LogCaptureFixture) -> None:
    version = world.version(world.name())
    with instead(ProductionEndpoint, "tidy_up", refused("ThrottlingException")):
        assert world.serve(version).action == "created"
    assert "stays for the next one: ThrottlingException" in caplog.text
    assert kinds(world, version) == [("promoted", 1)]


def test_a_rollback_that_cannot_reject_what_it_left_is_in_the_ledger_as_what_it_is(world: PromotionWorld) -> None:
    name = world.name()
    first, second = world.version(name), world.version(name)
    world.serve(first)
    world.serve(second)
    with (
        mock.patch.object(model_packages, "reject", mock.Mock(side_effect=DeliveryError("AccessDenied"))),
        pytest.raises(DeliveryError, match="AccessDenied"),
    ):
        world.serve(first, intent="rollback")
    assert kinds(world, first)[-1] == ("rolled_back", 1)
    assert serves(world, first) == 1


def test_a_reason_outlives_a_ledger_that_cannot_be_written(world: PromotionWorld) -> None:
    version = world.version(world.name(), settings={"crash_at_start": True})
    append = Ledger.append

    def refuses_refusals(self: Ledger, kind: EventKind, **event: Any) -> Event:
        if kind == "refused":
            raise DeliveryError("SlowDown")
        return append(self, kind, **event)

    with mock.patch.object(Ledger, "append", refuses_refusals), pytest.raises(DeliveryError, match="ping health check") as caught:
        world.serve(version)
    assert "nor could the ledger be told of it: SlowDown" in str(caught.value)


def test_a_reason_outlives_an_old_version_that_cannot_be_given_back(world: PromotionWorld) -> None:
    name = world.name()
    world.serve(world.version(name))
    second = world.version(name, settings=WRONG)
    switch = ProductionEndpoint._switch

    def no_way_back(self: ProductionEndpoint, config: str, policy: dict[str, Any]) -> None:
        if "-v1-" in config:
            raise DeliveryError("ThrottlingException")
        switch(self, config, policy)

    with (
        mock.patch.object(ProductionEndpoint, "_switch", no_way_back),
        pytest.raises(DeliveryError, match="ThrottlingException") as caught,
    ):
        world.serve(second)
    assert "answered 'Which version are you?' with 'something else" in str(caught.value)
    assert f"{name} serves version 2 now" in str(caught.value)
    assert world.events(second)[-1].kind == "changing", "it was not refused: it serves"
    with pytest.raises(DeliveryError, match="version 2 was taken out of production, it serves version 1 again"):
        world.serve(second)
    assert kinds(world, second) == [("promoted", 1), ("refused", 2)]


def test_a_version_that_nobody_looked_over_is_not_what_a_later_one_gives_back(world: PromotionWorld) -> None:
    name = world.name()
    first = world.version(name)
    world.serve(first)
    left_unseen(world, world.version(name))
    third = world.version(name, settings=WRONG)
    with pytest.raises(DeliveryError, match="it serves version 1 again"):
        world.serve(third)
    assert serves(world, first) == 1


def test_the_version_after_one_that_nobody_looked_over_is_promoted_and_tidies_up(world: PromotionWorld) -> None:
    name = world.name()
    world.serve(world.version(name))
    left_unseen(world, world.version(name))
    third = world.version(name)
    promotion: Promotion = world.serve(third)
    assert (promotion.version, promotion.previous_version) == (3, 1)
    assert all("-v3-" in definition for definition in world.definitions(name))


@pytest.mark.parametrize("call", ["create", "switch"])
def test_what_sagemaker_refuses_is_no_try_and_leaves_nothing(world: PromotionWorld, call: str) -> None:
    """A quota, as a rule: once it is raised, the promotion is started again and nobody has to approve anew."""
    name = world.name()
    first = world.version(name)
    if call == "switch":
        world.serve(first)
    version = world.version(name) if call == "switch" else first
    define = mock.patch.object(Hosting, "create", lambda self, _, new: (self.define(new), refused("ResourceLimitExceeded")()))
    switch = instead(Hosting, "switch", refused("ResourceLimitExceeded"))
    with define if call == "create" else switch, pytest.raises(DeliveryError, match="ResourceLimitExceeded"):
        world.serve(version)
    assert world.events(version)[-1].details["tried"] is False
    assert not [left for left in world.definitions(name) if f"-v{version.number}-" in left]
    assert world.serve(version).version == version.number


@pytest.mark.parametrize(
    ("before", "serving", "makes_way"),
    [
        ({}, {}, False),
        ({}, {"instance_type": "ml.p5e.48xlarge"}, True),
        ({"fallback_instance_types": ["ml.p5e.48xlarge"]}, {"fallback_instance_types": ["ml.p5en.48xlarge"]}, True),
    ],
)
def test_autoscaling_makes_way_for_other_instance_types_alone(
    world: PromotionWorld, before: dict[str, Any], serving: dict[str, Any], makes_way: bool
) -> None:
    name = world.name()
    world.serve(world.version(name, autoscaling=SCALING, serving=before))
    removed: list[bool] = []
    with instead(EndpointAutoscaling, "remove", lambda: removed.append(True), then=True):
        world.serve(world.version(name, autoscaling=SCALING, serving=serving))
    assert bool(removed) is makes_way
    assert world.autoscaling(name) is not None


@pytest.mark.parametrize("ends", ["refused", "wrong"])
def test_an_update_that_comes_to_nothing_leaves_the_old_versions_autoscaling(world: PromotionWorld, ends: str) -> None:
    """SageMaker refuses an update of the instance type while there is a target: it is taken away before, and must come back."""
    name = world.name()
    first = world.version(name, autoscaling=SCALING)
    world.serve(first)
    second = world.version(name, settings=WRONG, autoscaling=MORE_SCALING, serving={"instance_type": "ml.p5e.48xlarge"})
    if ends == "refused":
        with (
            instead(Hosting, "switch", refused("ResourceLimitExceeded")),
            pytest.raises(DeliveryError, match="ResourceLimitExceeded"),
        ):
            world.serve(second)
    else:
        with pytest.raises(DeliveryError, match="it serves version 1 again"):
            world.serve(second)
    bounds = world.autoscaling(name)
    assert bounds is not None
    assert (bounds["MinCapacity"], bounds["MaxCapacity"]) == (1, 3)
    assert len(bounds["policies"]) == 1
    assert serves(world, first) == 1
    assert not [definition for definition in world.definitions(name) if "-v2-" in definition]


def failing(action: str, about: str, *, applied: bool = False) -> Callable[[dict[str, Any], Callable[[], Any]], Any]:
    """A layer in which a call fails, before or after it did its work."""

    def layer(call: dict[str, Any], answer: Callable[[], Any]) -> Any:
        if call["action"] == action and about in str(call["parameters"]):
            if applied:
                answer()
            raise client_error(action, "RequestTimeout")
        return answer()

    return layer


def test_a_first_version_whose_alarms_cannot_be_made_is_not_created(world: PromotionWorld) -> None:
    version = world.version(world.name())
    aws = cast(FakeAws, world.account)
    with mock.patch.object(aws, "layer", failing("PutMetricAlarm", "")), pytest.raises(DeliveryError, match="RequestTimeout"):
        world.serve(version)
    assert "CreateEndpoint" not in {call["action"] for call in aws.calls}
    assert world.events(version)[-1].details["tried"] is False


def test_a_record_whose_answer_got_lost_is_a_record(world: PromotionWorld) -> None:
    version = world.version(world.name())
    aws = cast(FakeAws, world.account)
    with mock.patch.object(aws, "layer", failing("PutObject", '"kind": "promoted"', applied=True)):
        assert world.serve(version).action == "created"
    assert kinds(world, version) == [("promoted", 1)]
    assert serves(world, version) == 1


def test_who_lost_the_lease_without_knowing_it_records_nothing(world: PromotionWorld) -> None:
    """It stood still for long, and the other's change is in the ledger: whoever is behind it has no say."""
    version = world.version(world.name())

    def other_begins() -> None:
        world.ledger(version).append("changing", by="other", version=7, details={"to": "another", "intent": "promotion"})

    with instead(ProductionEndpoint, "settle", other_begins, then=True), pytest.raises(LeaseLost, match=r"other took over"):
        world.serve(version)
    assert kinds(world, version) == []
    assert serves(world, version) == 1


def test_a_version_that_was_left_in_production_and_lost_its_approval_is_taken_out(world: PromotionWorld) -> None:
    name = world.name()
    world.serve(world.version(name))
    second = world.version(name)
    left_unseen(world, second)
    model_packages.reject(world.client("sagemaker"), second.arn, "on second thought")
    with pytest.raises(DeliveryError, match=r"must not stay: approval: .* it serves version 1 again"):
        world.serve(second)
    assert serves(world, second) == 1
    assert kinds(world, second) == [("promoted", 1), ("refused", 2)]


def test_a_version_that_somebody_put_back_by_hand_is_never_deleted_with_its_endpoint(world: PromotionWorld) -> None:
    """The first version's config has none before it: what a wrong answer led to was the end of the endpoint."""
    name = world.name()
    first = world.version(name)
    world.serve(first)
    old = world.config(name)["EndpointConfigName"]
    with mock.patch.object(ProductionEndpoint, "tidy_up", lambda *_: None):
        world.serve(world.version(name))
    world.client("sagemaker").update_endpoint(
        EndpointName=name, EndpointConfigName=old, DeploymentConfig={}, RetainAllVariantProperties=False
    )
    with (
        instead(ProductionEndpoint, "smoke_test", refused("an alarm went off")),
        pytest.raises(DeliveryError, match="it serves version 2 again"),
    ):
        world.serve(first)
    assert serves(world, first) == 2
