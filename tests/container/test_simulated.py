"""The simulated engine: latencies, limits and faults are the ones ordered."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import itertools
import json
import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from container.engines.simulated.prefix_cache import PrefixCache
from container.engines.simulated.settings import Settings
from container.errors import EngineError
from tests.container.processes import ROOT, Server, engine, environment, free_port, run_serve
from tests.support.waiting import HANG_S, wait_until

STAMP = "sent_monotonic_ns"


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(tmp_path)


def stamps(events: list[dict[str, Any]]) -> list[int]:
    return [event[STAMP] for event in events if STAMP in event]


def gaps_ms(events: list[dict[str, Any]]) -> list[float]:
    sent = stamps(events)
    return [(later - earlier) / 1e6 for earlier, later in itertools.pairwise(sent)]


def together(count: int, ask: Any) -> list[Any]:
    """What `count` calls of `ask` at the same time return, in the order in which they end."""
    answers: list[Any] = []
    threads = [threading.Thread(target=lambda number=number: answers.append(ask(number))) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_surface(model: str) -> None:
    with engine(
        "simulated", "--model-path", model, "--served-model-name", "m", "--sim-ttft-ms", "1", "--enable-metrics"
    ) as server:
        assert server.get_json("/v1/models")["data"][0]["id"] == "m"
        assert server.request("GET", "/health")[0] == 200
        assert server.request("GET", "/get_server_info")[0] == 200
        assert server.request("GET", "/nothing")[0] == 404
        assert server.request("DELETE", "/invocations")[0] == 405
        status, answer = server.chat("one two three", max_tokens=4)
        assert (status, answer["model"]) == (200, "default")
        assert answer["usage"] == {
            "prompt_tokens": 3,
            "total_tokens": 7,
            "completion_tokens": 4,
            "prompt_tokens_details": None,
        }
        assert len(answer["choices"][0]["message"]["content"].split()) == 4
        metrics = server.request("GET", "/metrics")[1].decode()
        assert 'sglang:generation_tokens_total{model_name="m"} 4' in metrics
        assert 'sglang:time_to_first_token_seconds_count{model_name="m"} 1' in metrics
        assert server.chat(model="another", max_tokens=1)[1]["model"] == "another"
        assert {event["model"] for event in server.stream(model="another", max_tokens=1)} == {"another"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "not JSON"),
        (b"[]", "must be a JSON object"),
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [{"content": "x"}]}, r"messages\[0\]"),
        ({"messages": [{"role": "user", "content": 5}]}, r"messages\[0\].content"),
        ({"messages": [{"role": "user", "content": "x"}], "max_tokens": 0}, "max_tokens"),
        ({"messages": [{"role": "user", "content": "x"}], "max_completion_tokens": "9"}, "max_completion_tokens"),
        ({"messages": [{"role": "user", "content": "x"}], "temperature": -1}, "temperature"),
        ({"messages": [{"role": "user", "content": "x"}], "top_p": 2}, "top_p"),
        ({"messages": [{"role": "user", "content": "x"}], "n": 2}, "n: "),
        ({"messages": [{"role": "user", "content": "x"}], "stream_options": 1}, "stream_options"),
        ({"messages": [{"role": "user", "content": "x " * 90}], "max_tokens": 20}, "context length is 100"),
    ],
)
def test_bad_requests_are_named(shared: Server, body: Any, message: str) -> None:
    import re

    status, raw = shared.request("POST", "/v1/chat/completions", body)
    answer = json.loads(raw)
    assert status == 400
    assert (answer["object"], answer["code"], answer["type"]) == ("error", 400, "BadRequestError")
    assert re.search(message, answer["message"])


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = str(tmp_path_factory.mktemp("model"))
    flags = ["--sim-ttft-ms", "40", "--sim-itl-ms", "10", "--sim-stamp", "--context-length", "100"]
    with engine("simulated", "--model-path", folder, *flags) as started:
        yield started


def test_the_openai_client_can_talk_to_it(shared: Server) -> None:
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{shared.port}/v1", api_key="none")
    answer = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "a b"}], max_tokens=3)
    assert answer.usage.completion_tokens == 3
    assert answer.choices[0].finish_reason == "length"
    events = list(
        client.chat.completions.create(
            model="m",
            messages=[{"role": "user", "content": [{"type": "text", "text": "a b"}]}],
            max_tokens=3,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(event.choices[0].delta.content or "" for event in events if event.choices)
    assert text == answer.choices[0].message.content
    assert events[-1].usage.total_tokens == 5
    with pytest.raises(openai.BadRequestError, match="max_tokens"):
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "a"}], max_tokens=-1)


def test_latencies_are_those_ordered(shared: Server) -> None:
    def are_as_ordered() -> bool:
        """No token is early; a busy machine makes some late, so that one answer in time is enough."""
        before = time.monotonic_ns()
        events = shared.stream("x", max_tokens=30)
        first = (stamps(events)[0] - before) / 1e6
        gaps = gaps_ms(events)
        assert first >= 40
        assert len(gaps) == 29
        assert statistics.mean(gaps) * 29 >= 29 * 10 - (first - 40) - 1
        return first < 80 and statistics.mean(gaps) <= 10.5

    wait_until(are_as_ordered, "an answer in time")


def test_same_seed_same_words(shared: Server) -> None:
    def words(prompt: str) -> str:
        return str(shared.chat(prompt, max_tokens=12)[1]["choices"][0]["message"]["content"])

    assert words("a prompt") == words("a prompt")
    assert words("a prompt") != words("another prompt")


def test_the_batch_has_a_limit_and_the_rest_waits_in_order(model: str) -> None:
    flags = ["--max-running-requests", "2", "--sim-ttft-ms", "20", "--sim-itl-ms", "10", "--sim-stamp"]
    with engine("simulated", "--model-path", model, *flags) as server:

        def are_in_order() -> bool:
            """Each pair takes 20 + 9 x 10 = 110 ms; the next pair's first token comes 20 ms after it. Never earlier; later on a busy machine."""
            started = time.monotonic_ns()
            answers = together(6, lambda _: stamps(server.stream("x", max_tokens=10)))
            firsts = sorted((sent[0] - started) / 1e6 for sent in answers)
            late = [first - (20 + 110 * (place // 2)) for place, first in enumerate(firsts)]
            assert min(late) >= 0, firsts
            return bool(max(late) < 40)

        wait_until(are_in_order, "six answers in time")


def test_a_leaving_client_frees_its_place(model: str) -> None:
    flags = ["--max-running-requests", "1", "--sim-ttft-ms", "1", "--sim-itl-ms", "20", "--enable-metrics"]
    with engine("simulated", "--model-path", model, *flags) as server:
        with server.streaming("x", max_tokens=5000) as answer:
            answer.readline()
        assert server.chat(max_tokens=2)[0] == 200
        assert 'sglang:num_aborted_requests_total{model_name="' in server.request("GET", "/metrics")[1].decode()


def test_itl_grows_with_the_batch_and_jitter_varies_it(model: str) -> None:
    flags = ["--sim-ttft-ms", "1", "--sim-itl-ms", "5", "--sim-itl-per-running-ms", "5", "--sim-stamp"]
    with engine("simulated", "--model-path", model, *flags) as server:

        def alone() -> float:
            return statistics.mean(gaps_ms(server.stream("x", max_tokens=20)))

        def four() -> float:
            return statistics.median(
                statistics.median(gaps_ms(events)) for events in together(4, lambda _: server.stream("x", max_tokens=30))
            )

        wait_until(lambda: 4.5 < alone() < 6.5, "one alone in time")
        wait_until(lambda: 18 < four() < 22, "four in time")
        server.request("PATCH", "/simulated/settings", {"jitter": 0.5, "itl_per_running_ms": 0})
        varied = gaps_ms(server.stream("x", max_tokens=40))
        assert max(varied) > 6
        assert min(varied) < 4.5


def test_stalls(model: str) -> None:
    flags = ["--sim-ttft-ms", "1", "--sim-itl-ms", "2", "--sim-stamp", "--sim-stall-ms", "200"]
    with engine("simulated", "--model-path", model, *flags, "--sim-stall-at-token", "5") as server:
        wait_until(lambda: stalled(server, 10) == [3], "one stall, in time")
    with engine("simulated", "--model-path", model, *flags, "--sim-stall-every-tokens", "20") as server:
        wait_until(lambda: stalled(server, 50) == [18, 38], "two stalls, in time")


def stalled(server: Server, tokens: int) -> list[int]:
    """Behind which tokens nothing came for long."""
    return [place for place, gap in enumerate(gaps_ms(server.stream("x", max_tokens=tokens))) if gap > 150]


def test_a_pause_holds_everything(model: str) -> None:
    flags = ["--sim-ttft-ms", "1", "--sim-itl-ms", "5", "--sim-stamp", "--sim-pause-ms", "300", "--sim-pause-after-s", "0.2"]
    with engine("simulated", "--model-path", model, *flags) as server:
        longest = together(3, lambda _: max(gaps_ms(server.stream("x", max_tokens=80))))
        assert all(250 < gap < 400 for gap in longest), longest


def test_known_answers_and_endings(model: str) -> None:
    answers = json.dumps({"capital of France": "It is Paris."})
    flags = ["--sim-ttft-ms", "1", "--sim-itl-ms", "1", "--sim-answers", answers, "--sim-output-tokens", "6"]
    with engine("simulated", "--model-path", model, *flags) as server:
        choice = server.chat("What is the capital of France?")[1]["choices"][0]
        assert (choice["message"]["content"], choice["finish_reason"]) == ("It is Paris.", "stop")
        assert server.chat("What is the capital of France?", max_tokens=2)[1]["choices"][0]["finish_reason"] == "length"
        answer = server.chat("other", max_tokens=50)[1]
        assert (answer["usage"]["completion_tokens"], answer["choices"][0]["finish_reason"]) == (6, "stop")


def test_spoilt_answers(model: str) -> None:
    with engine("simulated", "--model-path", model, "--sim-ttft-ms", "1", "--sim-itl-ms", "1") as server:

        def order(**settings: Any) -> None:
            assert server.request("PATCH", "/simulated/settings", {**settings})[0] == 200

        order(empty_output=True)
        answer = server.chat()[1]
        assert (answer["choices"][0]["message"]["content"], answer["usage"]["completion_tokens"]) == ("", 0)
        order(empty_output=False, finish_reason="abort")
        assert server.chat(max_tokens=2)[1]["choices"][0]["finish_reason"] == "abort"
        order(finish_reason="", invalid_utf8=True)
        for stream in (True, False):
            body = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 3, "stream": stream}
            raw = server.request("POST", "/invocations", body)[1]
            with pytest.raises(UnicodeDecodeError):
                raw.decode()
        assert server.request("PATCH", "/simulated/settings", {"oops": 1})[0] == 400


def test_a_truncated_stream_has_no_end(model: str) -> None:
    flags = ["--sim-ttft-ms", "1", "--sim-itl-ms", "1", "--sim-truncate-after-tokens", "3", "--sim-truncate-every", "2"]
    with engine("simulated", "--model-path", model, *flags) as server:
        assert len(server.stream(max_tokens=10)) == 12
        with pytest.raises(http.client.IncompleteRead) as cut:
            server.stream(max_tokens=10)
        assert b"[DONE]" not in cut.value.partial
        assert len(server.stream(max_tokens=10)) == 12


def test_errors_and_crashes_by_count(model: str) -> None:
    flags = ["--sim-ttft-ms", "1", "--sim-itl-ms", "1", "--sim-error-after-requests", "2", "--sim-crash-after-requests", "3"]
    with engine("simulated", "--model-path", model, *flags) as server:
        assert [server.chat(max_tokens=1)[0] for _ in range(3)] == [200, 200, 500]
        with pytest.raises((OSError, http.client.HTTPException)):
            server.chat(max_tokens=1)
        assert server.process.wait(timeout=HANG_S) == 1
    with engine("simulated", "--model-path", model, "--sim-ttft-ms", "1", "--sim-error-every", "2") as server:
        assert [server.chat(max_tokens=1)[0] for _ in range(4)] == [200, 500, 200, 500]


def test_health_while_loading_and_never(model: str) -> None:
    with engine("simulated", "--model-path", model, "--sim-load-s", "1.5", healthy=False) as server:
        seen: list[int] = []

        def is_healthy() -> bool:
            with contextlib.suppress(OSError):
                seen.append(server.request("GET", "/ping")[0])
            return seen[-1:] == [200]

        wait_until(is_healthy, "it is loaded")
        assert seen[0] == 503
    with engine("simulated", "--model-path", model, "--sim-never-healthy", healthy=False) as server:

        def ping() -> int:
            with contextlib.suppress(OSError):
                return server.request("GET", "/ping")[0]
            return 0

        assert wait_until(ping, "it answers") == 503
        assert server.chat()[0] == 503
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=HANG_S) == 0


def test_crash_at_start(model: str) -> None:
    with engine("simulated", "--model-path", model, "--sim-crash-at-start", healthy=False) as server:
        assert server.process.wait(timeout=HANG_S) == 1
        assert server.process.stderr is not None
        assert "crash at start" in server.process.stderr.read()


def test_sigterm_drains(model: str) -> None:
    with engine("simulated", "--model-path", model, "--sim-ttft-ms", "1", "--sim-itl-ms", "20") as server:
        idle = http.client.HTTPConnection("127.0.0.1", server.port)
        idle.request("GET", "/ping")
        idle.getresponse().read()
        with server.streaming("x", max_tokens=30) as answer:
            answer.readline()
            server.process.send_signal(signal.SIGTERM)
            text = answer.read().decode()
        assert server.process.wait(timeout=HANG_S) == 0
        assert text.count("data: ") == 32
        assert text.endswith("data: [DONE]\n\n")


def test_settings_come_from_model_plan_environment_and_flags(tmp_path: Path) -> None:
    (tmp_path / "simulated.json").write_text('{"ttft_ms": 1, "itl_ms": 1, "seed": 1, "output_tokens": 7}')
    plan = tmp_path / "plan.json"
    plan.write_text('{"itl_ms": 2, "seed": 2}')
    flags = ["--model-path", str(tmp_path), "--sim-plan", str(plan), "--sim-latency-factor", "0.5"]
    with engine("simulated", *flags, SIMULATED_SEED="3", SIMULATED_STAMP="true") as server:
        now = json.loads(server.request("PATCH", "/simulated/settings", {})[1])
    wanted = {"ttft_ms": 1, "itl_ms": 2, "seed": 3, "latency_factor": 0.5, "stamp": True, "output_tokens": 7}
    assert wanted.items() <= now.items()


@pytest.mark.parametrize(
    ("values", "message"),
    [({"oops": 1}, "unknown setting 'oops'"), ({"ttft_ms": "x"}, "ttft_ms must be of type float"), ({"jitter": 2}, "jitter 0 to 1"),
     ({"stamp": 1}, "stamp must be of type bool"), ({"answers": [1]}, "answers must be of type object")],
)  # fmt: skip
def test_wrong_settings_are_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(EngineError, match=f"here: .*{message}"):
        Settings().changed(values, "here")


def test_wrong_settings_and_flags_end_with_2(model: str) -> None:
    for flags in (["--sim-ttft-ms", "soon"], ["--no-such-flag"], ["--sim-plan", "/none.json"]):
        command = [sys.executable, "-m", "container.engines.simulated", "--model-path", model, *flags]
        done = subprocess.run(command, env=environment(), cwd=ROOT, capture_output=True, text=True, timeout=HANG_S)
        assert done.returncode == 2, done.stderr


def test_behind_serve(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    variables = {"SM_SGLANG_MODEL_PATH": str(tmp_path), "SM_SGLANG_PORT": str(free_port()), "SM_SGLANG_HOST": "127.0.0.1"}
    done = run_serve("serve", "--launch", "python -m container.engines.simulated --sim-crash-at-start", **variables)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("simulated: crash at start")


def test_the_record_has_every_stamp(tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    flags = ["--model-path", str(tmp_path), "--sim-ttft-ms", "1", "--sim-itl-ms", "1", "--sim-stamp", "--sim-record", str(record)]
    with engine("simulated", *flags) as server:
        sent = stamps(server.stream(max_tokens=5))
        server.request("GET", "/health")  # answered after the line was written, which the last event was not
    line = json.loads(record.read_text())
    assert line["sent_ns"] == sent
    assert line["received_ns"] < sent[0]


def test_256_streams_keep_their_times_with_little_cpu(model: str) -> None:
    count, tokens = 256, 25
    flags = ["--sim-ttft-ms", "100", "--sim-itl-ms", "40", "--sim-stamp"]
    body = json.dumps({"messages": [{"role": "user", "content": "x"}], "max_tokens": tokens, "stream": True}).encode()
    request = b"POST /invocations HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: %d\r\n\r\n" % len(body) + body

    async def one(port: int) -> list[int]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        sent: list[int] = []
        while (line := await reader.readline()) and not line.startswith(b"data: [DONE]"):
            if b"sent_monotonic_ns" in line:
                sent.append(int(line[line.rindex(b":") + 1 : line.rindex(b"}")]))
        writer.close()
        return sent

    async def all_of_them(port: int) -> list[list[int]]:
        return await asyncio.gather(*(one(port) for _ in range(count)))

    with engine("simulated", "--model-path", model, *flags) as server:
        before = cpu_s(server.process.pid)
        streams = asyncio.run(all_of_them(server.port))
        used = cpu_s(server.process.pid) - before
        assert [len(sent) for sent in streams] == [tokens] * count
        # 6,400 tokens; it takes some 30 us of CPU each, and twice that is allowed for a busy machine.
        assert used < 0.6, used
        wait_until(lambda: 39 < mean_ms(asyncio.run(all_of_them(server.port))) < 41, "256 streams in time")


def mean_ms(streams: list[list[int]]) -> float:
    """The mean time between two tokens of a stream."""
    return statistics.mean((sent[-1] - sent[0]) / (len(sent) - 1) / 1e6 for sent in streams)


def cpu_s(pid: int) -> float:
    import os

    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_what_earlier_requests_began_with_is_cached_and_reported_where_that_is_asked_for(model: str) -> None:
    flags = (
        "--model-path",
        model,
        "--sim-ttft-ms",
        "1",
        "--sim-itl-ms",
        "1",
        "--sim-cache-tokens",
        "100",
        "--enable-metrics",
        "--enable-cache-report",
    )

    def cached(server: Any, text: str) -> int:
        usage = server.chat(text, max_tokens=2)[1]["usage"]
        return int((usage["prompt_tokens_details"] or {}).get("cached_tokens", 0))

    with engine("simulated", *flags) as server:
        assert [cached(server, text) for text in ("a b c", "a b c", "a b d", "x a b c", "a b c d e")] == [0, 2, 2, 0, 3]
        answer = server.chat("a b c", max_tokens=2)[1]["choices"][0]["message"]["content"]
        assert cached(server, f"a b c {answer} and") == 5, "a chat goes on from its last answer"
        assert 'sglang:cached_tokens_total{model_name="' in server.request("GET", "/metrics")[1].decode()
        server.request("PATCH", "/simulated/settings", json.dumps({"cache_tokens": 0}).encode())
        assert cached(server, "a b c") == cached(server, "a b c") == 0
    with engine("simulated", *flags[:-1]) as server:
        server.chat("a b c", max_tokens=1)
        assert server.chat("a b c", max_tokens=1)[1]["usage"]["prompt_tokens_details"] is None, "as SGLang without the flag"


def test_a_full_cache_forgets_what_was_unused_longest_from_its_end() -> None:
    cache = PrefixCache(4)
    cache.keep("abcd")
    cache.keep("ax")
    assert (cache.match("abcd!"), cache.match("ax!")) == (3, 2)
    cache.keep("yz")
    assert (cache.match("abcd!"), cache.match("ax!"), cache.match("yz!")) == (1, 2, 2)
