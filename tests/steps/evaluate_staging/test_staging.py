"""The staging endpoint on an AWS of this process: why it could not be made comes first, and it expires by SageMaker's clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_aws.shapes import client_error
from tests.support.worlds.evaluation_on_fakes import FakeEvaluationWorld, Fault, denied

NAME = "staging-sim-v1-ution001"
NO_DATA = "Could not access model data at s3://release-local/weights/. Please ensure that the role has permission"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def world(tmp_path: Path) -> FakeEvaluationWorld:
    return FakeEvaluationWorld(tmp_path)


def refused(action: str) -> Fault:
    return Fault(action, client_error(action, "ValidationException", NO_DATA))


def deletes(world: FakeEvaluationWorld) -> list[str]:
    return [call["action"] for call in world.aws.calls if call["action"].startswith("Delete")]


@pytest.mark.parametrize(
    ("action", "thing", "deleted"),
    [
        ("CreateModel", "the model", []),
        ("CreateEndpointConfig", "the endpoint config", ["DeleteModel"]),
        ("CreateEndpoint", "the endpoint", ["DeleteEndpointConfig", "DeleteModel"]),
    ],
)
def test_what_was_not_made_is_not_deleted(world: FakeEvaluationWorld, action: str, thing: str, deleted: list[str]) -> None:
    """A role that may delete by tag is denied what is not there; that was shown in place of the refusal."""
    ended = world.run("execution001", refused(action))
    assert ended.exit_code == 1, ended.text
    assert ended.message.startswith(f"could not create {thing} {NAME}: ")
    assert NO_DATA in ended.message
    assert "could not be deleted" not in ended.message
    assert deletes(world) == deleted


@pytest.mark.parametrize("clean_up", ["DescribeEndpoint", "DescribeEndpointConfig", "DescribeModel", "DeleteModel"])
def test_what_fails_in_the_clean_up_stands_behind_the_cause(world: FakeEvaluationWorld, clean_up: str) -> None:
    action = "CreateModel" if clean_up == "DescribeModel" else "CreateEndpointConfig"
    before = {"DescribeEndpoint": 2, "DescribeEndpointConfig": 1}.get(clean_up, 0)  # looks before anything is made
    ended = world.run("execution001", refused(action), Fault(clean_up, denied(clean_up), range(before, 99)))
    assert ended.exit_code == 1, ended.text
    cause, _, behind = ended.message.partition(f"; the staging endpoint {NAME} could not be deleted")
    assert NO_DATA in cause
    assert f"not authorized to perform {clean_up}" in behind


def test_where_nobody_may_look_nothing_was_made_and_nothing_is_deleted(world: FakeEvaluationWorld) -> None:
    ended = world.run("execution001", Fault("DescribeEndpoint", denied("DescribeEndpoint"), range(1, 99)))
    assert ended.message.startswith(f"could not look at the endpoint {NAME}: ")
    assert "could not be deleted" not in ended.message
    assert deletes(world) == []


@pytest.mark.parametrize("skew", [timedelta(hours=-1), timedelta(), timedelta(hours=1)])
def test_it_expires_by_sagemakers_clock(world: FakeEvaluationWorld, skew: timedelta, monkeypatch: pytest.MonkeyPatch) -> None:
    class Skewed(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return NOW + skew

    monkeypatch.setattr("delivery.aws.clock.datetime", Skewed)
    world.aws.now = lambda: NOW
    world.run("execution001")
    [request] = [call["parameters"] for call in world.aws.calls if call["action"] == "CreateEndpoint"]
    [expiry] = [tag["Value"] for tag in request["Tags"] if tag["Key"] == "release:expires-at"]
    late_s = datetime.fromisoformat(expiry) - NOW - timedelta(seconds=world.release.model.evaluation.max_runtime_s)
    assert abs(late_s) < timedelta(minutes=5)
