"""A production endpoint taken out of service: what goes, what stays, and that it can be ended at any call and run again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from unittest import mock

import pytest

from delivery.errors import DeliveryError, InputError
from delivery.history import changes, serving_history
from delivery.registry import model_packages
from steps.promote.endpoint.production_endpoint import ProductionEndpoint
from steps.verify_approval import step as verify_approval
from steps.verify_approval.models import VerificationArguments
from tests.steps.promote.commands import approved, status
from tests.support.fake_aws import FakeAws
from tests.support.worlds.evaluation import BUCKET
from tests.support.worlds.promotion import PromotionWorld, Version, fake_promotions

SCALING = {"min_instances": 1, "max_instances": 3, "concurrent_requests_per_instance": 16}


class Killed(BaseException):
    """The process ends here."""


def is_out_of_service(world: PromotionWorld, version: Version) -> None:
    """Nothing serves, nothing is left in SageMaker, and ledger and registry say so."""
    assert world.endpoint(version.endpoint) is None
    assert world.definitions(version.release.name) == []
    assert world.client("cloudwatch").describe_alarms(AlarmNamePrefix=version.endpoint)["MetricAlarms"] == []
    assert world.autoscaling(version.endpoint) is None
    events = world.events(version)
    assert serving_history.serving_now(events) is None
    assert changes.open_change(events) is None
    assert changes.rejections_due(events) == []
    assert model_packages.read(world.client("sagemaker"), version.arn).approval_status == "Rejected"


@pytest.fixture
def bad(world: PromotionWorld) -> Version:
    """A first version that production serves, and that turned out bad."""
    version = world.version(world.name(), autoscaling=SCALING)
    world.serve(version)
    return version


def test_a_bad_first_version_is_taken_out_and_nothing_brings_it_back_by_itself(world: PromotionWorld, bad: Version) -> None:
    retired = world.serve(bad, intent="retirement", execution="the-retirement")
    assert (retired.action, retired.version, retired.execution) == ("retired", 1, "the-retirement")
    is_out_of_service(world, bad)
    assert [event.kind for event in world.events(bad)] == ["changing", "promoted", "changing", "retired", "rejected"]
    world.client("sagemaker").update_model_package(ModelPackageArn=bad.arn, ModelApprovalStatus="Approved")  # in the console
    with pytest.raises(DeliveryError, match=r"it was rejected at .* 'it was taken out of service'; .*approve model-.* 1 --force"):
        world.serve(bad)
    assert world.endpoint(bad.endpoint) is None


def test_a_retirement_that_could_not_reject_keeps_the_version_out_all_the_same(world: PromotionWorld, bad: Version) -> None:
    denied = mock.Mock(side_effect=DeliveryError("AccessDenied"))
    with (
        mock.patch.object(model_packages, "reject", denied),
        pytest.raises(DeliveryError, match=r"is out of service and the ledger says so, .* rejecting version 1: AccessDenied"),
    ):
        world.serve(bad, intent="retirement")
    with pytest.raises(DeliveryError, match=r"approval: it was taken out of service at "):
        world.serve(bad)
    world.serve(bad, intent="retirement")
    is_out_of_service(world, bad)


def test_status_says_that_it_is_out_of_service_and_sees_no_drift(world: PromotionWorld, bad: Version) -> None:
    world.serve(bad, intent="retirement")
    found = status(world, bad)
    assert found.retired.startswith("out of service since ")
    assert found.production is not None and found.production.status == "absent"
    assert (found.ledger_version, found.drift, found.unfinished, found.lease) == (None, [], [], None)


def test_a_new_version_is_promoted_after_it_as_a_first_one(world: PromotionWorld, bad: Version) -> None:
    world.serve(bad, intent="retirement")
    second = world.version(bad.release.name, autoscaling=SCALING)
    promoted = world.serve(second)
    assert (promoted.action, promoted.previous_version) == ("created", None)
    assert world.autoscaling(bad.endpoint) is not None
    assert status(world, second).drift == []
    with pytest.raises(InputError, match="production never served another version than 2"):
        serving_history.returning_to(world.events(second), None)


def test_a_rollback_returns_to_it_only_by_name(world: PromotionWorld, bad: Version) -> None:
    world.serve(bad, intent="retirement")
    events = world.events(bad)
    with pytest.raises(InputError, match=r"was taken out of service at .* --to \(1\)"):
        serving_history.returning_to(events, None)
    assert serving_history.returning_to(events, 1).version == 1
    assert world.serve(bad, intent="rollback").action == "created"
    assert serving_history.version_now(world.events(bad)) == 1
    assert status(world, bad).drift == []


def test_who_says_so_by_name_has_it_promoted_again(world: PromotionWorld, bad: Version) -> None:
    world.serve(bad, intent="retirement")
    assert "'it was taken out of service'" in approved(world, bad, "it was the client", force=True)
    assert world.serve(bad).action == "created"


def test_it_is_refused_for_another_version_than_serves(world: PromotionWorld, bad: Version) -> None:
    second = world.version(bad.release.name, autoscaling=SCALING)
    world.serve(second)
    with pytest.raises(InputError, match=r"serves version 2 now, not version 1: nothing is changed"):
        world.serve(bad, intent="retirement")
    assert world.endpoint(bad.endpoint) is not None


def test_what_an_ended_promotion_left_is_taken_out_as_well(world: PromotionWorld) -> None:
    version = world.version(world.name())
    with mock.patch.object(ProductionEndpoint, "smoke_test", side_effect=Killed), pytest.raises(Killed):
        world.serve(version)
    with world.account.acting_as(version.release.environment.roles.promote):
        verified = verify_approval.run(VerificationArguments(version.arn, BUCKET, "retirement", world.folder / "verified"))
    assert verified.approved
    world.serve(version, intent="retirement")
    is_out_of_service(world, version)


@pytest.fixture
def failed(world: PromotionWorld) -> Version:
    """A version that crashed as the first one, and whose endpoint, Failed, could not be deleted."""
    version = world.version(world.name(), settings={"crash_at_start": True})
    denied = mock.patch.object(ProductionEndpoint, "_end_endpoint", side_effect=DeliveryError("AccessDenied"))
    with denied, pytest.raises(DeliveryError, match="crash_at_start"):
        world.serve(version)
    endpoint = world.endpoint(version.endpoint)
    assert endpoint is not None and endpoint["EndpointStatus"] == "Failed"
    return version


def test_an_endpoint_that_failed_and_stayed_is_taken_out(world: PromotionWorld, failed: Version) -> None:
    world.serve(failed, intent="retirement")
    is_out_of_service(world, failed)


def test_one_goes_with_the_next_run_of_its_version_whatever_becomes_of_that(world: PromotionWorld, failed: Version) -> None:
    world.ledger(failed).append("rejected", by="arn:aws:iam::1:user/ben", version=1, details={"comment": "it crashes"})
    assert "it crashes" in world.refused(failed)
    assert world.endpoint(failed.endpoint) is None
    assert world.definitions(failed.release.name) == []


def test_an_endpoint_that_somebody_deleted_is_told_of(world: PromotionWorld, bad: Version) -> None:
    world.client("sagemaker").delete_endpoint(EndpointName=bad.endpoint)
    while world.endpoint(bad.endpoint):
        pass
    world.serve(bad, intent="retirement")
    is_out_of_service(world, bad)


def calls_of_a_retirement(folder: Path) -> int:
    """How many calls one makes."""
    with fake_promotions(folder) as world:
        version = world.version(world.name(), autoscaling=SCALING)
        world.serve(version)
        aws = cast(FakeAws, world.account)
        before = len(aws.calls)
        world.serve(version, intent="retirement")
        return len(aws.calls) - before


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    yield calls_of_a_retirement(tmp_path_factory.mktemp("counted"))


@pytest.mark.parametrize("is_done", [False, True], ids=["before", "after"])
def test_it_is_killed_at_any_call_and_run_again(world: PromotionWorld, calls: int, is_done: bool) -> None:
    """Killed right before the call is made, and right after it was."""
    aws = cast(FakeAws, world.account)
    for moment in range(calls):
        version = world.version(world.name(), autoscaling=SCALING)
        world.serve(version)
        left = moment

        def dies(_: dict[str, Any], answer: Callable[[], Any]) -> Any:
            nonlocal left
            left -= 1
            if left >= 0:
                return answer()
            if left == -1 and is_done:
                answer()
            raise Killed

        with mock.patch.object(aws, "layer", dies), suppress(Killed):
            world.serve(version, intent="retirement", execution="killed")
        aws.now = lambda hours=moment + 1: datetime.now(UTC) + timedelta(hours=hours)  # type: ignore[misc]  # the lease expires
        world.serve(version, intent="retirement", execution="killed" if moment % 2 else "another")
        is_out_of_service(world, version)
