"""No load asks what another asked: else a prefix cache answers it, and the server looks faster than it is."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from loadtest import measure, read_profiles
from loadtest.generator.load import Load, prompt_source
from loadtest.generator.prompts import SyntheticPrompts
from loadtest.generator.worker_pool import WorkerPool
from loadtest.inputs import LoadInputs
from loadtest.measurement.measurement import Measurement
from loadtest.measurement.request_record import RequestRecord
from loadtest.measurement.worker_result import WorkerResult
from loadtest.profiles import Capacity, Ladder, LoadProfile, Objective
from loadtest.runner import Runner
from loadtest.table import render
from loadtest.transports.openai import OpenAITransport
from tests.support.simulated_engine import simulated

SECOND = 1_000_000_000
CACHE = ("--sim-cache-tokens", "1000000", "--enable-cache-report")
QUICK: dict[str, Any] = {
    "prompt_tokens": 112,
    "output_tokens": 2,
    "warmup_s": 0,
    "duration_s": 0.4,
    "objectives": {"ttft_p50_ms": {"at_most": 60_000}},
}


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    with WorkerPool(2) as shared:
        yield shared


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Callable[..., str]]:
    with ExitStack() as stack:
        yield lambda *settings: stack.enter_context(
            simulated(tmp_path, "--sim-ttft-ms", "5", "--sim-itl-ms", "1", *CACHE, *settings)
        )


def runner(pool: Any, url: str, folder: Path, seed: str = "") -> Runner:
    return Runner(pool, lambda _: OpenAITransport(url), LoadInputs(lambda _: None, folder), seed=seed)


def ladder(*concurrencies: int, **changes: Any) -> Ladder:
    return Ladder.model_validate({"kind": "ladder", "concurrencies": list(concurrencies), **QUICK, **changes})


def test_each_step_of_a_ladder_and_each_process_asks_what_no_other_asked(
    engine: Callable[..., str], pool: WorkerPool, tmp_path: Path
) -> None:
    """It was 46 to 54 per cent of the prompts. 40 clients are two processes."""
    outcome = runner(pool, engine(), tmp_path).run(ladder(2, 8, 40), 0, lambda _: None)
    shares = [trial.cached_share for trial in outcome.trials]
    assert all(share is not None and share < 0.08 for share in shares), "the five words that all begin with, and chance"
    assert outcome.measurement.invalid_reason == outcome.measurement.client(math.inf).bottleneck.replace("; ", "") == ""


def test_a_server_that_was_asked_the_same_before_decides_nothing(
    engine: Callable[..., str], pool: WorkerPool, tmp_path: Path
) -> None:
    url = engine()
    runner(pool, url, tmp_path, "one").run(ladder(4, duration_s=4), 0, lambda _: None)  # asks all that is asked below
    again = runner(pool, url, tmp_path, "one").run(ladder(2, 2), 0, lambda _: None)
    assert again.trials[0].cached_share == pytest.approx(0.99, abs=0.02)
    assert again.trials[1].cached_share is not None
    assert again.trials[1].cached_share < 0.08
    said = again.measurement.client(math.inf).bottleneck
    assert said.startswith(
        "the server took 99% of the prompts' tokens from its prefix cache, and at most 5% are meant to be in it"
    ), said
    other = runner(pool, url, tmp_path, "another").run(ladder(2), 0, lambda _: None)
    assert other.measurement.client(math.inf).bottleneck == ""


def test_runs_of_the_command_ask_new_prompts_unless_they_are_given_a_seed(engine: Callable[..., str]) -> None:
    url = engine()
    profiles = read_profiles(json.dumps({"kind": "closed_loop", "concurrency": 2, **QUICK}))

    def run(seed: str | None = None) -> Any:
        report, _ = measure(OpenAITransport(url, model="m"), profiles, processes=1, lag_at_most_ms=60_000, seed=seed)
        return report

    first, second = run(), run()
    assert (first.verdict, second.verdict) == ("passed", "passed")
    assert first.seed != second.seed
    repeated = run(first.seed)
    assert repeated.verdict == "invalid"
    assert "prefix cache" in repeated.reasons[0]
    assert re.search(r"^  prompts' tokens from the prefix cache: [4-7]\.\d%, at most 5% meant$", render(second), re.MULTILINE)


@pytest.mark.parametrize(
    ("changes", "least"),
    [({"shared_prefix": 0.5}, 0.45), ({"turns": 4, "output_tokens": 30}, 0.5)],
)
def test_what_a_load_means_to_be_cached_may_be(
    changes: dict[str, Any], least: float, engine: Callable[..., str], pool: WorkerPool, tmp_path: Path
) -> None:
    outcome = runner(pool, engine(), tmp_path).run(ladder(2, **changes), 0, lambda _: None)
    cache = outcome.measurement.prompt_cache
    assert cache.share is not None
    assert cache.meant is not None
    assert least < cache.share <= cache.meant + 0.03
    assert outcome.measurement.client(math.inf).bottleneck == ""


def test_a_server_that_does_not_say_is_not_judged(tmp_path: Path, pool: WorkerPool) -> None:
    with simulated(tmp_path, "--sim-ttft-ms", "5", "--sim-cache-tokens", "100000") as url:
        outcome = runner(pool, url, tmp_path).run(ladder(2), 0, lambda _: None)
    assert outcome.measurement.prompt_cache.share is None
    assert outcome.measurement.client(math.inf).bottleneck == ""


def request(prompt: int, cached: int | None, fresh: int) -> RequestRecord:
    return RequestRecord(1, 1, [2, 3], 3, 2, prompt, fresh_tokens=fresh, cached_tokens=cached)


@pytest.mark.parametrize(
    ("cached", "fresh", "is_known"),
    [
        (20, 80, False),  # all that is not fresh
        (23, 80, False),  # and three words of chance
        (25, 80, False),  # two per cent of the tokens are beyond
        (26, 80, True),
        (99, 80, True),
        (99, 0, False),  # a load that means nothing to be fresh
        (None, 80, False),
    ],
)
def test_the_bound_of_what_may_be_cached(cached: int | None, fresh: int, is_known: bool) -> None:
    measurement = Measurement(0, 10)
    for _ in range(10):
        measurement.add(request(100, cached, fresh))
    assert bool(measurement.known_prompts) == is_known
    assert measurement.prompt_cache.share == (None if cached is None else cached / 100)
    assert measurement.prompt_cache.meant == pytest.approx(1 - fresh / 100)


@dataclass
class Watched:
    """A pool that puts nothing on and notes what it was to ask."""

    asked: list[Load] = field(default_factory=list)
    uses: int = 10

    def measure(self, load: Load, _: Callable[[str], None]) -> Measurement:
        self.asked.append(load)
        found = WorkerResult(prompts_to=load.prompts_from + self.uses, prompts_repeated=2)
        measurement = Measurement.of(load.window_s, 0, [found])
        for due in load.schedule or (None,) * load.concurrency:
            at = 0 if due is None else int(due.at_s * SECOND)
            measurement.add(RequestRecord(at, at, [at + 1], at + 1, 1, 1))
        return measurement


PROFILES: dict[str, LoadProfile] = {
    "ladder": ladder(1, 2, 3),
    "capacity": Capacity(
        kind="capacity",
        start_rate_per_s=4,
        highest_rate_per_s=8,
        warmup_s=0,
        duration_s=5,
        objectives={"ttft_p99_ms": Objective(at_most=1000)},
    ),
}


@pytest.mark.parametrize("kind", PROFILES)
def test_no_two_loads_of_a_run_have_the_same_seed_or_the_same_recorded_prompts(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "a"}\n')
    watched = Watched()
    one = runner(watched, "", tmp_path)
    one.inputs = LoadInputs(lambda _: file.read_bytes(), tmp_path)
    profile = PROFILES[kind].model_copy(update={"prompts": "s3://b/prompts.jsonl"})
    for number in range(2):
        outcome = one.run(profile, number, lambda _: None)
    assert len(watched.asked) >= 6
    assert len({load.seed for load in watched.asked}) == len(watched.asked)
    assert [load.prompts_from for load in watched.asked] == [10 * number for number in range(len(watched.asked))]
    assert outcome.measurement.prompt_cache.repeated == 2


def test_recorded_prompts_are_dealt_out_to_hosts_and_processes_until_there_are_no_more(tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text("".join(f'{{"prompt": "question {number}"}}\n' for number in range(60)))
    load = Load(OpenAITransport(""), 1, 1, 1, 0, 1, concurrency=6, prompts_file=file, prompts_from=7)
    shares = [load.share(host, 2).share(process, 3 - host) for host in range(2) for process in range(3 - host)]
    sources = [prompt_source(share, None) for share in shares]
    asked = [source.make(0).messages[0]["content"] for source in sources for _ in range(8)]
    assert len(set(asked)) == len(asked) == 40
    assert sum(source.repeated for source in sources) == 0
    after = prompt_source(
        Load(load.transport, 1, 1, 1, 0, 1, prompts_file=file, prompts_from=max(one.dealt_to for one in sources)), None
    )
    rest = [after.make(0).messages[0]["content"] for _ in range(60)]
    assert not set(rest[: 60 - after.repeated]) & set(asked), "the next load begins where this one ended"
    assert after.repeated == max(one.dealt_to for one in sources)
    assert len(set(rest)) == 60


def test_made_prompts_of_hosts_processes_and_loads_have_nothing_in_common() -> None:
    loads = [Load(OpenAITransport(""), 1, 64, 1, 0, 1, seed=seed) for seed in ("1", "2", "11")]
    shares = [load.share(host, 2).share(process, 12) for load in loads for host in range(2) for process in range(12)]
    beginnings = [prompt_source(share, None).make(64).messages[0]["content"][:80] for share in shares]
    assert len(set(beginnings)) == len(shares)


def test_prefixes_of_several_lengths_begin_alike() -> None:
    """Else nothing would be the same in all prompts of a load whose lengths differ."""
    one, other = SyntheticPrompts("1", shared_prefix=0.5), SyntheticPrompts("2", shared_prefix=0.5)
    systems = [source.make(tokens).messages[0]["content"].split() for tokens in (400, 100, 900, 100) for source in (one, other)]
    longest = max(systems, key=len)
    assert [len(system) for system in systems] == [200, 200, 50, 50, 450, 450, 50, 50]
    assert all(system == longest[: len(system)] for system in systems)
    assert one.make(400).messages[1] != other.make(400).messages[1]


def test_what_conversations_of_a_file_have_in_common_is_meant_to_be_cached(tmp_path: Path) -> None:
    system = {"role": "system", "content": "s " * 30}
    talks: list[dict[str, Any]] = [{"messages": [system, {"role": "user", "content": f"{letter} " * 70}]} for letter in "abc"]
    talks += [{"prompt": "the same twice"}, {"prompt": "the same twice"}, {"prompt": "x"}]
    file = tmp_path / "prompts.jsonl"
    file.write_text("".join(json.dumps(talk) + "\n" for talk in talks))
    source = prompt_source(Load(OpenAITransport(""), 1, 1, 1, 0, 1, prompts_file=file), None)
    fresh: dict[str, int] = {}
    for _ in talks:
        prompt = source.make(0)
        fresh[prompt.messages[-1]["content"].split()[0]] = prompt.fresh_tokens
    assert fresh == {
        "a": pytest.approx(70, abs=1),
        "b": pytest.approx(70, abs=1),
        "c": pytest.approx(70, abs=1),
        "the": 0,
        "x": 1,
    }
