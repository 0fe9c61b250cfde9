"""Logs of containers, through CloudWatch Logs' API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sagemaker_local.testing import RunningServer, running
from tests.sagemaker_local.hosting_client import ROLE
from tests.support.waiting import wait_until

GROUP = "/aws/sagemaker/ProcessingJobs"


def run_job(server: RunningServer, name: str) -> None:
    sagemaker = server.client("sagemaker")
    sagemaker.create_processing_job(
        ProcessingJobName=name,
        ProcessingResources={"ClusterConfig": {"InstanceCount": 2, "InstanceType": "ml.t3.medium", "VolumeSizeInGB": 1}},
        AppSpecification={"ImageUri": "counting"},
        RoleArn=ROLE,
    )
    wait_until(lambda: sagemaker.describe_processing_job(ProcessingJobName=name)["ProcessingJobStatus"] == "Completed", name)


def messages(answer: dict[str, Any]) -> list[str]:
    return [event["message"] for event in answer["events"]]


def test_what_containers_write_can_be_paged_filtered_and_found_after_a_restart(tmp_path: Path) -> None:
    images = tmp_path / "images.yaml"
    images.write_text(json.dumps({"images": [{"match": "*", "command": ["/bin/sh", "-c", "seq 1 25; echo the end"]}]}))
    with running(tmp_path / "state", images) as server:
        run_job(server, "first")
        run_job(server, "second")
    with running(tmp_path / "state", images) as server:
        logs = server.client("logs")
        streams = logs.describe_log_streams(logGroupName=GROUP, logStreamNamePrefix="first/")["logStreams"]
        assert [stream["logStreamName"].split("-")[1] for stream in streams] == ["1", "2"], "a stream for each instance"
        newest = logs.describe_log_streams(logGroupName=GROUP, orderBy="LastEventTime", descending=True, limit=1)
        assert newest["logStreams"][0]["logStreamName"].startswith("second/")
        assert newest["nextToken"]
        where = {"logGroupName": GROUP, "logStreamName": streams[0]["logStreamName"]}
        forward = logs.get_log_events(**where, startFromHead=True, limit=20)
        rest = logs.get_log_events(**where, startFromHead=True, limit=20, nextToken=forward["nextForwardToken"])
        assert messages(forward) + messages(rest) == [*map(str, range(1, 26)), "the end"]
        end = logs.get_log_events(**where, startFromHead=True, nextToken=rest["nextForwardToken"])
        assert (messages(end), end["nextForwardToken"]) == ([], rest["nextForwardToken"])
        tail = logs.get_log_events(**where, limit=2)
        before = logs.get_log_events(**where, limit=2, nextToken=tail["nextBackwardToken"])
        assert (messages(tail), messages(before)) == (["25", "the end"], ["23", "24"])
        assert streams[0]["lastEventTimestamp"] >= tail["events"][0]["timestamp"]
        pages = logs.get_paginator("filter_log_events").paginate(
            logGroupName=GROUP, filterPattern="end", PaginationConfig={"PageSize": 3}
        )
        found = [event for page in pages for event in page["events"]]
        assert [event["message"] for event in found] == ["the end"] * 4
        assert len({event["logStreamName"] for event in found}) == 4
        assert logs.describe_log_groups(logGroupNamePrefix=GROUP)["logGroups"][0]["logGroupName"] == GROUP
        with pytest.raises(ClientError, match=r"NotImplemented.*StartQuery"):
            logs.start_query(logGroupName=GROUP, startTime=0, endTime=1, queryString="fields @message")
        for missing in ({**where, "logStreamName": "none"}, {**where, "logGroupName": "none"}):
            with pytest.raises(ClientError, match="ResourceNotFoundException"):
                logs.get_log_events(**missing)
        logs.delete_log_group(logGroupName=GROUP)
        with pytest.raises(ClientError, match="ResourceNotFoundException"):
            logs.describe_log_streams(logGroupName=GROUP)


def test_a_containers_group_takes_a_clients_own_events_too(server: RunningServer, hosting: Any) -> None:
    logs, endpoint = server.client("logs"), hosting.endpoint()
    where = {"logGroupName": f"/aws/sagemaker/Endpoints/{endpoint}", "logStreamName": "own"}
    logs.create_log_stream(**where)
    with pytest.raises(ClientError, match="ResourceAlreadyExistsException"):
        logs.create_log_stream(**where)
    now = 1_800_000_000_000
    logs.put_log_events(**where, logEvents=[{"timestamp": now, "message": "hello"}])
    assert messages(logs.get_log_events(**where, startTime=now, endTime=now + 1)) == ["hello"]
    assert messages(logs.get_log_events(**where, startTime=now + 1)) == []
    logs.delete_log_stream(**where)
    names = [stream["logStreamName"] for stream in logs.describe_log_streams(logGroupName=where["logGroupName"])["logStreams"]]
    assert "own" not in names
    assert len(names) == 1
