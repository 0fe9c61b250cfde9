"""The newest progress line of a processing job, from CloudWatch Logs: the same on AWS and on this machine."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the stubs are a dev dependency
    from types_boto3_logs import CloudWatchLogsClient
    from types_boto3_logs.type_defs import OutputLogEventTypeDef

_GROUP = "/aws/sagemaker/ProcessingJobs"
_MARK = "progress: "
_NEWEST = 100
_LATE_S = 60.0  # how long after a job's end its last lines may still be on their way to CloudWatch Logs


class JobLogs:
    """Reads job logs; remembers the last progress line of jobs that are over."""

    def __init__(self, client: CloudWatchLogsClient) -> None:
        self._client = client
        self._final: dict[str, str] = {}

    def progress(self, job: str, ended: datetime | None) -> str:
        """Return the job's last progress line (`delivery.job.frame.progress`), empty when it has none yet.

        `ended` is when the job was over, None while it runs. A minute after it nothing new is expected, and what was found is kept.
        """
        if job in self._final:
            return self._final[job]
        found = self._newest(job)
        if ended is not None and (datetime.now(UTC) - ended).total_seconds() > _LATE_S:
            self._final[job] = found
        return found

    def tail(self, job: str, lines: int) -> list[str]:
        """Return the last lines of the job's log, without those that only say how far it was."""
        messages = [event["message"].rstrip("\n") for event in self._events(job)]
        return [message for message in messages if not message.startswith(_MARK)][-lines:]

    def _newest(self, job: str) -> str:
        for event in reversed(self._events(job)):
            if event["message"].startswith(_MARK):
                return event["message"].removeprefix(_MARK).strip()
        return ""

    def _events(self, job: str) -> list[OutputLogEventTypeDef]:
        try:
            streams = self._client.describe_log_streams(logGroupName=_GROUP, logStreamNamePrefix=f"{job}/")["logStreams"]
        except self._client.exceptions.ResourceNotFoundException:
            return []  # no job of this account has written a line yet
        events: list[OutputLogEventTypeDef] = []
        for stream in streams:
            events += self._client.get_log_events(
                logGroupName=_GROUP, logStreamName=stream["logStreamName"], limit=_NEWEST, startFromHead=False
            )["events"]
        return sorted(events, key=lambda event: event["timestamp"])
