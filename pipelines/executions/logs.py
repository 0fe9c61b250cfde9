"""The newest progress line of a processing job, from CloudWatch Logs: the same on AWS and on this machine."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

_GROUP = "/aws/sagemaker/ProcessingJobs"
_MARK = "progress: "
_NEWEST = 100
_LATE_S = 60.0  # how long after a job's end its last lines may still be on their way to CloudWatch Logs


class JobLogs:
    """Reads job logs; remembers what finished jobs said last."""

    def __init__(self, client: Any) -> None:
        """`client` is a boto3 logs client."""
        self._client = client
        self._said: dict[str, str] = {}

    def progress(self, job: str, ended: datetime | None) -> str:
        """What the job said last with `delivery.job.frame.progress`, empty when it has not yet.

        `ended` is when the job was over, None while it runs. A minute after it nothing new is expected, and what was found is kept.
        """
        if job in self._said:
            return self._said[job]
        found = self._look(job)
        if ended is not None and (datetime.now(UTC) - ended).total_seconds() > _LATE_S:
            self._said[job] = found
        return found

    def tail(self, job: str, lines: int) -> list[str]:
        """The last lines of the job's log, without those that only say how far it was."""
        messages = [event["message"].rstrip("\n") for event in self._events(job)]
        return [message for message in messages if not message.startswith(_MARK)][-lines:]

    def _look(self, job: str) -> str:
        for event in reversed(self._events(job)):
            if event["message"].startswith(_MARK):
                return str(event["message"].removeprefix(_MARK).strip())
        return ""

    def _events(self, job: str) -> list[dict[str, Any]]:
        try:
            streams = self._client.describe_log_streams(logGroupName=_GROUP, logStreamNamePrefix=f"{job}/")["logStreams"]
        except self._client.exceptions.ResourceNotFoundException:
            return []  # no job of this account has written a line yet
        events: list[dict[str, Any]] = []
        for stream in streams:
            events += self._client.get_log_events(
                logGroupName=_GROUP, logStreamName=stream["logStreamName"], limit=_NEWEST, startFromHead=False
            )["events"]
        return sorted(events, key=lambda event: event["timestamp"])
