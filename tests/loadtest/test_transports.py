"""Both ways to an endpoint, against servers that answer as they should not, and one that knows when it sent what."""

from __future__ import annotations

import asyncio
import base64
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count, pairwise
from typing import Any

import pytest
from botocore.credentials import ReadOnlyCredentials
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.load_client.frames import message
from benchmarks.load_client.observed import stamps
from benchmarks.load_client.run import Level, StampingServer
from loadtest.generator import worker
from loadtest.generator.load import Load
from loadtest.generator.worker_pool import WorkerPool
from loadtest.measurement.measurement import Measurement
from loadtest.measurement.worker_result import WorkerResult
from loadtest.transports.openai import OpenAITransport
from loadtest.transports.sagemaker import EventStreamDecoder
from tests.support.scripted_server import (
    DONE,
    OPEN,
    WAYS,
    WHOLE,
    WORDS,
    Scripted,
    asked,
    chunk,
    framed,
    serving,
    transport,
    usage,
)
from tests.support.worlds.evaluation import ROOT


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")


@pytest.mark.parametrize("way", WAYS)
def test_a_whole_answer(way: str) -> None:
    with serving(Scripted(framed(way, WHOLE))) as server:
        first, second = asked(server, way, times=2)
    for result in (first, second):
        assert (result.error, result.text, result.finish_reason) == ("", " one two three", "stop")
        assert (len(result.token_ns), result.output_tokens, result.prompt_tokens) == (3, 3, 5)
        assert 0 < result.sent_ns < result.token_ns[0] <= result.token_ns[-1] <= result.ended_ns
    head = server.requests[0].split(b"\r\n\r\n")[0].decode()
    assert ("Bearer secret" in head) if way == "openai" else ("Authorization: AWS4-HMAC-SHA256 Credential=AKIA" in head)


def test_a_token_is_made_anew_before_the_credentials_that_it_is_of_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now, issued = [0.0], count(1)

    class Credentials:
        def get_frozen_credentials(self) -> ReadOnlyCredentials:
            return ReadOnlyCredentials(f"AKIA{next(issued)}", "secret", "session")

    monkeypatch.setattr("botocore.session.Session.get_credentials", lambda _: Credentials())
    monkeypatch.setattr("loadtest.transports.openai.time.monotonic", lambda: now[0])
    transport = OpenAITransport.of_endpoint("https://runtime.sagemaker.us-east-1.amazonaws.com", "some", "us-east-1")
    heads = []
    for moment in (0, 200, 301, 600, 602):
        now[0] = moment
        [line] = [
            line
            for line in transport.request_head(b"{}").split(b"\r\n")
            if line.startswith(b"Authorization: Bearer sagemaker-api-key-")
        ]
        heads.append(re.findall(rb"Credential=(AKIA\d)", base64.b64decode(line.rpartition(b"-")[2])))
    assert heads == [[b"AKIA1"], [b"AKIA1"], [b"AKIA2"], [b"AKIA2"], [b"AKIA3"]]


SPOILT: dict[str, tuple[tuple[bytes, ...], dict[str, Any], str]] = {
    "empty": ((chunk(""), chunk(finish="stop"), usage(0), DONE), {}, "empty"),
    "truncated by the container": (WORDS, {}, "truncated"),
    "cut by the connection": (WORDS, {"drops": True}, "closed"),
    "aborted by the engine": ((*WORDS, chunk(finish="abort"), DONE), {}, "wrong_finish"),
    "not UTF-8": ((WORDS[1], b'data: {"choices": [{"delta": {"content": "\xff\xfe"}}]}\n\n'), {}, "invalid_utf8"),
    "not JSON": ((WORDS[1], b"data: {nothing\n\n"), {}, "malformed"),
    "JSON nested 200,000 deep": ((WORDS[1], b"data: " + b"[" * 200_000 + b"\n\n"), {}, "malformed"),
    "an error in the stream": ((WORDS[1], chunk(error={"message": "CUDA out of memory"})), {}, "error_in_stream"),
    "too slow": ((*WORDS, OPEN), {}, "timeout"),
    "refused": ((b"no instance free",), {"status": "503 Service Unavailable"}, "http_503"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("what", SPOILT)
def test_a_spoilt_answer_is_counted_by_its_kind(way: str, what: str) -> None:
    pieces, how, kind = SPOILT[what]
    with serving(Scripted(framed(way, pieces), **how)) as server:
        [result] = asked(server, way, timeout_s=0.5 if kind == "timeout" else 10)
    assert result.error == kind, result.message
    assert result.message
    measurement = Measurement(0, 2)
    measurement.add(result)
    assert measurement.errors == {kind: 1}
    assert measurement.metrics({})["error_rate"] == 1
    assert {name: one.p50 for name, one in measurement.latencies().items() if one and name != "itl"} == dict.fromkeys(
        ("ttft", "ttfo", "tpot", "e2e"), float("inf")
    ), "a failed answer is slower than every bound, whatever it had until then"


def test_an_exception_event_is_the_models_own_error() -> None:
    """ModelStreamError, as sagemaker-runtime's service model has it."""
    wrong = message(
        b'{"Message": "the container closed its stream"}', {":message-type": "exception", ":exception-type": "ModelStreamError"}
    )
    with serving(Scripted((message(WORDS[1]), wrong))) as server:
        [result] = asked(server, "sagemaker")
    assert result.error == "ModelStreamError"
    assert "the container closed its stream" in result.message


def test_a_damaged_event_is_not_believed() -> None:
    damaged = bytearray(message(WORDS[1]))
    damaged[40] ^= 1
    with serving(Scripted((bytes(damaged),))) as server:
        [result] = asked(server, "sagemaker")
    assert result.error == "corrupt_stream"


@given(st.lists(st.binary(max_size=300), max_size=6), st.data())
def test_events_come_out_wherever_the_network_cuts_them(payloads: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(message(payload) for payload in payloads)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    decoder = EventStreamDecoder()
    assert b"".join(decoder.feed(stream[a:b]) for a, b in pairwise([0, *cuts, len(stream)])) == b"".join(payloads)
    theirs = EventStreamBuffer()
    theirs.add_data(stream)
    assert [event.payload for event in theirs] == payloads, "and botocore's decoder reads the same"


@pytest.mark.parametrize("way", WAYS)
def test_an_answer_is_the_same_wherever_it_is_cut(way: str) -> None:
    whole = b"".join(framed(way, WHOLE))
    with serving(Scripted(tuple(whole[at : at + 7] for at in range(0, len(whole), 7)))) as server:
        [result] = asked(server, way)
    assert (result.error, result.text, len(result.token_ns), result.output_tokens) == ("", " one two three", 3, 3)


@pytest.mark.parametrize(("claimed", "differs"), [(3, 0.0), (12, 1.0)])
def test_the_servers_token_count_is_checked_against_what_came(claimed: int, differs: float) -> None:
    with serving(Scripted((*WORDS, chunk(finish="length"), usage(claimed), DONE))) as server:
        [result] = asked(server, "openai")
    assert (result.is_ok, result.output_tokens, len(result.token_ns)) == (True, claimed, 3)
    measurement = Measurement(0, 2)
    measurement.add(result)
    assert measurement.usage_differs == differs


@pytest.fixture(scope="module")
def known_truth() -> Iterator[StampingServer]:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.load_client.server"], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    yield StampingServer(process.stdout.readline().strip())
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    with WorkerPool(1) as shared:
        yield shared


def test_a_client_that_stands_still_is_late_for_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else one tick of hundreds would be late, below every 99th percentile, however much of the time it was."""
    monkeypatch.setattr(worker, "_TICK_NS", 5_000_000)
    found = WorkerResult()

    async def stand_still() -> None:
        begin_ns = time.monotonic_ns()
        watching = asyncio.create_task(worker.watch(found, begin_ns, begin_ns, begin_ns + 1_500_000_000))
        await asyncio.sleep(0.5)
        time.sleep(0.3)
        await watching

    asyncio.run(stand_still())
    assert sum(late > 100_000_000 for late in found.lag_ns) >= 40, "each of the 60 ticks of these 0.3 s but the last twenty"
    measurement = Measurement.of((0, 1.5), 0, [found])
    assert "late (p99)" in measurement.client(100).bottleneck


@pytest.mark.soak
def test_a_client_whose_core_is_saturated_makes_the_run_invalid(known_truth: StampingServer, pool: WorkerPool) -> None:
    """One process, and far more tokens than it can read: the numbers are its own."""
    known_truth.begin(Level(64, 20, 0))
    calm = pool.measure(Load(transport("openai", known_truth.url), 30, 16, 64, 1, 4, concurrency=64))
    assert calm.client(1000).bottleneck == ""
    known_truth.begin(Level(1000, 4, 0))
    drowned = pool.measure(Load(transport("openai", known_truth.url), 60, 16, 64, 1, 8, concurrency=1000))
    assert drowned.client(50).bottleneck != "", drowned.client(50)


@pytest.mark.parametrize("way", WAYS)
def test_a_stall_in_one_token_of_a_thousand_shows_and_no_token_is_seen_before_it_was_sent(
    way: str, known_truth: StampingServer, pool: WorkerPool
) -> None:
    """The small form of benchmarks.load_client."""
    known_truth.begin(Level(24, 10, 0, stall_ms=500, stall_every=1000))
    measurement = pool.measure(Load(transport(way, known_truth.url), 30, 16, 64, 0, 1, concurrency=24, keep_text=True))
    assert measurement.errors == {}
    told = known_truth.told()
    assert sum(len(result.token_ns) for result in measurement.results) == told["tokens"], "every token that was sent was seen"
    errors_ns = sorted(
        received - sent
        for result in measurement.results
        for sent, received in zip(stamps(result.text), result.token_ns, strict=True)
    )
    assert errors_ns[0] >= 0
    assert errors_ns[len(errors_ns) // 2] < 5_000_000, "of itself the client adds little, even on a busy machine"
    itl = measurement.latencies()["itl"]
    assert itl is not None
    assert told["stalls"] >= 2
    assert itl.p999 >= 300, "the token before may have been late itself"
    assert max(result.tpot_ms or 0 for result in measurement.results) < 100, "which a mean over a request would hide"
