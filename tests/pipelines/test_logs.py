"""What is shown of a job's log, and of an execution that failed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest

from pipelines.commands.releases import release
from pipelines.executions.execution import Executions, ExecutionView, StepView
from pipelines.executions.logs import JobLogs

if TYPE_CHECKING:
    from types_boto3_logs import CloudWatchLogsClient


class Logs:
    """CloudWatch Logs, with the events that it has got so far."""

    class exceptions:
        ResourceNotFoundException = KeyError

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.asked = 0

    def describe_log_streams(self, **_: Any) -> dict[str, Any]:
        return {"logStreams": [{"logStreamName": "job/1"}]}

    def get_log_events(self, **_: Any) -> dict[str, Any]:
        self.asked += 1
        return {"events": [{"timestamp": index, "message": message} for index, message in enumerate(self.messages)]}


def test_a_line_that_arrives_after_the_jobs_end_is_shown() -> None:
    client = Logs()
    logs, just_now = JobLogs(cast("CloudWatchLogsClient", client)), datetime.now(UTC)
    client.messages.append("progress: 90 of 98 MB\n")
    assert logs.progress("job", just_now) == "90 of 98 MB"
    client.messages.append("progress: 98 of 98 MB\n")
    assert logs.progress("job", just_now) == "98 of 98 MB"


def test_a_job_that_ended_long_ago_is_looked_at_once() -> None:
    client = Logs()
    logs, long_ago = JobLogs(cast("CloudWatchLogsClient", client)), datetime.now(UTC) - timedelta(hours=1)
    client.messages.append("progress: done\n")
    assert [logs.progress("job", long_ago) for _ in range(3)] == ["done"] * 3
    assert client.asked == 1


@pytest.mark.parametrize(
    ("failed", "rejected", "says"),
    [
        ("RegisterModel", False, "RegisterModel failed: no such group"),
        ("NotDecided", False, "no such group\nproduction is untouched"),
        ("Failed", True, "is marked as rejected in the registry"),
    ],
)
def test_only_what_was_rejected_is_said_to_be(failed: str, rejected: bool, says: str) -> None:
    steps = [StepView("Reject", "Succeeded", job="job")] if rejected else []
    view = ExecutionView("arn", "Failed", steps=[*steps, StepView(failed, "Failed", failure="no such group")])
    message = release._failure(view, cast("Executions", None), "python -m pipelines.run model")
    assert says in message
    assert ("rejected" in message) is rejected
    assert "production is untouched" in message
