"""One pass of the reaper on a fake: what may not be read or deleted keeps none of the others, and the clock is SageMaker's."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from delivery.errors import DeliveryError
from steps.reap import step
from steps.reap.models import ReapArguments

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ACCOUNT = "arn:aws:sagemaker:us-east-1:123456789012"
KINDS = {"endpoint": "Endpoints", "endpoint-config": "EndpointConfigs", "model": "Models"}
MEMBERS = {"endpoint": "Endpoint", "endpoint-config": "EndpointConfig", "model": "Model"}


def denied(action: str) -> ClientError:
    return ClientError({"Error": {"Code": "AccessDeniedException", "Message": "not authorized"}}, action)


@dataclass
class FakeSageMaker:
    """What is called `staging-…`, each with tags; `refuse` is asked before each call with its action and what it is about."""

    now: datetime = NOW
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    """By `KIND/NAME`."""
    executions: dict[str, str] = field(default_factory=dict)
    refuse: Callable[[str, str], Exception | None] = lambda action, of: None
    calls: list[tuple[str, str]] = field(default_factory=list)

    def stage(self, name: str, expires: timedelta, execution: str = "e1") -> None:
        """Make an endpoint, its config and its model."""
        for kind in KINDS:
            self.tags[f"{kind}/{name}"] = {
                "release:model": "chat",
                "release:execution": execution,
                "release:expires-at": (NOW + expires).isoformat(timespec="seconds"),
            }

    def get_paginator(self, operation: str) -> Any:
        return SimpleNamespace(paginate=lambda **request: self._pages(operation, **request))

    def _pages(self, operation: str, ResourceArn: str = "", **_: Any) -> Iterator[dict[str, Any]]:
        if operation == "list_tags":
            resource = ResourceArn.removeprefix(f"{ACCOUNT}:")
            self._call("ListTags", resource)
            yield {"Tags": [{"Key": key, "Value": value} for key, value in self.tags[resource].items()], **self._metadata()}
            return
        kind = operation.removeprefix("list_").removesuffix("s").replace("_", "-")
        self._call(operation, kind)
        names = [name.split("/")[1] for name in self.tags if name.startswith(f"{kind}/")]
        member = MEMBERS[kind]
        listed = [{f"{member}Name": name, f"{member}Arn": f"{ACCOUNT}:{kind}/{name}"} for name in names]
        yield {KINDS[kind]: listed, **self._metadata()}

    def describe_pipeline_execution(self, PipelineExecutionArn: str) -> dict[str, Any]:
        execution = PipelineExecutionArn.rsplit("/", 1)[1]
        self._call("DescribePipelineExecution", execution)
        if (
            known := self.executions.get(execution, self.executions.get("/".join(PipelineExecutionArn.split("/")[1::2])))
        ) is None:
            error: Any = {"Error": {"Code": "ResourceNotFound", "Message": "no such execution"}}
            raise ClientError(error, "DescribePipelineExecution")
        return {"PipelineExecutionStatus": known}

    def delete_endpoint(self, EndpointName: str) -> None:
        self._delete(f"endpoint/{EndpointName}")

    def delete_endpoint_config(self, EndpointConfigName: str) -> None:
        self._delete(f"endpoint-config/{EndpointConfigName}")

    def delete_model(self, ModelName: str) -> None:
        self._delete(f"model/{ModelName}")

    def _delete(self, resource: str) -> None:
        self._call("Delete", resource)
        del self.tags[resource]

    def _call(self, action: str, of: str) -> None:
        self.calls.append((action, of))
        if error := self.refuse(action, of):
            raise error

    def _metadata(self) -> dict[str, Any]:
        return {"ResponseMetadata": {"HTTPHeaders": {"date": format_datetime(self.now, usegmt=True)}}}


@pytest.fixture
def sagemaker() -> Iterator[FakeSageMaker]:
    fake = FakeSageMaker()
    with mock.patch("boto3.client", return_value=fake):
        yield fake


def refusing(*refused: tuple[str, str]) -> Callable[[str, str], Exception | None]:
    """Deny these actions on these."""
    return lambda action, of: denied(action) if (action, of) in refused else None


EXPIRED, ALIVE = timedelta(seconds=-1), timedelta(hours=1)


@pytest.mark.parametrize(
    ("refused", "left", "says"),
    [
        pytest.param(
            ("ListTags", "endpoint/staging-a"),
            {"endpoint/staging-a", "endpoint-config/staging-a", "model/staging-a"},
            r"^1 could not be read, and may have outlived their run \(endpoint staging-a\): could not read the tags of .*AccessDenied",
            id="tags of the first endpoint",
        ),
        pytest.param(
            ("ListTags", "endpoint-config/staging-a"),
            {"endpoint-config/staging-a", "model/staging-a"},
            r"^1 could not be read.*\(endpoint-config staging-a\)",
            id="tags of a config",
        ),
        pytest.param(("ListTags", "model/staging-c"), {"model/staging-c"}, r"\(model staging-c\)", id="tags of the last model"),
        pytest.param(
            ("Delete", "endpoint/staging-b"),
            {"endpoint/staging-b", "endpoint-config/staging-b", "model/staging-b"},
            r"^1 of 9 could not be deleted \(endpoint staging-b\): .*AccessDenied",
            id="deletion",
        ),
        pytest.param(
            ("list_models", "model"),
            {"model/staging-a", "model/staging-b", "model/staging-c"},
            r"^1 could not be read.*\(every model\): could not list every model",
            id="listing of the last kind",
        ),
        pytest.param(
            ("list_endpoint_configs", "endpoint-config"),
            {"endpoint-config/staging-a", "endpoint-config/staging-b", "endpoint-config/staging-c"},
            r"\(every endpoint-config\)",
            id="listing of configs",
        ),
    ],
)
def test_what_is_refused_keeps_none_of_the_others(
    sagemaker: FakeSageMaker, refused: tuple[str, str], left: set[str], says: str
) -> None:
    for name in ("staging-a", "staging-b", "staging-c"):
        sagemaker.stage(name, EXPIRED)
    sagemaker.refuse = refusing(refused)
    with pytest.raises(DeliveryError, match=says):
        step.run(ReapArguments("us-east-1"))
    assert set(sagemaker.tags) == left


def test_nothing_is_deleted_behind_endpoints_that_cannot_be_listed(sagemaker: FakeSageMaker) -> None:
    sagemaker.stage("staging-a", EXPIRED)
    sagemaker.refuse = refusing(("list_endpoints", "endpoint"))
    with pytest.raises(DeliveryError, match=r"\(every endpoint\)"):
        step.run(ReapArguments("us-east-1"))
    assert len(sagemaker.tags) == 3


def test_a_listing_that_fails_once_keeps_nothing(sagemaker: FakeSageMaker) -> None:
    sagemaker.stage("staging-a", EXPIRED)
    sagemaker.refuse = lambda action, of: denied(action) if len(sagemaker.calls) == 1 else None
    step.run(ReapArguments("us-east-1"))
    assert sagemaker.tags == {}


def test_a_service_that_answers_nobody_is_said_and_not_a_traceback(sagemaker: FakeSageMaker) -> None:
    sagemaker.stage("staging-a", EXPIRED)
    sagemaker.refuse = lambda action, of: EndpointConnectionError(endpoint_url="https://api") if action == "ListTags" else None
    with pytest.raises(DeliveryError, match=r"3 could not be read.*Could not connect"):
        step.run(ReapArguments("us-east-1"))


@pytest.mark.parametrize("error", [denied("DescribePipelineExecution"), EndpointConnectionError(endpoint_url="https://api")])
def test_an_execution_that_may_not_be_read_leaves_its_expiry(
    sagemaker: FakeSageMaker, error: Exception, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing past its expiry is left, so the pass is no failure; it says what it could not read all the same."""
    sagemaker.stage("staging-alive", ALIVE, execution="hidden")
    sagemaker.stage("staging-expired", EXPIRED, execution="hidden")
    sagemaker.stage("staging-over", ALIVE, execution="over")
    sagemaker.executions["over"] = "Failed"
    sagemaker.refuse = lambda action, of: error if of == "hidden" else None
    with caplog.at_level(logging.WARNING):
        step.run(ReapArguments("us-east-1", output=tmp_path))
    assert {name.split("/")[1] for name in sagemaker.tags} == {"staging-alive"}
    [message] = caplog.messages
    assert "pipeline/release-chat/execution/hidden" in message
    told = json.loads((tmp_path / "reaped.json").read_text())
    assert [(one["kind"], one["name"].rsplit("/", 1)[1]) for one in told["unread"]] == [("execution", "hidden")]
    assert sagemaker.calls.count(("DescribePipelineExecution", "hidden")) == 1, "it is asked once"


def test_what_an_evaluation_of_its_own_left_is_deleted_when_that_is_over(sagemaker: FakeSageMaker) -> None:
    sagemaker.stage("staging-again", ALIVE, execution="again")
    sagemaker.executions["evaluate-chat/again"] = "Executing"
    step.run(ReapArguments("us-east-1"))
    assert len(sagemaker.tags) == 3
    sagemaker.executions["evaluate-chat/again"] = "Failed"
    step.run(ReapArguments("us-east-1"))
    assert not sagemaker.tags


@pytest.mark.parametrize("skew", [timedelta(hours=-2), timedelta(hours=-1), timedelta(), timedelta(hours=1), timedelta(hours=2)])
def test_what_has_expired_is_told_by_sagemakers_clock(
    sagemaker: FakeSageMaker, skew: timedelta, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Skewed(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return NOW + skew

    monkeypatch.setattr(step, "datetime", Skewed)
    monkeypatch.setattr("delivery.aws.clock.datetime", Skewed)
    sagemaker.stage("staging-past", timedelta(minutes=-5))
    sagemaker.stage("staging-to-come", timedelta(minutes=5))
    sagemaker.executions["e1"] = "Executing"
    done = step.run(ReapArguments("us-east-1", output=tmp_path))
    assert {name.split("/")[1] for name in sagemaker.tags} == {"staging-to-come"}
    assert datetime.fromisoformat(done.at) - NOW < timedelta(minutes=1)
