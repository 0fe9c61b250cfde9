"""Calls to SageMaker whose answers got lost, and deleting in a role that may delete by tag."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, ParamValidationError

from delivery.endpoint import hosting
from delivery.endpoint.hosting import Hosting
from delivery.errors import DeliveryError


class Updating:
    """A SageMaker that refuses each update as one in progress; `described` are DescribeEndpoint's answers, the last one for ever."""

    def __init__(self, *described: dict[str, Any], refuse: int) -> None:
        self.described, self.refuse, self.updates = list(described), refuse, 0

    def update_endpoint(self, **_: Any) -> None:
        self.updates += 1
        if self.updates <= self.refuse:
            message = 'Cannot update in-progress endpoint "arn:aws:sagemaker:us-east-1:123456789012:endpoint/chat".'
            raise ClientError({"Error": {"Code": "ValidationException", "Message": message}}, "UpdateEndpoint")

    def describe_endpoint(self, **_: Any) -> dict[str, Any]:
        return self.described.pop(0) if len(self.described) > 1 else self.described[0]


def busy(config: str, pending: str) -> dict[str, Any]:
    summary = {"PendingDeploymentSummary": {"EndpointConfigName": pending}} if pending else {}
    return {
        "EndpointArn": "arn",
        "EndpointStatus": "Updating" if pending else "InService",
        "EndpointConfigName": config,
        **summary,
    }


def switch(sagemaker: Updating) -> int:
    """How often the lease was confirmed."""
    confirmed: list[None] = []
    Hosting(cast(Any, sagemaker), cast(Any, None)).switch(
        "chat", "new", {}, keep_counts=False, before_each_try=lambda: confirmed.append(None)
    )
    return len(confirmed)


@pytest.mark.parametrize("described", [busy("old", pending="new"), busy("new", pending="")], ids=["under way", "over"])
def test_an_update_that_was_accepted_and_never_answered_is_not_asked_for_again(described: dict[str, Any]) -> None:
    sagemaker = Updating(described, refuse=99)
    switch(sagemaker)
    assert sagemaker.updates == 1


def test_somebody_elses_update_is_waited_for_and_the_lease_confirmed_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosting, "_QUICK_POLL_S", 0.0)
    sagemaker = Updating(busy("old", pending="another"), busy("old", pending=""), refuse=2)
    assert switch(sagemaker) == sagemaker.updates == 3


def test_logs_that_cannot_be_had_hide_no_reason() -> None:
    unreachable = mock.Mock(side_effect=ConnectionClosedError(endpoint_url="https://logs"))
    logs = mock.Mock(
        describe_log_streams=mock.Mock(return_value={"logStreams": [{"logStreamName": "one"}]}), get_log_events=unreachable
    )
    assert Hosting(cast(Any, None), logs).recent_logs("chat") == "; its container wrote nothing"


def refusal(code: str, message: str, action: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, action)


class ByTag:
    """A SageMaker where a role may delete what carries a tag: what is not there carries none, and deleting it is denied."""

    def __init__(self, *there: str, maker: str = "e1") -> None:
        self.there, self.maker, self.deleted = set(there), maker, list[str]()

    def describe_endpoint(self, **_: Any) -> dict[str, Any]:
        return self._described("endpoint") | busy("staging-a", pending="")

    def describe_endpoint_config(self, **_: Any) -> dict[str, Any]:
        return self._described("config") | {"ProductionVariants": [{"ModelName": "staging-a"}]}

    def describe_model(self, **_: Any) -> dict[str, Any]:
        return self._described("model")

    def delete_endpoint(self, **_: Any) -> None:
        self._delete("endpoint", "DeleteEndpoint")

    def delete_endpoint_config(self, **_: Any) -> None:
        self._delete("config", "DeleteEndpointConfig")

    def delete_model(self, **_: Any) -> None:
        self._delete("model", "DeleteModel")

    def create_model(self, **_: Any) -> None:
        self._create("model", "CreateModel")

    def create_endpoint_config(self, **_: Any) -> None:
        self._create("config", "CreateEndpointConfig")

    def create_endpoint(self, **_: Any) -> None:
        self._create("endpoint", "CreateEndpoint")

    def list_tags(self, **_: Any) -> dict[str, Any]:
        return {"Tags": [{"Key": "release:execution", "Value": self.maker}] if self.maker else []}

    def _described(self, kind: str) -> dict[str, Any]:
        if kind not in self.there:
            raise refusal("ValidationException", f'Could not find {kind} "arn".', "Describe")
        return {}

    def _delete(self, kind: str, action: str) -> None:
        if kind not in self.there:
            raise refusal("AccessDeniedException", f"not authorized to perform {action}", action)
        self.there.remove(kind)
        self.deleted.append(kind)

    def _create(self, kind: str, action: str) -> None:
        if kind in self.there:
            raise refusal("ValidationException", f"Cannot create already existing {kind}", action)
        self.there.add(kind)


def of(sagemaker: ByTag) -> Hosting:
    return Hosting(cast(Any, sagemaker), cast(Any, None))


@pytest.mark.parametrize(
    ("there", "deleted"),
    [
        ([], []),
        (["model"], ["model"]),
        (["config", "model"], ["config", "model"]),
        (["endpoint", "config", "model"], ["endpoint", "config", "model"]),
    ],
)
def test_what_was_not_made_is_not_deleted(there: list[str], deleted: list[str]) -> None:
    """CreateModel refused, for one: deleting the model then would be denied, and hide why it was refused."""
    sagemaker = ByTag(*there)
    of(sagemaker).remove("staging-a")
    assert sagemaker.deleted == deleted
    assert sagemaker.there == set()


def deployment() -> Any:
    return SimpleNamespace(name="staging-a", execution="e1", tags=[], model_request=dict, config_request=dict)


@pytest.mark.parametrize("there", [[], ["model"], ["model", "config"], ["model", "config", "endpoint"]])
def test_whatever_answer_got_lost_the_next_try_makes_the_rest(there: list[str]) -> None:
    sagemaker = ByTag(*there)
    of(sagemaker).create("staging-a", deployment())
    assert sagemaker.there == {"model", "config", "endpoint"}


class WithoutMetrics(ByTag):
    """A SageMaker that takes no detailed observability."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error, self.asked = error, list[dict[str, Any]]()

    def create_endpoint_config(self, **request: Any) -> None:
        self.asked.append(request)
        if "MetricsConfig" in request:
            raise self.error
        self._create("config", "CreateEndpointConfig")


METRICS: dict[str, Any] = {"EndpointConfigName": "staging-a", "MetricsConfig": {"EnableDetailedObservability": True}}


@pytest.mark.parametrize(
    "error",
    [
        refusal("ValidationException", "Detailed observability (MetricsConfig) is not supported in this Region", "Create"),
        ParamValidationError(report='Unknown parameter in input: "MetricsConfig", must be one of: EndpointConfigName, …'),
    ],
)
def test_metrics_that_are_refused_cost_no_endpoint(error: Exception) -> None:
    sagemaker, wanted = WithoutMetrics(error), deployment()
    wanted.config_request = lambda: METRICS
    of(sagemaker).create("staging-a", wanted)
    assert sagemaker.there == {"model", "config", "endpoint"}
    assert sagemaker.asked == [METRICS, {"EndpointConfigName": "staging-a"}]


def test_another_refusal_of_the_config_is_one(caplog: pytest.LogCaptureFixture) -> None:
    sagemaker, wanted = WithoutMetrics(refusal("ValidationException", "no such instance type", "Create")), deployment()
    wanted.config_request = lambda: METRICS
    with pytest.raises(DeliveryError, match="no such instance type"):
        of(sagemaker).create("staging-a", wanted)
    assert len(sagemaker.asked) == 1


@pytest.mark.parametrize(("maker", "who"), [("e2", "e2"), ("", "somebody else")])
def test_an_endpoint_that_another_made_at_the_same_moment_is_not_taken_for_ours(maker: str, who: str) -> None:
    with pytest.raises(DeliveryError, match=f"the endpoint chat was made at the same moment by {who}, not by e1; delete it"):
        of(ByTag("endpoint", maker=maker)).create("chat", deployment())


class NoAnswer(ByTag):
    """A SageMaker whose answers to CreateEndpoint all get lost; `applied` says whether the requests do, too."""

    def __init__(self, *, applied: bool, maker: str = "e1") -> None:
        super().__init__(maker=maker)
        self.applied = applied

    def create_endpoint(self, **_: Any) -> None:
        if self.applied:
            self.there.add("endpoint")
        raise ConnectionClosedError(endpoint_url="https://sagemaker")


def test_an_endpoint_whose_making_is_never_answered_is_made() -> None:
    of(NoAnswer(applied=True)).create("chat", deployment())


@pytest.mark.parametrize(
    "sagemaker", [NoAnswer(applied=False), NoAnswer(applied=True, maker="e2")], ids=["not made", "another's"]
)
def test_an_endpoint_that_was_not_made_here_is_an_error(sagemaker: NoAnswer) -> None:
    with pytest.raises(DeliveryError, match="could not create the endpoint chat: Connection was closed"):
        of(sagemaker).create("chat", deployment())
