"""Lengths that are drawn: what arrives at a server has the distribution that was written, whoever asks it."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from loadtest.generator.arrivals import ScheduledRequest
from loadtest.generator.load import Load, requests
from loadtest.generator.worker_pool import WorkerPool
from loadtest.lengths import Distribution, HistogramLengths, NormalLengths, PercentileLengths, describe, shares
from loadtest.profiles import ClosedLoop, Replay
from loadtest.transports.openai import OpenAITransport
from steps.evaluate_staging.report import formatting
from tests.support.put_on import COMMON, PROFILES, READ, profile, put_on, refused

DRAWS = 30_000
ONE_IN_A_MILLION = 4.9
"""So many standard deviations are exceeded once in a million times."""
NORMAL = NormalLengths(mean=512, stddev=128)
PERCENTILES = PercentileLengths(percentiles={50: 256, 90: 1024, 99: 4096})
HISTOGRAM = HistogramLengths(histogram={128: 5, 512: 3, 2048: 1})


def load(prompt: int | Distribution = 1, answer: int | Distribution = 1, **changes: Any) -> Load:
    return Load(OpenAITransport(""), 1, prompt, answer, 0, 1, **{"common_seed": "7", "concurrency": 6, **changes})


def drawn(lengths: Distribution, count: int = DRAWS, seed: str = "7") -> list[int]:
    return [due.output_tokens for due in islice(requests(load(1, lengths, common_seed=seed)), count)]


def assert_share(found: int, of: int, expected: float) -> None:
    """Binomial, as good as normal."""
    assert abs(found - of * expected) <= ONE_IN_A_MILLION * math.sqrt(of * expected * (1 - expected)) + 1e-9, (
        found / of,
        expected,
    )


@pytest.mark.parametrize(
    "lengths",
    [NORMAL, NormalLengths(mean=64, stddev=32), NormalLengths(mean=512, stddev=128, min=400, max=620)],
    ids=lambda one: one.words,
)
def test_a_normal_distribution_is_scipys_cut_off_and_rounded(lengths: NormalLengths) -> None:
    from scipy import stats  # type: ignore[import-untyped]

    ends = [(end - lengths.mean) / lengths.stddev for end in (lengths.least - 0.5, lengths.most + 0.5)]
    truth = stats.truncnorm(*ends, lengths.mean, lengths.stddev)
    found = drawn(lengths)
    assert abs(numpy.mean(found) - truth.mean()) < ONE_IN_A_MILLION * truth.std() / math.sqrt(DRAWS) + 0.01
    assert numpy.std(found) == pytest.approx(math.sqrt(truth.var() + 1 / 12), rel=0.02)
    for length in {lengths.least, *map(int, truth.ppf([0.001, 0.1, 0.5, 0.9, 0.999])), lengths.most - 1}:
        assert_share(sum(one <= length for one in found), DRAWS, float(truth.cdf(length + 0.5)))
    assert lengths.least <= min(found) <= max(found) <= lengths.most


def test_nothing_heaps_up_at_the_ends_of_a_normal_distribution() -> None:
    """2.4 % of it are below 1.5: as if all of them were 1, where lengths are clipped."""
    from scipy import stats

    found = Counter(drawn(NormalLengths(mean=100, stddev=50)))
    assert_share(found[1], DRAWS, float(stats.truncnorm(-1.99, 5.01, 100, 50).cdf(1.5)))
    assert found[1] < DRAWS * stats.norm(100, 50).cdf(1.5) / 10


@pytest.mark.parametrize(
    ("lengths", "off"),
    [
        ({"mean": 512, "stddev": 128}, None),
        ({"mean": 512, "stddev": 270}, None),
        ({"mean": 512, "stddev": 320}, 550),  # these three are scipy's truncnorm
        ({"mean": 512, "stddev": 128, "min": 500}, 606),
        ({"mean": 512, "stddev": 128, "max": 520}, 415),
        ({"mean": 512, "stddev": 5000, "min": 412, "max": 612}, None),  # as good as even
    ],
)
def test_a_mean_that_the_cut_moves_is_refused_with_what_it_becomes(lengths: dict[str, Any], off: int | None) -> None:
    if off is None:
        made = NormalLengths(**lengths)
        assert numpy.mean(drawn(made, 20_000)) == pytest.approx(512, rel=0.05)
        return
    with pytest.raises(ValidationError, match=rf"is {off} on average; lower stddev, move min or max, or give percentiles"):
        NormalLengths(**lengths)


@given(st.dictionaries(st.floats(0, 100).map(lambda one: round(one, 3)), st.integers(1, 10**7), min_size=1, max_size=8))
def test_percentiles_are_those_that_were_written(points: dict[float, int]) -> None:
    assume(max(points) > 1)
    rising = dict(zip(sorted(points), sorted(points.values()), strict=True))
    lengths = PercentileLengths(percentiles=rising)
    for percent, tokens in rising.items():
        assert lengths.at(percent / 100) == pytest.approx(tokens, abs=1e-6 * tokens)
    whole = [lengths.at(number / 500) for number in range(500)]
    assert whole == sorted(whole)
    assert (lengths.least, lengths.most) == (rising.get(0, 1), max(rising.values()))
    assert lengths.least <= whole[0] <= whole[-1] <= lengths.most


def test_drawn_percentiles_are_even_between_two() -> None:
    found = drawn(PERCENTILES)
    for length, share in ((256, 0.5), (1024, 0.9), (640, 0.7), (4095, 0.99), (128, 0.25), (2560, 0.945)):
        slope_share = 0.4 / 768 if length > 256 else 0.5 / 255
        low, high = sum(one < length for one in found) / DRAWS, sum(one <= length for one in found) / DRAWS
        tolerance = ONE_IN_A_MILLION * math.sqrt(share * (1 - share) / DRAWS) + 1.5 * slope_share
        assert low - tolerance <= share <= high + tolerance, length
    assert max(found) == 4096
    assert_share(sum(one == 4096 for one in found), DRAWS, 0.01 + 0.09 * 0.5 / 3072)
    assert sum(found) / DRAWS == pytest.approx(0.5 * 128.5 + 0.4 * 640 + 0.09 * 2560 + 0.01 * 4096, rel=0.02)


def test_a_histograms_lengths_are_as_frequent_as_they_weigh() -> None:
    found = Counter(drawn(HISTOGRAM))
    assert set(found) == {128, 512, 2048}
    for length, weight in HISTOGRAM.histogram.items():
        assert_share(found[length], DRAWS, weight / 9)


@given(
    st.dictionaries(st.integers(1, 10**7), st.floats(1e-9, 1e12), min_size=1, max_size=20),
    st.floats(0, 1, exclude_max=True),
)
def test_a_histogram_gives_nothing_else(weights: dict[int, float], share: float) -> None:
    lengths = HistogramLengths(histogram=weights)
    length = lengths.at(share)
    below = sum(weight for one, weight in weights.items() if one < length)
    total = sum(weights.values())
    assert below / total <= share + 1e-9
    assert share <= (below + weights[length]) / total + 1e-9


@given(st.text(max_size=20), st.integers(0, 10**9))
def test_shares_are_in_the_unit_interval_and_the_same_again(seed: str, number: int) -> None:
    both = shares(seed, number)
    assert all(0 <= share < 1 for share in both)
    assert both == shares(seed, number)


def test_what_a_seed_asks_stays_what_it_is() -> None:
    """`--seed` of an earlier report asks the same again. BLAKE2b of "SEED/NUMBER", 16 bytes: the last eight, big end first, of 2^64."""
    first = [512, 128, 2048, 128, 2048, 128, 128, 512]
    assert drawn(HISTOGRAM, 8, "3f/1") == first
    assert drawn(HISTOGRAM, 8, "3f/2") != first


def test_prompts_and_answers_of_a_request_are_independent() -> None:
    both = list(islice(requests(load(NORMAL, NORMAL)), DRAWS))
    prompts, answers = [due.prompt_tokens for due in both], [due.output_tokens for due in both]
    assert abs(numpy.corrcoef(prompts, answers)[0, 1]) < ONE_IN_A_MILLION / math.sqrt(DRAWS)
    assert abs(numpy.corrcoef(prompts[1:], prompts[:-1])[0, 1]) < ONE_IN_A_MILLION / math.sqrt(DRAWS)


@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 60))
def test_a_schedules_lengths_do_not_depend_on_who_sends_it(hosts: int, processes: int, count: int) -> None:
    schedule = tuple(ScheduledRequest(number / 10, 0, 9 if number == 5 else 0) for number in range(count))
    whole = load(NORMAL, HISTOGRAM, concurrency=0, schedule=schedule)
    dealt = [
        due
        for host in range(hosts)
        for process in range(processes)
        for due in requests(whole.share(host, hosts).share(process, processes))
    ]
    assert sorted(dealt, key=lambda due: due.at_s) == list(requests(whole))
    assert count <= 5 or list(requests(whole))[5].output_tokens == 9, "what a trace has, it keeps"


def test_a_closed_loops_processes_take_the_same_requests_in_turn() -> None:
    whole = list(islice(requests(load(NORMAL, PERCENTILES)), 60))
    shared = [
        iter(requests(load(NORMAL, PERCENTILES).share(host, 2).share(process, 3))) for process in range(3) for host in range(2)
    ]
    assert [next(shared[number % 6]) for number in range(60)] == whole
    assert len({due.output_tokens for due in whole}) > 40


@pytest.mark.parametrize("kind", PROFILES)
def test_a_server_is_asked_for_the_lengths_that_were_written(kind: str, tmp_path: Path) -> None:
    found = put_on(
        WorkerPool(2),
        tmp_path,
        profile(kind, prompt_tokens={"histogram": {40: 1, 90: 1}}, output_tokens={"histogram": {16: 3, 64: 1}}),
    )
    answers = Counter(body["max_tokens"] for body in found)
    assert set(answers) == {16, 64}
    assert len(found) > 50
    assert_share(answers[16], len(found), 0.75)
    words = Counter(len(body["messages"][0]["content"].split()) for body in found)
    assert set(words) == {40 - 12, 90 - 12}, "without a tokenizer a chat template is taken to be 12 tokens"
    assert_share(words[28], len(found), 0.5)
    assert not any("ignore_eos" in body for body in found)


def test_answers_of_drawn_lengths_are_forced_where_they_are_to_be_exact(tmp_path: Path) -> None:
    found = put_on(WorkerPool(2), tmp_path, profile("closed_loop", exact_output=True, output_tokens={"mean": 40, "stddev": 8}))
    assert all(body["ignore_eos"] is True for body in found)
    lengths = [body["max_tokens"] for body in found]
    assert numpy.mean(lengths) == pytest.approx(40, abs=ONE_IN_A_MILLION * 8 / math.sqrt(len(lengths)))
    assert numpy.std(lengths) == pytest.approx(8, rel=ONE_IN_A_MILLION / math.sqrt(2 * len(lengths)))


def test_two_processes_send_what_one_would(tmp_path: Path) -> None:
    """A hundred requests a second are 200 streams, if each took two seconds: two processes."""
    wanted = profile("open_loop", output_tokens={"mean": 4000, "stddev": 1000})
    one, two, other = [
        sorted(body["max_tokens"] for body in put_on(WorkerPool(processes), tmp_path, wanted, seed=seed))
        for processes, seed in ((1, "s"), (2, "s"), (2, "t"))
    ]
    assert len(one) > 50
    assert one == two != other


@pytest.mark.parametrize("kind", PROFILES)
def test_the_longest_request_is_the_longest_that_can_be(kind: str) -> None:
    wanted = profile(kind, prompt_tokens={"mean": 512, "stddev": 128}, output_tokens={"percentiles": {50: 10, 99: 70}}, turns=3)
    assert wanted.longest_request == 3 * (512 + 5 * 128 + 70)
    assert max(drawn(NORMAL)) <= 512 + 5 * 128
    assert profile(kind, prompt_tokens=5, output_tokens={"histogram": {7: 1, 9: 1e-9}}).longest_request == 14


def test_a_replays_lengths_are_its_traces() -> None:
    given = {"kind": "replay", "trace": "s3://b/t.csv", "duration_s": 1, "objectives": COMMON["objectives"]}
    assert isinstance(READ.validate_python({**given, "prompt_tokens": 5}), Replay)
    with pytest.raises(ValidationError, match="a replay's lengths are those of its trace; leave it out"):
        READ.validate_python({**given, "output_tokens": {"mean": 40, "stddev": 8}})


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (1024, "1,024"),
        ({"mean": 512, "stddev": 128}, "about 512 (sd 128)"),
        ({"mean": 1512.5, "stddev": 128, "min": 64, "max": 2048}, "about 1,512.5 (sd 128, 64 to 2,048)"),
        ({"percentiles": {"50": 256, "99.9": 4096}}, "256 (p50), 4,096 (p99.9)"),
        ({"histogram": {"128": 5, "512": 3, "2048": 1}}, "128 (0.56), 512 (0.33), 2,048 (0.11)"),
        ({"histogram": {str(length): 1 for length in range(10, 20)}}, "10 to 19, in 10 steps"),
    ],
)
def test_the_report_says_them_readably(written: Any, said: str) -> None:
    assert describe(written) == said
    wanted = profile("closed_loop", prompt_tokens=written, output_tokens=written)
    assert describe(json.loads(json.dumps(wanted.load))["prompt_tokens"]) == said
    whole = formatting.load(SimpleNamespace(load=wanted.load, goes=1))  # type: ignore[arg-type]
    assert f"; prompts of {said} tokens, answers of at most {said}; 0 s of warm-up" in whole


def test_a_profile_survives_being_written_and_read() -> None:
    for lengths in (NORMAL, PERCENTILES, HISTOGRAM, 7):
        wanted = ClosedLoop.model_validate({"kind": "closed_loop", "concurrency": 1, "prompt_tokens": lengths, **COMMON})
        assert READ.validate_json(wanted.model_dump_json()) == wanted
        assert READ.validate_python(json.loads(wanted.model_dump_json())) == wanted


YAML = """\
chat:
  kind: closed_loop
  concurrency: 4
  prompt_tokens: {LENGTHS}
  duration_s: 3
  objectives: {ttft_p90_ms: {at_most: 2000}}
"""
MISTAKES: dict[str, tuple[str, int, str]] = {
    "sd alone": ("{stddev: 128}", 4, "chat.prompt_tokens.mean: missing; add it"),
    "mean alone": ("{mean: 128}", 4, "chat.prompt_tokens.stddev: missing; add it"),
    "no mean": ("{mean: 0, stddev: 1}", 4, "chat.prompt_tokens.mean: 0 will not do, expected greater than or equal to 1"),
    "nan": ("{mean: .nan, stddev: 1}", 4, "chat.prompt_tokens.mean: nan will not do, expected a finite number"),
    "negative": ("{mean: 5, stddev: -1}", 4, "chat.prompt_tokens.stddev: -1 will not do, expected greater than 0"),
    "two": (
        "{mean: 5, stddev: 1, percentiles: {50: 5}}",
        4,
        "chat.prompt_tokens: mean, stddev, percentiles are of two distributions",
    ),
    "none": ("{average: 5}", 4, "chat.prompt_tokens: is no distribution of lengths, expected a number of tokens, {mean: 512,"),
    "key": (
        "{mean: 5, stdev: 1}",
        4,
        "chat.prompt_tokens.stdev: unknown key; did you mean 'stddev'? Valid here: mean, stddev, min, max",
    ),
    "order": (
        "{percentiles: {90: 5, 50: 9}}",
        4,
        "chat.prompt_tokens: the percentile 90 is 5, less than the 9 of the percentile 50",
    ),
    "lines": ("\n    percentiles:\n      50: 5\n      99.5: 0", 7, "chat.prompt_tokens.percentiles.99.5: 0 will not do"),
    "twice": ("{percentiles: {50: 5, '50': 6}}", 4, "chat.prompt_tokens.percentiles: '50' stands there twice; keep one"),
    "word": (
        "{percentiles: {median: 5}}",
        4,
        "chat.prompt_tokens.percentiles.median: 'median' will not do, expected a valid number",
    ),
    "weight": ("{histogram: {128: .inf}}", 4, "chat.prompt_tokens.histogram.128: inf will not do, expected a finite number"),
    "longer": (
        "{mean: 9000000, stddev: 900000}",
        4,
        "chat.prompt_tokens: lengths of up to 13,500,000 tokens are more than 10,000,000",
    ),
    "ends": ("{mean: 5, stddev: 1, min: 6}", 4, "chat.prompt_tokens: mean is 5, and must be from min, 6, to max, 10"),
    "shares": (
        "{percentiles: {0.5: 5, 0.99: 9}}",
        4,
        "chat.prompt_tokens: percentiles are from 0 to 100, and none here is above 1; write 50, 99",
    ),
    "long": (
        "{histogram: {128000000: 1}}",
        4,
        "chat.prompt_tokens.histogram.128000000: 128000000 will not do, expected less than",
    ),
    "text": ("about 5", 4, "chat.prompt_tokens: 'about 5' will not do, expected a valid integer"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_bad_distribution_is_one_line_with_its_place(mistake: str, tmp_path: Path) -> None:
    lengths, line, says = MISTAKES[mistake]
    said = refused(tmp_path, "p.yaml", YAML.replace("{LENGTHS}", lengths))
    assert said.startswith(f":{line}: {says}")


def test_a_json_files_mistake_has_its_line_too(tmp_path: Path) -> None:
    text = json.dumps({"kind": "closed_loop", "concurrency": 1, "prompt_tokens": {"histogram": {"128": 0}}, **COMMON}, indent=2)
    assert refused(tmp_path, "p.json", text).startswith(":6: prompt_tokens.histogram.128: 0 will not do")
    assert refused(tmp_path, "p.json", text.replace("  ", "\t")).startswith(": prompt_tokens.histogram.128: 0 will not do")


def test_a_share_keeps_the_seed_that_all_have_in_common() -> None:
    assert replace(load(), seed="x").share(1, 2).common_seed == "7"
