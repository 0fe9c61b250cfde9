"""When requests are due, and an open loop that keeps its schedule while the server stalls."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Callable
from itertools import islice, pairwise
from pathlib import Path

import pytest

from steps.errors import InputError
from steps.evaluate_staging import arrivals
from steps.evaluate_staging.arrivals import Due
from steps.evaluate_staging.fleet import Fleet
from steps.evaluate_staging.load import Load
from steps.evaluate_staging.prompts import Synthetic, conversations
from steps.evaluate_staging.transports.openai import OpenAITransport
from tests.container.processes import free_port

ROOT = Path(__file__).parents[2]


def test_poisson_gaps_are_exponential() -> None:
    from scipy import stats  # type: ignore[import-untyped]

    moments = list(islice(arrivals.poisson(20.0, seed=1), 5000))
    gaps = [later - earlier for earlier, later in pairwise(moments)]
    assert stats.kstest(gaps, "expon", args=(0, 1 / 20.0)).pvalue > 0.01
    assert stats.kstest(list(pairwise_gaps(arrivals.constant(20.0))), "expon", args=(0, 1 / 20.0)).pvalue < 1e-6


def pairwise_gaps(moments: object) -> list[float]:
    return [later - earlier for earlier, later in pairwise(islice(moments, 1000))]  # type: ignore[call-overload]


def test_less_burstiness_is_more_even() -> None:
    def spread(burstiness: float) -> float:
        gaps = pairwise_gaps(arrivals.gamma(10.0, burstiness, seed=2))
        mean = sum(gaps) / len(gaps)
        return float(sum((gap - mean) ** 2 for gap in gaps) / len(gaps) / mean**2)

    assert spread(0.25) > 2 > spread(1.0) > 0.5 > spread(10.0)


def test_a_ramp_has_as_many_requests_as_its_mean_rate_says() -> None:
    moments = list(arrivals.ramp(10.0, 50.0, level_s=2.0, duration_s=10.0))
    assert len(moments) == 2 * 10 + 10 * 30
    assert sum(2 <= moment < 7 for moment in moments) == pytest.approx(5 * 20, abs=2)
    assert moments == sorted(moments)
    assert moments[-1] < 12


@pytest.mark.parametrize(
    "trace",
    [
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:48.6805900,396,109\n",
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,ChatGPT,374,44,418,C\n6,GPT-4,10,0,10,C\n7,GPT-4,396,109,505,C\n",
    ],
)
def test_recorded_traces_of_both_kinds_are_replayed(trace: str) -> None:
    assert arrivals.replay(trace, 2.0, "trace.csv") == [Due(0.0, 374, 44), Due(1.0, 396, 109)]


def test_a_trace_with_other_columns_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"trace.csv has no column ContextTokens or Request tokens; it has TIMESTAMP, a"):
        arrivals.replay("TIMESTAMP,a\n1,2\n", 1.0, "trace.csv")


def test_prompts_differ_except_in_what_they_share() -> None:
    source = Synthetic(1, shared_prefix=0.5)
    first, second = source.make(200).messages, source.make(200).messages
    assert first[0] == second[0] == Synthetic(2, shared_prefix=0.5).make(200).messages[0]
    assert first[1] != second[1]


def test_a_chat_carries_its_turns() -> None:
    source = Synthetic(1, turns=3)
    assert [len(source.make(50).messages) for _ in range(5)] == [1, 3, 5, 1, 3]


def test_a_bad_line_of_conversations_is_named() -> None:
    good = '{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}'
    assert conversations(good, "f.jsonl") == [({"role": "user", "content": "a"},)]
    with pytest.raises(InputError, match=r"f\.jsonl, line 2"):
        conversations(f"{good}\nno json", "f.jsonl")


@pytest.fixture
def engine(tmp_path: Path) -> object:
    started: list[subprocess.Popen[str]] = []

    def start(*settings: str) -> str:
        port = free_port()
        command = [sys.executable, "-m", "container.engines.simulated", "--model-path", str(tmp_path), "--host", "127.0.0.1"]
        process = subprocess.Popen([*command, "--port", str(port), *settings], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stderr is not None
        assert "is ready" in process.stderr.readline()
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health").close()
        return f"http://127.0.0.1:{port}/v1"

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_an_open_loop_keeps_its_schedule_while_the_server_stalls(engine: Callable[..., str]) -> None:
    url = engine("--sim-ttft-ms", "5", "--sim-itl-ms", "1", "--sim-pause-ms", "2000", "--sim-pause-after-s", "1.5")
    dues = tuple(Due(number / 50) for number in range(250))
    load = Load(OpenAITransport(url), 30, 16, 4, warmup_s=0, duration_s=5, dues=dues)
    with Fleet(2) as fleet:
        measurement = fleet.measure(load)
    assert len(measurement.counted) == 250
    assert measurement.errors == {}
    late_ms = sorted((result.sent_ns - result.intended_ns) / 1e6 for result in measurement.counted)
    assert late_ms[int(0.9 * len(late_ms))] < 100, "requests went out when they were due"
    ttft = measurement.latencies()["ttft"]
    assert ttft is not None
    assert ttft.max > 1000, "and the stall shows"
    assert ttft.p50 < ttft.max / 3
