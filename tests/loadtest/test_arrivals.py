"""When requests are due, and an open loop that keeps its schedule while the server stalls."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path

import pytest

from loadtest.errors import InvalidInput
from loadtest.generator import arrivals
from loadtest.generator.arrivals import ScheduledRequest
from loadtest.generator.load import Load
from loadtest.generator.prompts import SyntheticPrompts, conversations
from loadtest.generator.worker_pool import WorkerPool
from loadtest.inputs import LoadInputs
from loadtest.measurement.measurement import Measurement
from loadtest.profiles import OpenLoop, Replay
from loadtest.runner import Runner
from loadtest.transports.openai import OpenAITransport
from tests.support.simulated_engine import simulated
from tests.support.tokenizers import byte_pairs


def expon_pvalue(gaps: list[float], rate: float) -> float:
    """Kolmogorov-Smirnov: how likely such gaps are if arrivals of this rate are independent of one another."""
    from scipy import stats  # type: ignore[import-untyped]

    return float(stats.kstest(gaps, "expon", args=(0, 1 / rate)).pvalue)


def test_poisson_gaps_are_exponential() -> None:
    gaps = [[later - earlier for earlier, later in pairwise(islice(arrivals.poisson(20.0, seed), 5000))] for seed in range(20)]
    pvalues = sorted(expon_pvalue(one, 20.0) for one in gaps)
    assert pvalues[0] > 0.001
    assert 0.2 < pvalues[10] < 0.8, "over many seeds, as often likely as unlikely"
    assert expon_pvalue(pairwise_gaps(arrivals.constant(20.0)), 20.0) < 1e-6
    assert expon_pvalue(pairwise_gaps(arrivals.gamma(20.0, 0.5, seed=1)), 20.0) < 1e-6
    assert expon_pvalue(gaps[0], 22.0) < 1e-3, "and a rate that is off by a tenth is noticed"


class Captured:
    """Takes the place of a pool: what load a profile becomes."""

    def __init__(self) -> None:
        self.loads: list[Load] = []

    def measure(self, load: Load, on_progress: object = None) -> Measurement:
        self.loads.append(load)
        return Measurement(0, 1)


class NoFiles(LoadInputs):
    """Weights without a tokenizer."""

    tokenizer = None


def load_of(profile: OpenLoop | Replay, files: LoadInputs) -> Load:
    """What the step makes of a profile of a model file."""
    captured = Captured()
    Runner(captured, lambda _: OpenAITransport(""), files).run(profile, 3, lambda _: None)  # type: ignore[arg-type]
    return captured.loads[0]


def test_what_a_model_file_calls_poisson_is_sent_so_however_many_send_it(tmp_path: Path) -> None:
    profile = OpenLoop.model_validate(
        {"kind": "open_loop", "rate_per_s": 40, "warmup_s": 5, "duration_s": 95, "objectives": {"error_rate": {"at_most": 0}}}
    )
    load = load_of(profile, NoFiles(lambda _: None, tmp_path, "s3://bucket/weights/"))
    shares = [load.share(host, 3).share(worker, 2) for host in range(3) for worker in range(2)]
    moments = sorted(due.at_s for share in shares for due in share.schedule)
    assert moments == [due.at_s for due in load.schedule]
    assert len(moments) == pytest.approx(40 * 100, rel=0.05)
    assert expon_pvalue([later - earlier for earlier, later in pairwise(moments)], 40.0) > 0.01


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


AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:48.6805900,396,109
"""


def test_a_replayed_request_has_the_recorded_lengths_at_the_recorded_time(tmp_path: Path, engine: Callable[..., str]) -> None:
    (tmp_path / "azure.csv").write_text(AZURE.replace(",396,109", ",30,7").replace(",374,44", ",90,12"))

    class Files(NoFiles):
        def required(self, uri: str) -> Path:
            return tmp_path / uri.removeprefix("s3://bucket/")

    profile = Replay.model_validate(
        {"kind": "replay", "trace": "s3://bucket/azure.csv", "speed": 4, "warmup_s": 0, "duration_s": 60, "exact_output": True}
        | {"objectives": {"error_rate": {"at_most": 0}}}
    )
    load = replace(
        load_of(profile, Files(lambda _: None, tmp_path, "s3://bucket/weights/")),
        transport=OpenAITransport(engine()),
        duration_s=1,
    )
    with WorkerPool(1) as pool:
        first, second = sorted(pool.measure(load).results, key=lambda result: result.intended_ns)
    assert (second.intended_ns - first.intended_ns) / 1e9 == pytest.approx(0.5), "two seconds, four times faster"
    assert (first.output_tokens, second.output_tokens) == (12, 7)
    assert first.prompt_tokens - second.prompt_tokens == pytest.approx(60, abs=5)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        (
            "azure.csv",
            AZURE,
            r"azure\.csv ends after 1 s at 2 times its speed, and warmup_s and duration_s are 60 s together",
        ),
        ("azure.csv", "TIMESTAMP,a\n1,2\n", r"azure\.csv, line 1: has no column ContextTokens"),
        ("prompts.jsonl", "no json", r"prompts\.jsonl, line 1: not a conversation"),
        ("tokenizer.json", "{}", r"tokenizer\.json cannot be read"),
    ],
)
def test_what_a_load_is_made_of_is_read_before_an_endpoint_is_paid_for(
    tmp_path: Path, name: str, content: str, says: str
) -> None:
    texts = {"azure.csv": AZURE.replace("18:15:48", "18:17:48"), "prompts.jsonl": SHAREGPT, name: content}

    def read(address: str) -> bytes | None:
        text = texts.get(address.rsplit("/", 1)[1])
        return None if text is None else text.encode()

    files = LoadInputs(read, tmp_path, "s3://bucket/weights/tokenizer.json")
    common = {"warmup_s": 0, "duration_s": 60, "objectives": {"error_rate": {"at_most": 0}}}
    replayed = Replay.model_validate({"kind": "replay", "trace": "s3://bucket/azure.csv", "speed": 2, **common})
    recorded = OpenLoop.model_validate({"kind": "open_loop", "rate_per_s": 1, "prompts": "s3://bucket/prompts.jsonl", **common})
    with pytest.raises(InvalidInput, match=says):
        files.check([replayed, recorded])


def test_prompts_differ_except_in_what_they_share() -> None:
    source = SyntheticPrompts("1", shared_prefix=0.5)
    first, second = source.make(200).messages, source.make(200).messages
    assert first[0] == second[0] == SyntheticPrompts("2", shared_prefix=0.5).make(200).messages[0]
    assert first[1] != second[1]


@pytest.mark.parametrize("share", [0.0, 0.25, 0.9])
def test_prompts_have_exactly_the_tokens_asked_for_and_share_what_they_shall(share: float) -> None:
    tokenizer = byte_pairs()
    sources = [SyntheticPrompts(str(seed), shared_prefix=share, tokenizer=tokenizer) for seed in (1, 2)]
    prompts = [source.make(200) for source in sources for _ in range(3)]
    for prompt in prompts:
        assert sum(tokenizer.count(message["content"]) for message in prompt.messages) == prompt.tokens == 200
    shared = {message["content"] for prompt in prompts for message in prompt.messages if message["role"] == "system"}
    assert sum(map(tokenizer.count, shared)) == int(200 * share), "one system prompt, the same in every client process"
    assert len({prompt.messages[-1]["content"] for prompt in prompts}) == len(prompts), "and the rest is never the same"


@pytest.mark.parametrize(("answer", "differs"), [("word " * 12, 0.0), ("word-word-word-word " * 12, 1.0)])
def test_a_servers_token_count_is_checked_with_the_models_tokenizer(
    tmp_path: Path, engine: Callable[..., str], answer: str, differs: float
) -> None:
    """Tokens a second, and dollars a token, are made of what the server says: one that counts otherwise than its model is found out."""
    file = tmp_path / "tokenizer.json"
    file.write_text(words())
    transport = OpenAITransport(engine("--sim-answers", json.dumps({"story": answer})))
    load = Load(transport, 30, 40, 64, 0, 0.5, concurrency=2, tokenizer_file=file)
    with WorkerPool(1) as pool:
        measurement = pool.measure(load)
    assert measurement.errors == {}
    assert measurement.usage_differs == differs
    assert 0 < sum(result.counted_tokens > 0 for result in measurement.results) <= len(measurement.results) / 20 + 1
    assert not any(result.text for result in measurement.results)


def words() -> str:
    """A tokenizer to which a word is a token, as the simulated engine counts, and so is each part of one with hyphens."""
    from tokenizers import Tokenizer as Made
    from tokenizers import models, pre_tokenizers

    made = Made(models.WordLevel({"[UNK]": 0, "word": 1}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return made.to_str()


def test_a_chat_goes_on_with_what_the_model_said() -> None:
    source = SyntheticPrompts("1", turns=3, shared_prefix=0.5)
    first = source.make(50)
    other = source.make(50)
    assert [message["role"] for message in first.messages] == ["system", "user"]
    assert first.messages[1] != other.messages[1], "while a chat waits for its answer, another begins"
    source.answered(first, "one", 1)
    second = source.make(50)
    assert second.messages[:3] == (*first.messages, {"role": "assistant", "content": "one"})
    source.answered(second, "two", 1)
    third = source.make(50)
    assert third.turn == 3
    source.answered(third, "three", 1)
    assert source.make(50).turn == 1, "three messages of the user are a chat"


def test_users_of_a_chat_send_the_answers_that_they_got(engine: Callable[..., str]) -> None:
    """The engine counts words: a chat's next prompt has those of the last, those of its answer, and the new ones."""
    load = Load(OpenAITransport(engine()), 30, 40, 10, warmup_s=0, duration_s=0.6, concurrency=1, turns=3)
    with WorkerPool(1) as pool:
        results = pool.measure(load).results
    grows = [later.prompt_tokens - earlier.prompt_tokens for earlier, later in pairwise(results[:6])]
    new = grows[0] - 10
    assert new > 0
    assert grows[:2] == [10 + new, 10 + new]
    assert grows[2] == -sum(grows[:2]), "the fourth request begins a new chat"
    assert all(result.text == "" for result in results)


def test_a_bad_line_of_conversations_is_named() -> None:
    good = '{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}'
    assert conversations(good, "f.jsonl") == [({"role": "user", "content": "a"},)]
    with pytest.raises(InvalidInput, match=r"f\.jsonl, line 2"):
        conversations(f"{good}\nno json", "f.jsonl")


SHAREGPT = """\
{"id": "QWJhYvA_0", "conversations": [{"from": "human", "value": "one two"}, {"from": "gpt", "value": "three"}, {"from": "human", "value": "four"}]}
{"id": "i6Iy_0", "conversations": [{"from": "system", "value": "be brief"}, {"from": "human", "value": "a b c d e f"}, {"from": "gpt", "value": "g"}]}
{"messages": [{"role": "user", "content": "as OpenAI has it, in twelve words that need no more than one token"}]}
{"prompt": "nothing but a prompt, in a line that has rather more words than any other line of this file"}
"""


def test_recorded_conversations_are_asked_up_to_their_last_question(tmp_path: Path, engine: Callable[..., str]) -> None:
    file = tmp_path / "sharegpt.jsonl"
    file.write_text(SHAREGPT)
    found = conversations(SHAREGPT, file.name)
    assert [message["role"] for message in found[0]] == ["user", "assistant", "user"]
    assert [message["role"] for message in found[1]] == ["system", "user"]
    load = Load(OpenAITransport(engine()), 30, 1, 2, warmup_s=0, duration_s=0.4, concurrency=1, prompts_file=file)
    with WorkerPool(1) as pool:
        asked = [result.prompt_tokens for result in pool.measure(load).results]
    assert len(set(asked[:4])) == 4, "each is asked before any is asked again"
    words = [sum(len(message["content"].split()) for message in one) for one in found]
    assert {tokens - min(asked) for tokens in asked} == {count - min(words) for count in words}, "whole, and nothing else"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Callable[..., str]]:
    with ExitStack() as stack:
        yield lambda *settings: stack.enter_context(simulated(tmp_path, "--sim-ttft-ms", "5", "--sim-itl-ms", "1", *settings))


def stalled(url: str, load: Load) -> Measurement:
    """The load, while the server's process is stopped for 2 s from its second second on."""
    process = process_of(url)
    resume = threading.Timer(2.0, os.kill, (process, signal.SIGCONT))

    def stall(_: str) -> None:
        if not resume.is_alive() and not resume.finished.is_set():
            os.kill(process, signal.SIGSTOP)
            resume.start()

    with WorkerPool(1) as pool:
        measurement = pool.measure(load, stall)
    resume.join()
    return measurement


def process_of(url: str) -> int:
    """Which process listens there."""
    port = url.rsplit(":", 1)[1].split("/")[0]
    found = [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if b"container.engines.simulated" in (words := path.read_bytes().split(b"\0")) and port.encode() in words
    ]
    assert len(found) == 1
    return found[0]


def test_an_open_loop_keeps_its_schedule_while_the_server_stalls(engine: Callable[..., str]) -> None:
    rate = 50
    schedule = tuple(ScheduledRequest(number / rate) for number in range(4 * rate))
    measurement = stalled(url := engine(), Load(OpenAITransport(url), 30, 16, 4, warmup_s=0, duration_s=4, schedule=schedule))
    assert len(measurement.counted) == len(schedule)
    assert measurement.errors == {}
    late_ms = sorted((result.sent_ns - result.intended_ns) / 1e6 for result in measurement.counted)
    assert late_ms[int(0.9 * len(late_ms))] < 1000, "had they waited for the server, a quarter would be later than half its stall"
    waits_ms = [result.ttft_ms for result in measurement.counted]
    assert sum(wait > 1000 for wait in waits_ms) >= 0.7 * rate, "those due in its first second waited longer than one"
    assert max(waits_ms) > 1800
