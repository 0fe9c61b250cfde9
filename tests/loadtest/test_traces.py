"""Recorded traces, as they are published and as they go wrong."""

from __future__ import annotations

import asyncio
import gzip
import json
import math
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from loadtest.client.chat_client import ChatRequest
from loadtest.errors import InvalidInput
from loadtest.generator import load
from loadtest.generator.arrivals import PrefixBlocks, ScheduledRequest
from loadtest.generator.prompts import Prompt, SyntheticPrompts
from loadtest.generator.worker_pool import WorkerPool
from loadtest.inputs import LoadInputs
from loadtest.measurement.measurement import Measurement
from loadtest.measurement.request_record import RequestRecord
from loadtest.measurement.scoring import profile_result
from loadtest.measurement.worker_result import WorkerResult
from loadtest.profiles import Objective, Replay
from loadtest.report import answer_lengths
from loadtest.runner import Runner
from loadtest.traces import reading
from loadtest.traces.reading import ReplayedPart
from loadtest.transports.openai import OpenAITransport
from tests.support.simulated_engine import simulated
from tests.support.tokenizers import byte_pairs

AZURE_2023 = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:48.6805900,396,109
"""
AZURE_2024 = """TIMESTAMP,ContextTokens,GeneratedTokens
2024-05-10 23:59:59.500000+00:00,374,44
2024-05-11 00:00:01.500000+00:00,396,109
"""
BURSTGPT = """Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,374,44,418,Conversation log
6,GPT-4,10,0,10,API log
7,GPT-4,396,109,505,Conversation log
"""
BURSTGPT_3 = """Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type
7,12,2.5,GPT-4,396,109,505,Conversation log
5,,1.25,ChatGPT,374,44,418,API log
"""
MOONCAKE = """{"timestamp": 27482, "input_length": 374, "output_length": 44, "hash_ids": null}
{"timestamp": 29482, "input_length": 396, "output_length": 109}
"""
NVIDIA = """{"created_time": 0.0, "input_tokens": 374, "output_tokens": 44, "session_id": "a"}

{"created_time": 2000.0, "input_tokens": 396, "output_tokens": 109, "session_id": "b"}
"""
SINCE_1970 = """TIMESTAMP,ContextTokens,GeneratedTokens
1700158546{0},374,44
1700158548{0},396,109
"""
WHOLE = ReplayedPart(0, math.inf)


def read(text: str, part: ReplayedPart, folder: Path, name: str = "trace.csv") -> tuple[ScheduledRequest, ...]:
    (folder / name).write_text(text)
    return reading.read(folder / name, part, name).schedule


@pytest.mark.parametrize(
    "trace",
    [
        AZURE_2023,
        "\ufeff" + AZURE_2023.replace("\n", "\r\n"),
        AZURE_2024,
        BURSTGPT,
        BURSTGPT_3,
        MOONCAKE,
        NVIDIA,
        "\n  \n" + AZURE_2024,
        MOONCAKE.replace("27482", "1700158546000000").replace("29482", "1700158548000000"),
        *(SINCE_1970.format(digits) for digits in ("", ".0", "000", "000000", "000000000")),
    ],
)
def test_traces_are_read_as_they_are_published(trace: str, tmp_path: Path) -> None:
    assert read(trace, ReplayedPart(0, 60, speed=2), tmp_path) == (
        ScheduledRequest(0.0, 374, 44),
        ScheduledRequest(1.0, 396, 109),
    )


@pytest.mark.parametrize(("unit", "second"), [("s", 2000), ("ms", 2), ("us", 2e-3), ("ns", 2e-6)])
def test_somebodys_word_says_what_numbers_count(unit: Any, second: float, tmp_path: Path) -> None:
    trace = "Timestamp,Request tokens,Response tokens\n0,1,2\n2000,3,4\n"
    requests = read(trace, ReplayedPart(0, math.inf, timestamp_unit=unit), tmp_path)
    assert [due.at_s for due in requests] == pytest.approx([0, second])


def test_a_part_of_a_trace_begins_and_ends_where_it_is_said(tmp_path: Path) -> None:
    trace = "Timestamp,Request tokens,Response tokens\n" + "".join(f"{at},{at + 1},1\n" for at in (9, 3, 0, 5, 1, 4, 8, 2, 7, 6))
    part = read(trace, ReplayedPart(start_s=3, lasts_s=2, speed=2), tmp_path)
    assert [(due.at_s, due.prompt_tokens) for due in part] == [(0, 4), (0.5, 5), (1, 6), (1.5, 7)]
    assert reading.read(tmp_path / "trace.csv", ReplayedPart(start_s=3, lasts_s=2, speed=2), "").ends_s == 3
    with pytest.raises(InvalidInput, match=r"trace.csv has no request with an answer from 10 s on: it ends 9 s after its first"):
        read(trace, ReplayedPart(start_s=10, lasts_s=2), tmp_path)


HEAD = "TIMESTAMP,ContextTokens,GeneratedTokens\n1,2,3\n"
LINE = '{"timestamp": 1, "input_length": 2, "output_length": 3}\n'


NO_TRACES = [
    ("", "trace.csv is empty$"),
    ("\n \n", "trace.csv, line 2: is empty$"),
    ("TIMESTAMP,a\n1,2\n", "line 1: has no column ContextTokens or Request tokens; it has 'TIMESTAMP, a'"),
    ("[1, 2]\n", r"line 1: begins with '\[1, 2\]\\n': neither JSON lines \(Mooncake's\) nor CSV"),
    (HEAD + "nan,2,3\n", "line 3: the timestamp 'nan' must be a finite number, not less than 0"),
    (HEAD + "inf,2,3\n", "line 3: the timestamp 'inf' must be a finite number"),
    (HEAD + "-1,2,3\n", "line 3: the timestamp '-1' must be a finite number, not less than 0"),
    (HEAD + "yesterday,2,3\n", "line 3: the timestamp 'yesterday' is neither a number nor a date and time such as"),
    (HEAD + ",2,3\n", "line 3: the timestamp '' is neither"),
    (HEAD + "1,nan,3\n", "line 3: ContextTokens is 'nan' and must be a whole number of tokens, from 0 to 100,000,000"),
    (HEAD + "1,-2,3\n", "line 3: ContextTokens is '-2'"),
    (HEAD + "1,2.5,3\n", "line 3: ContextTokens is '2.5'"),
    (HEAD + "1,2,1e12\n", "line 3: GeneratedTokens is '1e12'"),
    (HEAD + "1,2\n", "line 3: has 2 fields, and the header 3: the row is cut off, or a quote is missing"),
    (HEAD + "1,2,34,5\n", "line 3: has 4 fields, and the header 3"),
    (HEAD + "1,1_0,3\n", "line 3: ContextTokens is '1_0' and must be"),
    (HEAD + "1,2,\u0663\n", "line 3: GeneratedTokens is '\u0663' and must be"),
    (HEAD + '1,2,"3\n1,2,3\n1,2,3\n', r"line 5: unexpected end of data \(a quote that is not closed takes the lines below it in\)"),
    (HEAD.replace("GeneratedTokens", "GeneratedTokens,ContextTokens"), "line 1: has the column ContextTokens 2 times"),
    ('"TIME\nSTAMP",x\n', r"has no column TIMESTAMP or Timestamp; it has 'TIME\\nSTAMP, x'"),
    (",".join("x" * 99_999) + "\n", "has no column"),
    (HEAD + "9" * 100_000 + ",2,3\n", "line 3: the timestamp '9{80}' must be a finite number"),
    (HEAD + "2023-11-16 18:15:46,2,3\n", "line 3: the timestamp .* is a date and time, and those before it are a number"),
    (HEAD + "1700158546000,2,3\n", r"line 3: the timestamp '1700158546000' is a number \(ms\), and those before it are a number \(s\)"),
    ("TIMESTAMP,ContextTokens,GeneratedTokens\n1,2,0\n", "trace.csv has no request with an answer$"),
    (HEAD + "500000,2,3\n", r"trace.csv has requests that are 5e\+05 s apart on average, if its timestamps are s: set timestamp_unit"),
    (HEAD + "1,2,3\n" + "9" * 2_000_000, "line 4: has more than 1,000,000 characters"),
    (HEAD + "".join(f"{2 * row}000000000,2,3\n" for row in range(1, 200)), r"line 52: .* a number \(ms\), .* \(s\): set timestamp_unit"),
    (HEAD.replace("1,2,3\n", "") + "".join(f"{5000 + 2 * row}000000000,2,3\n" for row in range(9)), r"2e\+06 s apart .* are ms: set"),
    (LINE * 50 + LINE.replace("1,", "2,") * 60, "has requests that are 9.2e-06 s apart on average, if its timestamps are ms: set"),
    (LINE + "{", "line 2: "),
    (LINE + "[1]\n", "line 2: is a JSON list and must be an object"),
    (LINE + "[" * 100_000 + "\n", "line 2: "),
    (LINE + '{"input_length": 2, "output_length": 3}\n', "line 2: has no timestamp or created_time; it has 'input_length, output_length'"),
    (LINE.replace("1", "1" + "0" * 400), "line 1: the timestamp 'nan' must be a finite number"),
    ('{"a\\nb": 1}', r"line 1: has no timestamp or created_time; it has 'a\\nb'"),
    (json.dumps({"k" * 900_000: 1}), "line 1: has no timestamp or created_time; it has 'k{80}'"),
    (LINE.replace("1", "NaN"), "line 1: the timestamp 'nan' must be a finite number"),
    (LINE.replace("1", '"1"'), "line 1: timestamp is '1' and must be a number$"),
    (LINE.replace("2", "true"), "line 1: input_length is 'True' and must be a whole number of tokens"),
    (LINE.replace("3", "[3]"), r"line 1: output_length is '\[3\]' and must be"),
    (LINE.replace("}", ', "hash_ids": 7}'), "line 1: hash_ids is '7' and must be a list"),
    (LINE.replace("}", ', "hash_ids": [-1]}'), "line 1: hash_ids has '-1', and must be of whole numbers"),
    (LINE.replace("}", ', "hash_ids": [1.5]}'), "line 1: hash_ids has '1.5'"),
    (LINE.replace("}", ', "hash_ids": [1, 2]}'), "line 1: hash_ids has 2 blocks, .* 2 tokens of the prompt in blocks of 512: set block_tokens"),
]  # fmt: skip


@pytest.mark.parametrize(("trace", "says"), NO_TRACES, ids=map(str, range(len(NO_TRACES))))
def test_what_is_no_trace_is_refused_with_its_line(trace: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=says) as caught:
        read(trace, WHOLE, tmp_path)
    assert str(caught.value).startswith("trace.csv")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (HEAD.encode() + b"1,2,3\n" * 100 + b"1,\xff,3\n", r"trace\.csv, line 103: not a text in UTF-8$"),
        (gzip.compress(HEAD.encode(), mtime=0), r"trace\.csv, line 1: it is compressed: unpack it first$"),
    ],
    ids=["not UTF-8", "gzip"],
)
def test_bytes_that_are_no_text_are_refused_with_their_line(body: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "trace.csv").write_bytes(body)
    with pytest.raises(InvalidInput, match=says):
        reading.read(tmp_path / "trace.csv", WHOLE, "trace.csv")


def blocks(*ids: Any, at_ms: int = 0, tokens: int | None = None, each: int = 64) -> str:
    row = {"timestamp": at_ms, "input_length": tokens or len(ids) * each, "output_length": 2, "hash_ids": list(ids)}
    return json.dumps(row) + "\n"


@pytest.mark.parametrize("exact", [True, False])
def test_prompts_whose_blocks_begin_alike_begin_alike_in_every_process(exact: bool, tmp_path: Path) -> None:
    trace = blocks(0, 1, 2) + blocks(0, 1, "x", at_ms=1, tokens=190) + blocks(7, 1, at_ms=2) + blocks(0, at_ms=3, tokens=120)
    requests = read(trace, ReplayedPart(0, math.inf, block_tokens=64), tmp_path)
    assert [due.blocks.known for due in requests if due.blocks] == [0, 2, 0, 1]
    tokenizer = byte_pairs() if exact else None
    prompts = [
        SyntheticPrompts(str(place), tokenizer=tokenizer, blocks_seed="s").make(due.prompt_tokens, due.blocks)
        for place, due in enumerate(requests)
    ]
    texts = [prompt.messages[0]["content"] for prompt in prompts]
    lead = "Write a long story about:"
    first, second, third, fourth = (text.removeprefix(lead).split() for text in texts)
    assert first[:128] == second[:128]
    assert first[128:140] != second[128:140]
    assert first[64:80] != third[:16]
    assert third[64:100] == first[64:100], "the block is the same, and behind another it is in no cache"
    assert first[:64] == fourth[:64]
    assert first[64:80] != fourth[64:80], "the end of a prompt whose last block has no id is its own"
    before = tokenizer.count(lead) if tokenizer else 5 + 12
    assert [prompt.fresh_tokens for prompt in prompts] == [192 - before, 190 - before - 128, 128 - before, 120 - before - 64]
    if tokenizer:
        assert [tokenizer.count(text) for text in texts] == [192, 190, 128, 120]
    other = SyntheticPrompts("0", tokenizer=tokenizer, blocks_seed="t").make(192, requests[0].blocks)
    assert other.messages[0]["content"].removeprefix(lead).split()[:8] != first[:8]


def test_a_replay_asks_for_the_prefixes_and_the_lengths_that_were_recorded(tmp_path: Path) -> None:
    """24 requests in chats of four turns, each turn with all blocks before it: of 10 blocks a chat 6 are known."""
    chats = [
        blocks(*(100 * chat + number for number in range(turn)), at_ms=50 * (6 * turn + chat))
        for turn in range(1, 5)
        for chat in range(6)
    ]
    (tmp_path / "trace.jsonl").write_text("".join(chats))
    profile = Replay.model_validate(
        {"kind": "replay", "trace": "trace.jsonl", "block_tokens": 64, "warmup_s": 0, "duration_s": 1.6}
        | {"objectives": {"error_rate": {"at_most": 0}}}
    )
    inputs = LoadInputs(lambda name: (tmp_path / name).read_bytes(), tmp_path)
    engine = ("--sim-ttft-ms", "2", "--sim-itl-ms", "1", "--sim-cache-tokens", "100000", "--enable-cache-report")
    with simulated(tmp_path, *engine) as url, WorkerPool(2) as pool:
        measured = Runner(pool, lambda _: OpenAITransport(url), inputs).run(profile, 0, lambda _: None).measurement
    assert len(measured.counted) == 24
    assert not measured.errors
    cache = measured.prompt_cache
    assert cache.share is not None
    assert cache.meant is not None
    assert cache.share == pytest.approx(0.6, abs=0.1)
    assert cache.share <= cache.meant + 0.02
    assert measured.client(math.inf).bottleneck == ""
    assert (measured.answer_lengths.asked, measured.answer_lengths.got) == (48, 48)


@pytest.mark.parametrize("seed", range(3))
def test_of_two_that_begin_alike_at_one_moment_either_may_find_the_other_s_prefix(seed: int, tmp_path: Path) -> None:
    """The server takes them as they come, on one instance of two client processes: only together they have as much as was recorded."""
    answers = []
    for pair in range(40):
        for place in range(2):
            cached = 1000 if (place == 0) == ((pair + seed) % 3 == 0) else 0
            made = RequestRecord(
                pair, pair, [pair + 1], pair + 1, 1, 1000, fresh_tokens=0 if place else 1000, cached_tokens=cached
            )
            made.in_any_order = True
            answers.append(made)
    measured = Measurement.of((0, 1), 0, [WorkerResult(answers)])
    assert measured.known_prompts == ""
    for answer in answers:
        answer.cached_tokens = 1000
    assert measured.known_prompts.startswith(
        "the server took 100% of the prompts' tokens from its prefix cache, and at most 50% are meant"
    )


def test_prompts_beside_hash_ids_are_refused(tmp_path: Path) -> None:
    files = {"trace.jsonl": blocks(0, at_ms=0) + blocks(0, at_ms=9000), "prompts.jsonl": '{"prompt": "hello"}'}
    inputs = LoadInputs(lambda name: files[name].encode(), tmp_path)
    settings = {"kind": "replay", "trace": "trace.jsonl", "block_tokens": 64, "prompts": "prompts.jsonl", "warmup_s": 0}
    profile = Replay.model_validate({**settings, "duration_s": 9, "objectives": {"error_rate": {"at_most": 0}}})
    with pytest.raises(InvalidInput, match=r"trace\.jsonl has hash_ids, .* and prompts names prompts\.jsonl: leave prompts out"):
        inputs.check([profile])


@pytest.mark.parametrize("tokens", [1, 2, 6, 7, 8])
def test_a_prompt_of_a_few_tokens_has_as_many(tokens: int) -> None:
    tokenizer = byte_pairs()
    source = SyntheticPrompts("1", tokenizer=tokenizer)
    for blocks_of_it in (None, PrefixBlocks((1,), 5_000_000)):
        prompt = source.make(tokens, blocks_of_it)
        assert tokenizer.count(prompt.messages[0]["content"]) == prompt.tokens == tokens


def test_what_comes_in_one_burst_is_made_before_it_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve prompts of one moment, each of which takes 20 ms to make: none is late for the others. The clock moves by them, and by sleep."""
    due = tuple(ScheduledRequest(1.0, 10, 2, PrefixBlocks((number,), 16)) for number in range(12))
    sent_s, clock, sleep = list[float](), [0], asyncio.sleep

    async def pass_by(seconds: float) -> None:
        clock[0] += int(seconds * 1e9)
        await sleep(0)

    class Slow:
        dealt_to = repeated = 0

        def make(self, tokens: int, _blocks: PrefixBlocks | None = None) -> Prompt:
            clock[0] += 20_000_000
            return Prompt(({"role": "user", "content": "x"},), tokens)

        def answered(self, prompt: Prompt, text: str, tokens: int) -> None: ...

    class Client:
        async def send(self, _request: ChatRequest, intended_ns: int) -> RequestRecord:
            sent_s.append(clock[0] / 1e9)
            return RequestRecord(intended_ns)

    monkeypatch.setattr(asyncio, "sleep", pass_by)
    monkeypatch.setattr(load, "time", SimpleNamespace(monotonic_ns=lambda: clock[0]))
    client: Any = Client()
    asyncio.run(
        load.run(load.Load(OpenAITransport(""), 60, 1, 1, 0, 2, schedule=due), client, Slow(), 0, lambda _: None, lambda _: None)
    )
    assert sent_s == [1.0] * 12


def test_a_trace_is_read_once_and_only_what_is_replayed_of_it_is_kept(tmp_path: Path) -> None:
    """200,000 requests, of which 100 are replayed: some 5 MB as they are kept, 60 as objects."""
    rows = "".join(f"{number / 10},{number % 900 + 1},{number % 90 + 1}\n" for number in range(200_000))
    (tmp_path / "trace.csv").write_text("Timestamp,Request tokens,Response tokens\n" + rows)
    asked = list[str]()

    def fetch(address: str) -> bytes:
        asked.append(address)
        return (tmp_path / "trace.csv").read_bytes()

    profile = Replay.model_validate(
        {"kind": "replay", "trace": "trace.csv", "warmup_s": 2, "duration_s": 8, "objectives": {"error_rate": {"at_most": 0}}}
    )
    inputs = LoadInputs(fetch, tmp_path)
    inputs.required("trace.csv")
    tracemalloc.start()
    found = inputs.replayed(profile)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found.schedule) == 100
    assert inputs.replayed(profile) is found
    assert asked == ["trace.csv"]
    assert peak_bytes < 15e6


@pytest.mark.parametrize(
    ("exact", "got", "says"),
    [
        (True, 100, "answers of 400 tokens asked for, 400 got (100.0%)"),
        (
            True,
            50,
            "answers of 400 tokens asked for, 200 got (50.0%): the engine does not keep to the length asked for (ignore_eos)",
        ),
        (False, 50, ""),
    ],
)
def test_answers_of_another_length_than_was_asked_for_are_said(exact: bool, got: int, says: str) -> None:
    answers = [RequestRecord(at, at, [at + 1, at + 2], at + 2, got, asked_tokens=100) for at in range(4)]
    measured = Measurement.of((0, 1), 0, [WorkerResult(answers)])
    objectives = {"error_rate": Objective(at_most=0)}
    load = {"kind": "replay", "exact_output": exact}
    assert (
        answer_lengths(profile_result(load, measured, objectives, usd_per_hour=None, lag_at_most_ms=50, production=None)) == says
    )
