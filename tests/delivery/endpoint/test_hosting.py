"""Calls to SageMaker whose answers got lost."""

from __future__ import annotations

from typing import Any, cast
from unittest import mock

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from delivery.endpoint import hosting
from delivery.endpoint.hosting import Hosting


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
