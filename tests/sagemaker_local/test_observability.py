"""Detailed observability: what containers say at /metrics is in CloudWatch's PromQL API, as "QueryMetrics" has it."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlencode

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from sagemaker_local.hosting.observability import interval_s
from sagemaker_local.testing import RunningServer
from tests.sagemaker_local.hosting_client import HostingClient
from tests.support.waiting import wait_until

PAGE = (
    "# HELP sglang:num_running_reqs The number of running requests.\n# TYPE sglang:num_running_reqs gauge\n"
    'sglang:num_running_reqs{model_name="a \\"name\\"",tp_rank="0"} 3.0\n'
    'sglang:e2e_request_latency_seconds_bucket{le="1"} 9\nsglang:e2e_request_latency_seconds_count 9\nbroken{ 1\nworse 1.2.3\nnothing NaN\n'
)


def ask(server: RunningServer, query: str, method: str = "POST", **times: Any) -> tuple[int, dict[str, Any]]:
    """Ask as any client of CloudWatch's PromQL does, signed for the service `monitoring`."""
    now = time.time()
    form = urlencode({"query": query, "start": now - 60, "end": now + 10, "step": "10s", **times})
    url = f"{server.endpoint_url}/api/v1/query_range" + (f"?{form}" if method == "GET" else "")
    headers = {"Content-Type": "application/x-www-form-urlencoded"} if method == "POST" else {}
    request = AWSRequest(method, url, data=form if method == "POST" else None, headers=headers)
    SigV4Auth(Credentials("local", "local"), "monitoring", server.region).add_auth(request)
    sent = urllib.request.Request(url, form.encode() if method == "POST" else None, dict(request.headers.items()), method=method)
    try:
        with urllib.request.urlopen(sent) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)


def series(server: RunningServer, query: str, **times: Any) -> list[dict[str, Any]]:
    status, answer = ask(server, query, **times)
    assert (status, answer["status"], answer["data"]["resultType"]) == (200, "success", "matrix"), answer
    found: list[dict[str, Any]] = answer["data"]["result"]
    return found


@pytest.fixture
def endpoint(hosting: HostingClient) -> str:
    config = {"EnableDetailedObservability": True, "MetricPublishFrequencyInSeconds": 10}
    return hosting.endpoint(instances=2, metrics=config, METRICS=PAGE)


def test_each_instance_is_scraped_with_the_labels_of_its_page_and_of_sagemaker(server: RunningServer, endpoint: str) -> None:
    query = f'{{"sglang:num_running_reqs","aws.sagemaker.endpoint.name"="{endpoint}"}}'
    found = wait_until(lambda: seen if len(seen := series(server, query)) == 2 else None, "two series")
    assert {one["values"][-1][1] for one in found} == {"3.0"}
    hosts = {one["metric"].pop("@resource.host.id") for one in found}
    assert len(hosts) == 2
    labels = {
        "__name__": "sglang:num_running_reqs",
        "model_name": 'a "name"',
        "tp_rank": "0",
        "aws.sagemaker.endpoint.name": endpoint,
        "aws.sagemaker.variant.name": "AllTraffic",
        "@resource.host.type": "ml.g5.xlarge",
    }
    assert [one["metric"] for one in found] == [labels, labels]
    assert ask(server, query, "GET")[1]["data"]["resultType"] == "matrix"
    count = f'{{__name__="sglang:e2e_request_latency_seconds_count","aws.sagemaker.endpoint.name"="{endpoint}"}}'
    assert {one["values"][-1][1] for one in series(server, count)} == {"9.0"}
    assert series(server, '{"sglang:e2e_request_latency_seconds_bucket"}') == [], "buckets are left out"
    assert series(server, '{"worse"}') == series(server, '{"broken"}') == []
    both = [
        f'{{"{name}","@resource.host.id"="{host}"}}' for host in sorted(hosts) for name in ("no_such", "sglang:num_running_reqs")
    ]
    assert len(series(server, " or ".join(both))) == 2
    over = series(server, f"avg_over_time({both[1]}[10s])", step=10)
    assert over[0]["metric"].get("__name__") is None
    assert len(over[0]["values"]) <= 2, "a sample is shown in the ten seconds after it alone"


def test_the_calls_are_those_that_iam_asks_for(server: RunningServer) -> None:
    series(server, '{"asked.for.the.log"}')

    def called() -> set[str]:
        lines = (server.state_dir / "calls.jsonl").read_text().splitlines()
        return {one["action"] for line in lines if (one := json.loads(line))["service"] == "cloudwatch"}

    wait_until(lambda: {"GetMetricData", "ListMetrics"} <= called(), "both are in the record of calls")


@pytest.mark.parametrize(
    ("query", "times"),
    [
        ("up", {}),
        ('{"a"} and {"b"}', {}),
        ('rate({"a"}[5m])', {}),
        ('sum({"a"})', {}),
        ('{"a","b"=~"c.*"}', {}),
        ('{"a"}[10s]', {}),
        ('avg_over_time({"a"})', {}),
        ('{"b"="c"}', {}),
        ("", {}),
        ('{"a"} or', {}),
        ('{"a"', {}),
        ('{"a"}', {"step": 0}),
        ('{"a"}', {"step": "x"}),
        ('{"a"}', {"end": 0}),
        ('{"a"}', {"start": 0, "step": 1}),
        ('{"a"}', {"start": "nan"}),
    ],
)
def test_what_is_not_emulated_or_wrong_is_refused_as_prometheus_does(server: RunningServer, query: str, times: Any) -> None:
    status, answer = ask(server, query, **times)
    assert (status, answer["status"], answer["errorType"]) == (400, "error", "bad_data")
    assert answer["error"]


@pytest.mark.parametrize(
    ("metrics", "seconds"),
    [
        ({}, 60),
        ({"MetricPublishFrequencyInSeconds": 30}, 30),
        ({"EnableDetailedObservability": True}, 60),
        ({"EnableDetailedObservability": False, "MetricPublishFrequencyInSeconds": 10}, None),
    ],
)
def test_it_is_on_unless_it_is_turned_off(metrics: dict[str, Any], seconds: int | None) -> None:
    assert interval_s({"MetricsConfig": metrics} if metrics else {}) == seconds
