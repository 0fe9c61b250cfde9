"""The server beside the client: its gauges are sampled while a load is on, and whatever its page does, the load is judged as without it."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from loadtest import InvalidInput, LoadTestReport, OpenAITransport, measure
from loadtest.__main__ import main
from loadtest.measurement.measurement import Measurement
from loadtest.measurement.models import ServerMetrics
from loadtest.profiles import LoadProfile
from loadtest.server.page import PAGE_BYTES, metrics_address
from loadtest.server.sampler import MetricsSampler
from loadtest.server.series import POINTS, summarize
from tests.support.metrics_server import Answer, head, page, serving_metrics
from tests.support.simulated_engine import simulated
from tests.support.waiting import wait_until

SECOND = 1_000_000_000
PROFILE: dict[str, Any] = {
    "kind": "closed_loop",
    "concurrency": 8,
    "prompt_tokens": 24,
    "output_tokens": 40,
    "warmup_s": 0.5,
    "duration_s": 3,
    "objectives": {"error_rate": {"at_most": 0.0}},
}
CALM = ("--lag-at-most-ms", "10000", "--processes", "1", "--quiet")
ENGINE = ("--max-running-requests", "4", "--sim-ttft-ms", "20", "--sim-itl-ms", "10")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with simulated(tmp_path_factory.mktemp("engine"), *ENGINE, "--enable-metrics", "--max-total-tokens", "1000") as started:
        yield started


def put_on(url: str, metrics_url: str | None, **changes: Any) -> LoadTestReport:
    profile = TypeAdapter[Any](LoadProfile).validate_python(PROFILE | changes)
    report, _ = measure(
        OpenAITransport(url, model="m"), {"load": profile}, processes=1, lag_at_most_ms=10_000, metrics_url=metrics_url
    )
    return report


def server_of(report: LoadTestReport) -> ServerMetrics:
    found = report.profiles["load"].server
    assert found is not None
    return found


def test_four_of_eight_clients_run_and_four_wait(url: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """As a user has it, without a word about metrics: the page is at the server's root."""
    given = ["--url", url, "--model", "m", "--profile", json.dumps(PROFILE), "--out", str(tmp_path), *CALM]
    assert main(given) == 0
    shown = capsys.readouterr().out
    line = re.search(r"^  server, on average: (.*)$", shown, re.MULTILINE)
    assert line is not None, shown
    told = dict(re.findall(r"(\w[\w ]+?) ([\d.]+)%? \(at most [\d.]+%?\)", line[1]))
    assert 2 < float(told["running requests"]) <= 4  # 4 and 4, where the clients have the processor that they want
    assert 1 < float(told["queued requests"]) <= 4.5
    found = server_of(
        LoadTestReport.model_validate_json((tmp_path / "report.json").read_bytes().replace(b'"profile"', b'"load"'))
    )
    assert (found.source, found.note) == (url.removesuffix("/v1") + "/metrics", "")
    assert {name: metric.unit for name, metric in found.metrics.items()} == {
        "running_requests": "requests",
        "queued_requests": "requests",
        "kv_cache_usage": "share",
        "cache_hit_rate": "share",
    }
    usage = found.metrics["kv_cache_usage"]
    assert 4 * 24 / 1000 * 0.4 < usage.mean < 4 * (24 + 40) / 1000 * 1.2, "prompts of 24 tokens, and up to 40 of each answer"
    assert found.metrics["cache_hit_rate"].max == 0
    for metric in found.metrics.values():
        assert all(0 <= at_s <= 3 for at_s in metric.at_s)
        assert metric.at_s == sorted(metric.at_s)


def test_the_samples_are_what_the_page_said_and_when(url: str) -> None:
    began = time.monotonic()

    def gauges(_: int) -> str:
        now = time.monotonic() - began
        return f"sglang:num_running_reqs {now:.6f}\nsglang:token_usage {min(1.0, now / 100):.6f}\n"

    with serving_metrics(page(gauges)) as server:
        found = server_of(put_on(url, server.url))
        assert all(request.startswith(b"GET /metrics HTTP/1.1\r\n") for request in server.requests)
        assert not any(b"authorization" in request.lower() or b"cookie" in request.lower() for request in server.requests)
    running = found.metrics["running_requests"]
    begins = [value - at_s for at_s, value in zip(running.at_s, running.values, strict=True)]
    assert len(begins) >= 2
    assert max(begins) - min(begins) < 0.5, "the page's clock and the axis go alike"
    assert found.metrics["kv_cache_usage"].values == pytest.approx([value / 100 for value in running.values], abs=1e-3)
    assert running.max == max(running.values)


def measured(*windows_s: tuple[float, float]) -> Measurement:
    made = Measurement(*(int(one * SECOND) for one in windows_s[0]))
    for begin_s, end_s in windows_s[1:]:
        made.extend(Measurement(int(begin_s * SECOND), int(end_s * SECOND)))
    return made


def test_pauses_are_left_out_as_they_are_of_the_clients_numbers() -> None:
    samples = [(int(at_s * SECOND), {"queued_requests": at_s}) for at_s in (0.5, 1.5, 2.5, 3.5, 4.5, 5.5)]
    found = summarize(samples, measured((1, 3), (5, 6)), "here", 1.0).metrics["queued_requests"]
    assert (found.at_s, found.values, found.max) == ([0.5, 1.5, 2.5], [1.5, 2.5, 5.5], 5.5)
    assert found.mean == pytest.approx(9.5 / 3, abs=1e-5)


def test_ten_hours_are_kept_in_six_hundred_points_with_the_mean_and_the_largest_of_all() -> None:
    hours = 36_000
    samples = [(number * SECOND, {"queued_requests": 7000.0 if number == 20_000 else number % 10}) for number in range(hours)]
    found = summarize(samples, measured((0, hours)), "here", 1.0).metrics["queued_requests"]
    assert len(found.values) == len(found.at_s) == POINTS
    assert found.max == 7000
    assert found.mean == pytest.approx(4.5 + 7000 / hours, rel=1e-3)
    assert found.at_s[:2] == [29.5, 89.5], "each point is the mean of a minute"
    assert found.values[0] == 4.5
    assert len(found.model_dump_json()) < 12_000


def test_nothing_is_asked_where_that_is_said_and_no_default_is_behind_a_sagemaker_endpoint(url: str, tmp_path: Path) -> None:
    short = json.dumps(PROFILE | {"duration_s": 0.5, "warmup_s": 0})
    assert main(["--url", url, "--model", "m", "--profile", short, "--metrics-url", "none", "--out", str(tmp_path), *CALM]) == 0
    assert json.loads((tmp_path / "report.json").read_text())["profiles"]["profile"]["server"] is None


@pytest.mark.parametrize(
    "address",
    ["ftp://h/metrics", "metrics", "http://", "http://u:p@h/metrics", "http://h:99999/", "http://h/a b", "http://h/\r\nX: y"],
)
def test_an_address_that_can_never_be_asked_is_bad_input(address: str) -> None:
    with pytest.raises(InvalidInput, match="--metrics-url"):
        metrics_address(address)


async def endless(_: int) -> AsyncIterator[bytes]:
    yield head(Content_Type="text/plain")
    while True:
        yield b"sglang:num_running_reqs 1\n" * 1000


async def one_long_line(_: int) -> AsyncIterator[bytes]:
    yield head(Content_Type="text/plain", Content_Length=str(200 * 1024 * 1024))
    for _piece in range(200):
        yield b"x" * 1024 * 1024


async def bomb(_: int) -> AsyncIterator[bytes]:
    yield head(Content_Type="text/plain", Content_Encoding="gzip") + gzip.compress(b"sglang:num_running_reqs 1\n" * 1_000_000)


async def trickle(_: int) -> AsyncIterator[bytes]:
    yield head(Content_Type="text/plain")
    for _piece in range(600):
        yield b"#"
        await asyncio.sleep(0.1)


async def trickling_head(_: int) -> AsyncIterator[bytes]:
    for _piece in range(600):
        yield b"H"
        await asyncio.sleep(0.1)


async def endless_head(_: int) -> AsyncIterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\n"
    while True:
        yield b"X-Filler: 1\r\n" * 1000


async def redirect(_: int) -> AsyncIterator[bytes]:
    yield head("302 Found", Location="http://127.0.0.1:1/elsewhere", Content_Length="0")


async def failing(_: int) -> AsyncIterator[bytes]:
    yield head("500 Internal Server Error", Content_Type="text/plain", Content_Length="5") + b"oops\n"


async def cut_off(_: int) -> AsyncIterator[bytes]:
    yield head(Content_Type="text/plain", Content_Length="100") + b"sglang:num_running_reqs 1"


async def closed(_: int) -> AsyncIterator[bytes]:
    for nothing in list[bytes]():
        yield nothing


async def garbage(_: int) -> AsyncIterator[bytes]:
    yield bytes(range(256)) * 100


HOSTILE: dict[str, tuple[Answer, str]] = {
    "an endless body": (endless, f"larger than {PAGE_BYTES} bytes"),
    "a line of 200 MB": (one_long_line, f"larger than {PAGE_BYTES} bytes"),
    "a gzip bomb": (bomb, "content-encoding is 'gzip'; none was asked for"),
    "a slow trickle": (trickle, "no complete answer within 5 s|no page has come yet"),
    "a slow head": (trickling_head, "not an HTTP/1.1 answer"),
    "an endless head": (endless_head, "its head has no end"),
    "a redirect": (redirect, "HTTP status 302"),
    "HTML": (page(lambda _: "<html>sglang:num_running_reqs 1</html>\n", "text/html"), "it is 'text/html', not text/plain"),
    "HTML that says it is text": (page(lambda _: "<html>\n"), "none of SGLang's and vLLM's gauges"),
    "no type": (page(lambda _: "sglang:num_running_reqs 1\n", ""), "it is 'of no type', not text/plain"),
    "another exporter's page": (page(lambda _: "node_load1 0.5\n"), "none of SGLang's and vLLM's gauges"),
    "a failure": (failing, "HTTP status 500"),
    "a page cut off": (cut_off, "closed the connection before the end"),
    "a closed connection": (closed, "closed the connection before the end"),
    "no HTTP": (garbage, "not an HTTP/1.1 answer"),
    "no numbers": (
        page(lambda _: "sglang:num_running_reqs NaN\nsglang:token_usage +Inf\n"),
        "none of SGLang's and vLLM's gauges",
    ),
    "a malformed line": (page(lambda _: 'sglang:num_running_reqs{a="b} 1\n'), "line 1 is no sample"),
    "150,000 lines of one metric": (page(lambda _: "sglang:num_running_reqs 1\n" * 150_000), ""),
}


@pytest.mark.parametrize("name", [None, *HOSTILE])
def test_no_page_changes_what_is_said_of_the_load(url: str, name: str | None) -> None:
    answer, reason = HOSTILE[name] if name else (page(lambda _: ""), "")
    with serving_metrics(answer) if name else nullcontext() as server:
        report = put_on(url, server.url if server else None, warmup_s=0.2, duration_s=1)
    said = report.profiles["load"]
    assert (report.verdict, report.reasons, said.errors, said.client.bottleneck) == ("passed", [], {}, "")
    assert said.duration_s == 1
    assert 8 <= said.requests <= 1 / (0.02 + 39 * 0.01) * 4 + 8, "as many as the engine answers"
    if name and reason:
        assert re.search(reason, server_of(report).note), server_of(report).note
        assert server_of(report).metrics == {}
        assert len(server_of(report).note) < 400


def test_no_more_than_a_page_is_read_of_one_that_does_not_end() -> None:
    sent = 0

    async def counted(number: int) -> AsyncIterator[bytes]:
        nonlocal sent
        async for piece in one_long_line(number):
            sent += len(piece)
            yield piece

    with serving_metrics(counted) as server, MetricsSampler(server.url) as sampler:
        wait_until(lambda: "larger" in sampler.measured(measured((0, 1))).note, "the page is refused")
        assert len(server.requests) == 1
    assert sent < PAGE_BYTES + 32 * 1024 * 1024, "what the kernel holds on its way is not known"


def test_a_page_that_hangs_keeps_nobody_waiting_at_the_end() -> None:
    with serving_metrics(trickle) as server:
        sampler = MetricsSampler(server.url)
        with sampler:
            wait_until(lambda: server.requests, "it is asked")
            began = time.monotonic()
        assert time.monotonic() - began < 4, "and not until it times out"
    wait_until(lambda: not any(thread.name == "server metrics" for thread in threading.enumerate()), "its thread is gone")


def test_a_page_that_never_comes_is_asked_for_less_and_less_and_then_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadtest.server.sampler.EVERY_S", 0.01)
    with serving_metrics(failing) as server, MetricsSampler(server.url) as sampler:
        note = wait_until(
            lambda: (said := sampler.measured(measured((0, 1))).note).endswith("it was asked no more") and said, "it gives up"
        )
        assert (
            note
            == "5 of 5 times there was no page to read, the last time: it is answered with HTTP status 500; it was asked no more"
        )
        assert len(server.requests) == 5


def test_a_server_that_was_away_for_a_while_is_sampled_again_and_the_note_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadtest.server.sampler.EVERY_S", 0.01)

    async def answer(number: int) -> AsyncIterator[bytes]:
        async for piece in failing(number) if 2 <= number < 5 else page(lambda _: "sglang:num_running_reqs 3\n")(number):
            yield piece

    begin = time.monotonic_ns()
    with serving_metrics(answer) as server, MetricsSampler(server.url) as sampler:
        wait_until(lambda: len(server.requests) > 7, "it is asked on")
        found = sampler.measured(Measurement(begin, begin + 3600 * SECOND))
    assert found.metrics["running_requests"].mean == 3
    assert re.match(r"3 of \d+ times there was no page to read, the last time: it is answered with HTTP status 500$", found.note)
