"""Rules with a schedule start their targets when their time has come, here in virtual time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from sagemaker_local.context import Context
from sagemaker_local.events import rules, schedules
from sagemaker_local.state.store import Store

HOUR_S = 3600


class _Pattern:
    def get_pattern(self) -> dict[str, Any]:
        return {}


class _Rule:
    region_name, arn, event_pattern = "us-east-1", "arn:aws:events:us-east-1:123456789012:rule/hourly", _Pattern()

    def __init__(self, name: str, expression: str, state: str = "ENABLED") -> None:
        self.name, self.scheduled_expression, self.state = name, expression, state
        self.targets: list[dict[str, Any]] = []


class _Server:
    """As much of a `Context` as schedules need."""

    account_id = "123456789012"

    def __init__(self, store: Store, *rules: _Rule) -> None:
        self.store, self.moto, self.rules = store, self, {rule.name: rule for rule in rules}

    def regions(self, service: str) -> set[str]:
        return {"us-east-1"}

    def backend(self, service: str, region: str) -> _Server:
        return self

    def describe_event_bus(self, name: str) -> _Server:
        return self


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "state.sqlite")
    yield store
    store.close()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The events of rules that were started."""
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(schedules, "deliver", lambda context, rule, event: found.append(event))
    return found


def test_a_rule_starts_once_an_interval_after_it_was_made(store: Store, started: list[dict[str, Any]]) -> None:
    server = cast(Context, _Server(store, _Rule("hourly", "rate(1 hour)")))
    for minute in range(3 * 60 + 1):
        schedules.start_due(server, 1_000_000 + 60.0 * minute)
    assert [event["time"] - 1_000_000 for event in started] == [HOUR_S, 2 * HOUR_S, 3 * HOUR_S]
    assert (started[0]["source"], started[0]["detail-type"], started[0]["detail"]) == ("aws.events", "Scheduled Event", {})
    assert started[0]["resources"] == ["arn:aws:events:us-east-1:123456789012:rule/hourly"]


def test_what_came_due_while_no_server_ran_is_made_up_for_once(store: Store, started: list[dict[str, Any]]) -> None:
    schedules.start_due(cast(Context, _Server(store, _Rule("hourly", "rate(1 hour)"))), 0.0)
    for second in range(20):  # a server that starts on the same state a day later
        schedules.start_due(cast(Context, _Server(store, _Rule("hourly", "rate(1 hour)"))), 86_400.0 + second)
    assert [event["time"] for event in started] == [86_400.0]


def test_a_disabled_rule_does_not_start_and_a_changed_or_new_one_waits_its_interval(
    store: Store, started: list[dict[str, Any]]
) -> None:
    disabled = _Server(store, _Rule("hourly", "rate(1 hour)", "DISABLED"))
    schedules.start_due(cast(Context, disabled), 0.0)
    schedules.start_due(cast(Context, _Server(store, _Rule("hourly", "rate(2 hours)"))), 1800.0)
    schedules.start_due(cast(Context, _Server(store, _Rule("hourly", "rate(2 hours)"))), 1800.0 + HOUR_S)
    schedules.start_due(cast(Context, _Server(store)), 2 * HOUR_S)  # deleted, and made anew
    schedules.start_due(cast(Context, _Server(store, _Rule("hourly", "rate(2 hours)"))), 4 * HOUR_S)
    assert started == []
    schedules.start_due(cast(Context, _Server(store, _Rule("hourly", "rate(2 hours)"))), 6 * HOUR_S)
    assert len(started) == 1


def test_a_schedule_starts_a_pipeline_and_meets_no_event(client: Callable[[str], Any], sagemaker: Any, a_bucket: str) -> None:
    """moto takes a rule without a pattern for one that meets every event."""
    step = {"Name": "End", "Type": "Fail", "Arguments": {"ErrorMessage": "as it should"}}
    role = "arn:aws:iam::123456789012:role/tests"
    for name in ("scheduled", "other"):
        definition = json.dumps({"Version": "2020-12-01", "Steps": [step]})
        sagemaker.create_pipeline(PipelineName=name, PipelineDefinition=definition, RoleArn=role, ClientRequestToken="t" * 32)
    client("events").put_rule(Name="every-minute", ScheduleExpression="rate(1 minute)")
    target = {"Id": "1", "Arn": "arn:aws:sagemaker:us-east-1:123456789012:pipeline/scheduled", "RoleArn": role}
    client("events").put_targets(Rule="every-minute", Targets=[target])
    execution = sagemaker.start_pipeline_execution(PipelineName="other")["PipelineExecutionArn"]  # sends events
    while sagemaker.describe_pipeline_execution(PipelineExecutionArn=execution)["PipelineExecutionStatus"] == "Executing":
        pass
    client("events").put_events(Entries=[{"Source": "mine", "DetailType": "any", "Detail": "{}"}])
    assert sagemaker.list_pipeline_executions(PipelineName="scheduled")["PipelineExecutionSummaries"] == []
    client("events").remove_targets(Rule="every-minute", Ids=["1"])
    client("events").delete_rule(Name="every-minute")


def test_delivery_of_a_scheduled_event_reaches_the_pipeline(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    monkeypatch.setitem(rules._DELIVERIES, "sagemaker:pipeline", lambda *arguments: sent.append(arguments[2]["Arn"]))
    rule = _Rule("hourly", "rate(1 hour)")
    rule.targets = [{"Id": "1", "Arn": "arn:aws:sagemaker:us-east-1:123456789012:pipeline/reap"}]
    server = cast(Context, _Server(store, rule))
    schedules.start_due(server, 0.0)
    schedules.start_due(server, HOUR_S)
    assert sent == ["arn:aws:sagemaker:us-east-1:123456789012:pipeline/reap"]


@pytest.mark.parametrize(
    ("expression", "code"),
    [("cron(0 * * * ? *)", "NotImplemented"), ("rate(0 hours)", "ValidationException"), ("rate(1 hours)", "ValidationException")],
)
def test_a_schedule_that_nothing_would_start_is_refused(client: Callable[[str], Any], expression: str, code: str) -> None:
    with pytest.raises(ClientError) as refused:
        client("events").put_rule(Name="never", ScheduleExpression=expression)
    assert refused.value.response["Error"]["Code"] == code
