"""The engine's gauges out of CloudWatch's PromQL API: what is asked, what is made of it, and answers that are none."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import pytest

from loadtest.errors import LoadTestError
from loadtest.measurement.measurement import Measurement
from loadtest.server.cloudwatch import CloudWatchMetrics

SECOND = 1_000_000_000
Values = Callable[[str, float], list[tuple[dict[str, str], float]]]
"""Gives for a metric's name and a moment, in seconds from the beginning, the labels and value of each series."""


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")


@contextmanager
def answering(answer: Callable[[dict[str, str]], tuple[int, bytes]]) -> Iterator[tuple[CloudWatchMetrics, list[Any]]]:
    """A CloudWatch that answers each form so, and the requests that came: their headers and forms."""
    asked: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = {
                name: values[0]
                for name, values in parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode()).items()
            }
            asked.append((self.path, dict(self.headers), form))
            status, body = answer(form)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield CloudWatchMetrics(f"http://127.0.0.1:{server.server_port}", "eu-west-1", "staging-m", 10), asked
    finally:
        server.shutdown()
        server.server_close()


def matrix(found: list[dict[str, Any]]) -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": found}}).encode()


def published(began_s: float, values: Values, spelt: str = ":") -> Callable[[dict[str, str]], tuple[int, bytes]]:
    """A CloudWatch with these series, under names that are spelt so."""

    def answer(form: dict[str, str]) -> tuple[int, bytes]:
        [name] = [name for name in re.findall(r'{"([^"]+)"', form["query"]) if (":" in name) == (spelt == ":")]
        series: dict[str, dict[str, Any]] = {}
        at_s = float(form["start"])
        while at_s <= float(form["end"]) + 0.001:
            for labels, value in values(name.replace("_", ":", 1) if spelt == "_" else name, max(0.0, at_s - began_s)):
                series.setdefault(json.dumps(labels), {"metric": labels, "values": []})["values"].append([at_s, str(value)])
            at_s += float(form["step"])
        return 200, matrix(list(series.values()))

    return answer


def hosts(value: float) -> list[tuple[dict[str, str], float]]:
    return [({"@resource.host.id": host, "tp_rank": rank}, value) for host in ("i-1", "i-2") for rank in ("0", "1")]


def sglang(name: str, at_s: float) -> list[tuple[dict[str, str], float]]:
    gauges = {"sglang:num_running_reqs": at_s, "sglang:token_usage": 0.5}
    if name in gauges:
        return hosts(gauges[name])
    if name == "sglang:realtime_tokens_total":
        counters = {"prefill_cache": 10 * at_s, "prefill_compute": 30 * at_s}
        return [({**labels, "mode": mode}, count) for mode, count in counters.items() for labels, _ in hosts(0)]
    return []


@pytest.mark.parametrize("spelt", [":", "_"])
def test_instances_are_put_together_on_the_time_axis_of_the_measurement(spelt: str) -> None:
    begin_ns, began_s = time.monotonic_ns() - 60 * SECOND, time.time() - 60
    measurement = Measurement(begin_ns, begin_ns + 40 * SECOND)
    with answering(published(began_s, sglang, spelt)) as (metrics, asked):
        found = metrics.measured(measurement)
    assert (found.source, found.every_s, found.note) == ("CloudWatch", 10, "")
    running = found.metrics["running_requests"]
    assert running.at_s == pytest.approx([5, 15, 25, 35], abs=0.1), "a point is the mean of the ten seconds before it is shown"
    assert running.values == pytest.approx([20, 40, 60, 80], abs=0.2), "two instances; the ranks of one count once"
    assert found.metrics["kv_cache_usage"].values == [0.5] * 4
    assert found.metrics["cache_hit_rate"].values == pytest.approx([0.25] * 4)
    path, headers, form = asked[0]
    assert path == "/api/v1/query_range"
    assert re.search(r"Credential=AKIAIOSFODNN7EXAMPLE/\d{8}/eu-west-1/monitoring/aws4_request", headers["Authorization"])
    of = '"aws.sagemaker.endpoint.name"="staging-m"'
    assert form["query"] == (
        f'avg_over_time({{"sglang:num_running_reqs",{of}}}[10s]) or avg_over_time({{"sglang_num_running_reqs",{of}}}[10s])'
    )
    assert form["step"] == "10"
    assert float(form["end"]) - float(form["start"]) == pytest.approx(40)
    assert not any("vllm" in form["query"] for _, _, form in asked), "an engine has one set of names"


def test_pauses_of_a_load_are_left_out() -> None:
    begin_ns, began_s = time.monotonic_ns() - 100 * SECOND, time.time() - 100
    measurement = Measurement(begin_ns, begin_ns + 20 * SECOND)
    measurement.extend(Measurement(begin_ns + 60 * SECOND, begin_ns + 80 * SECOND))
    with answering(published(began_s, sglang)) as (metrics, _):
        found = metrics.measured(measurement).metrics
    assert found["running_requests"].at_s == pytest.approx([5, 15, 25, 35], abs=0.1)
    assert found["running_requests"].values == pytest.approx([20, 40, 140, 160], abs=0.2)
    assert found["cache_hit_rate"].values == pytest.approx([0.25] * 4), "no rate is over a pause"


def test_where_nothing_is_published_the_note_says_why() -> None:
    with answering(lambda _: (200, matrix([]))) as (metrics, asked):
        found = metrics.measured(Measurement(0, 40 * SECOND))
    assert found.metrics == {}
    assert found.note.startswith("it has none of this endpoint: ")
    assert len(asked) == 2, "SGLang's name and vLLM's of one gauge"


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (
            403,
            b'{"Message": "not authorized to perform: cloudwatch:GetMetricData"}',
            "HTTP status 403: .*cloudwatch:GetMetricData",
        ),
        (400, b"", "HTTP status 400"),
        (200, b"<html>", "did not answer"),
        (200, b"[]", "another shape"),
        (200, b'{"data": null}', "another shape"),
        (200, matrix([{"metric": {}}]), "another shape"),
        (200, matrix([{"metric": {}, "values": [[1, "x"]]}]), "another shape"),
        (200, matrix([{"metric": [], "values": []}]), "another shape"),
    ],
)
def test_an_answer_that_is_none_is_one_error_with_its_reason(status: int, body: bytes, says: str) -> None:
    with answering(lambda _: (status, body)) as (metrics, _), pytest.raises(LoadTestError, match=says):
        metrics.measured(Measurement(0, 40 * SECOND))


def test_a_cloudwatch_that_is_not_there_is_the_same_error() -> None:
    with pytest.raises(LoadTestError, match="did not answer"):
        CloudWatchMetrics("http://127.0.0.1:9", "eu-west-1", "e", 10).measured(Measurement(0, 40 * SECOND))
