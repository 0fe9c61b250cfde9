"""A call that fails for good once the endpoint has been changed: what the ledger says serves does serve, and another execution heals it.

Each call that a promotion, a first promotion, a rollback or a retirement makes after it changed the endpoint, failed in each way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from unittest import mock

import pytest

from delivery.errors import DeliveryError
from delivery.history import changes, serving_history
from delivery.registry import model_packages
from steps.promote.models import Intent
from tests.steps.promote.commands import approved
from tests.support.fake_aws import FakeAws
from tests.support.fake_aws.shapes import client_error
from tests.support.virtual_time import virtual_time
from tests.support.worlds.promotion import PromotionWorld, Version, fake_promotions

SCALING = {"min_instances": 1, "max_instances": 3, "concurrent_requests_per_instance": 16}
CODES = ["AccessDeniedException", "ExpiredToken", "InternalFailure", "ThrottlingException"]
CALLS = {
    "tag": ("sagemaker", "AddTags", ""),
    "alarm": ("cloudwatch", "PutMetricAlarm", ""),
    "look at alarms": ("cloudwatch", "DescribeAlarms", ""),
    "scalable target": ("application-autoscaling", "RegisterScalableTarget", ""),
    "scaling policy": ("application-autoscaling", "PutScalingPolicy", ""),
    "write the ledger": ("s3", "PutObject", "releases/"),
    "list the ledger": ("s3", "ListObjectsV2", "releases/"),
    "read the ledger": ("s3", "GetObject", "releases/"),
    "write the lease": ("s3", "PutObject", "leases/"),
    "read the lease": ("s3", "GetObject", "leases/"),
    "look at the endpoint": ("sagemaker", "DescribeEndpoint", ""),
    "look at configs": ("sagemaker", "DescribeEndpointConfig", ""),
    "read tags": ("sagemaker", "ListTags", ""),
    "read the version": ("sagemaker", "DescribeModelPackage", ""),
    "decide": ("sagemaker", "UpdateModelPackage", ""),
    "ask": ("sagemaker", "InvokeEndpoint", ""),
    "delete a config": ("sagemaker", "DeleteEndpointConfig", ""),
    "delete a model": ("sagemaker", "DeleteModel", ""),
    "delete alarms": ("cloudwatch", "DeleteAlarms", ""),
    "list configs": ("sagemaker", "ListEndpointConfigs", ""),
    "update again": ("sagemaker", "UpdateEndpoint", ""),
    "delete the endpoint": ("sagemaker", "DeleteEndpoint", ""),
}
CANNOT_TELL = {"look at the endpoint", "write the lease", "read the lease"}
"""Without these nobody can say what serves, or may change it: the ledger has the change as begun, which is the truth."""
OF_THE_LEDGER = {"read the ledger", "list the ledger", "write the ledger"}
"""A promotion that cannot be recorded is undone. A rollback and a retirement are not: what they left was bad."""


@dataclass
class Story:
    """What is done to production while a call fails, and what it is to lead to."""

    intent: Intent
    once: str
    """The call that changes the endpoint: what comes after it fails."""
    before: int
    """How many versions were promoted before."""
    leads_to: int | None
    """The version that production serves when it is done; None: none."""


STORIES = {
    "create": Story("promotion", "CreateEndpoint", 0, 1),
    "update": Story("promotion", "UpdateEndpoint", 1, 2),
    "rollback": Story("rollback", "UpdateEndpoint", 2, 1),
    "retirement": Story("retirement", "DeleteEndpoint", 1, None),
}


@pytest.fixture
def aws_and_world(tmp_path: Path) -> Iterator[tuple[FakeAws, PromotionWorld]]:
    with fake_promotions(tmp_path) as world:
        yield cast(FakeAws, world.account), world


def served(world: PromotionWorld, version: Version) -> tuple[int | None, str]:
    """The version that the endpoint serves, None when it serves none, and its endpoint config."""
    for _ in range(3):  # what is under way comes to its end
        found = world.endpoint(version.endpoint)
    if found is None or found["EndpointStatus"] != "InService":
        return None, ""
    config = str(found["EndpointConfigName"])
    return int(config.split("-v")[1].split("-")[0]), config


def ledger_tells_the_truth(world: PromotionWorld, version: Version, *, strictly: bool) -> None:
    """What the ledger says serves does; where nobody could tell, it has the change as begun."""
    events = world.events(version)
    number, config = served(world, version)
    change = changes.open_change(events)
    begun = change is not None and (change.details["to"] or "") == config
    assert number == serving_history.version_now(events) or (begun and not strictly), [
        (event.kind, event.version, event.details) for event in events[-3:]
    ]


def all_is_done(world: PromotionWorld, version: Version, story: Story, versions: list[Version]) -> None:
    """Production serves the right version, settled, and the ledger says so; nothing else is left."""
    events = world.events(version)
    number, config = served(world, version)
    assert number == serving_history.version_now(events) == story.leads_to
    assert changes.open_change(events) is None
    assert changes.unfinished(events) == []
    assert {name.removesuffix("-errors") for name in world.definitions(version.release.name)} == ({config} if config else set())
    scaling = world.autoscaling(version.endpoint)
    alarms = world.client("cloudwatch").describe_alarms(AlarmNames=[f"{version.endpoint}-no-instance", f"{config}-errors"])
    if number is None:
        assert scaling is None
        assert alarms["MetricAlarms"] == []
    else:
        assert scaling is not None and len(scaling["policies"]) == 1
        assert len(alarms["MetricAlarms"]) == 2
    status = {each.number: model_packages.read(world.client("sagemaker"), each.arn).approval_status for each in versions}
    left = {"rollback": 2, "retirement": 1}.get(story.intent)
    assert status == {each.number: "Rejected" if each.number == left else "Approved" for each in versions}


@contextmanager
def failing(aws: FakeAws, call: str, code: str, once: str) -> Iterator[None]:
    """The call fails for good, from the change of the endpoint on."""
    service, action, about = CALLS[call]
    is_changed = False

    def layer(made: dict[str, Any], answer: Callable[[], Any]) -> Any:
        nonlocal is_changed
        if is_changed and (made["service"], made["action"]) == (service, action) and about in str(made["parameters"]):
            raise client_error(action, code)
        is_changed = is_changed or made["action"] == once
        return answer()

    with virtual_time() as clock, mock.patch.multiple(aws, layer=layer, now=clock.now):
        yield
    later = clock.now() + timedelta(hours=1) - datetime.now(UTC)
    aws.now = lambda: datetime.now(UTC) + later  # a lease that could not be given back has expired


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("story", STORIES)
def test_a_lasting_fault_loses_nothing_and_another_execution_heals(
    aws_and_world: tuple[FakeAws, PromotionWorld], story: str, call: str, code: str
) -> None:
    aws, world = aws_and_world
    act = STORIES[story]
    name = world.name()
    versions = [world.version(name, autoscaling=SCALING) for _ in range(max(act.before, act.leads_to or 0))]
    for version in versions[: act.before]:
        world.serve(version)
    target = versions[-1] if act.intent == "promotion" else versions[0]
    error = None
    with failing(aws, call, code, act.once):
        try:
            world.serve(target, intent=act.intent, execution="the-first-one")
        except DeliveryError as caught:
            error = caught
    is_kept = call in OF_THE_LEDGER and act.intent != "promotion"
    ledger_tells_the_truth(world, target, strictly=call not in CANNOT_TELL and not is_kept)
    if error is None:
        assert served(world, target)[0] == act.leads_to
    else:
        assert code in str(error)
        assert error.exit_code == 1
        assert "production is untouched" not in str(error)
        if act.intent == "promotion":
            approved(world, target, "again")
    world.serve(target, intent=act.intent, execution="another-one")
    all_is_done(world, target, act, versions)
