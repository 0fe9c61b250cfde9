"""The report: one file, the verdict first, readable without a network."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
from hdrh.histogram import HdrHistogram

from loadtest.measurement.models import ServerMetric, ServerMetrics
from steps.evaluate_staging import report
from steps.evaluate_staging.models import Evaluation
from steps.evaluate_staging.report import chart, figures
from tests.steps.evaluate_staging.evaluations import REVISION, evaluation
from tests.support import browser

chromium = pytest.mark.skipif(browser.PROGRAM is None, reason="there is no Chromium on this machine: apt-get install chromium")
OVERFLOW = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
CELLS_OFF_SCREEN = (
    "[...document.querySelectorAll('.objectives td')].filter(td => td.getBoundingClientRect().right > innerWidth).length"
)
LABELS = "getComputedStyle(document.querySelector('.objectives td[data-label]'), '::before').content.replaceAll('\"', '')"
VERDICT = "document.querySelector('h1').innerText"
FIGURES = "document.querySelectorAll('figure svg').length"


@pytest.fixture(scope="module")
def production() -> Evaluation:
    return evaluation(1)


@pytest.fixture(scope="module")
def worse(production: Evaluation) -> Evaluation:
    return evaluation(2, production, slow=1.35, failing=0.02)


@pytest.fixture(scope="module")
def page(worse: Evaluation, production: Evaluation) -> str:
    return report.render(worse, production)


def test_it_is_one_small_file_that_names_no_other(page: str) -> None:
    assert len(page.encode()) < 1_000_000
    assert not re.search(r"https?://|@import|url\((?!#)|<script|<iframe", page)
    assert re.findall(r'(?:src|href)="([^#"][^"]*)"', page) == ["data:,"]


def test_the_verdict_comes_first_then_every_objective_with_its_bound(page: str, worse: Evaluation) -> None:
    text = re.sub(r"<style.*?</style>", "", page, flags=re.DOTALL)
    places = [
        text.index(words) for words in ("Failed</span>", worse.summary.split(" ")[2], "<h2>Objectives", "<h2>Load profile chat")
    ]
    assert places == sorted(places)
    table = text[text.index("<h2>Objectives") : text.index("<h2>Load profile chat")]
    for profile in worse.profiles.values():
        for metric in profile.objectives:
            assert f'<code class="soft">{metric}</code>' in table
    assert "≤ 900 ms</span><br><span>≤ 110% of production&#39;s" in table
    assert "gsm8k" in table
    assert table.count('class="bar') == sum(len(profile.objectives) for profile in worse.profiles.values()) + len(worse.lm_eval)
    assert table.count('class="bar met"') == table.count('<td class="met">')


def test_what_was_measured_and_what_went_wrong_is_there(page: str) -> None:
    for words in (
        REVISION,
        "release-serving:latest",
        "ml.p5.48xlarge",
        "SM_SGLANG_TP_SIZE",
        "http_424",
        "ModelError: the container",
    ):
        assert words in page
    assert "objective ttft_p99_ms): 9 of 420 rows do not" in page
    assert "answered 15 times as it is alone" in page


def test_a_better_version_is_shown_as_better(production: Evaluation) -> None:
    better = evaluation(3, production, slow=0.7)
    assert re.search(r'class="met">-3\d\.\d% on', report.render(better, production))


def test_what_an_answer_says_is_shown_and_not_run(production: Evaluation) -> None:
    hostile = production.model_copy(update={"summary": "<script>alert(1)</script>"})
    assert "<script>" not in report.render(hostile)


def test_it_is_drawn_again_from_the_stored_file(worse: Evaluation, production: Evaluation, page: str) -> None:
    again = [Evaluation.model_validate_json(one.model_dump_json()) for one in (worse, production)]
    assert report.render(*again) == page


@chromium
def test_chromium_opens_it_without_an_error_and_without_asking_for_anything(page: str, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(page, encoding="utf-8")
    seen = browser.visit(file, (VERDICT, OVERFLOW, FIGURES), ("light", "dark"))
    assert seen.console == []
    assert [url for url in seen.requests if not url.startswith("data:")] == [file.as_uri()]
    assert seen.answers[VERDICT].split() == ["Failed", "qwen3-32b", "version", "2"]
    assert seen.answers[OVERFLOW] is False
    assert seen.answers[FIGURES] == 14
    assert seen.screenshots["light"] != seen.screenshots["dark"]
    for scheme, png in seen.screenshots.items():
        (tmp_path / f"{scheme}.png").write_bytes(png)


@chromium
def test_on_a_telephone_every_objective_is_seen_whole_and_the_page_does_not_scroll_sideways(page: str, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(page, encoding="utf-8")
    answers = browser.visit(file, (OVERFLOW, CELLS_OFF_SCREEN, LABELS), width=390).answers
    assert answers[OVERFLOW] is False
    assert answers[CELLS_OFF_SCREEN] == 0
    assert answers[LABELS] == "Measured"


def test_a_number_that_cannot_decide_says_why_below_its_row(production: Evaluation) -> None:
    chat, why = production.profiles["chat"], "ttft_p99_ms is of 60 samples and needs 100"
    result = chat.objectives["ttft_p99_ms"].model_copy(update={"undecided": why, "high": None})
    few = chat.model_copy(update={"objectives": {**chat.objectives, "ttft_p99_ms": result}})
    page = report.render(production.model_copy(update={"profiles": {"chat": few}}))
    assert re.search(
        rf'<td class="undecided">undecided</td>(?:(?!</tr>).)* ms or more(?:(?!</tr>).)*</tr>\s*<tr class="note">.*{why}',
        page,
        re.DOTALL,
    )


def test_a_percentile_of_a_failed_request_is_infinite_and_the_curve_ends_before_it(production: Evaluation) -> None:
    chat = production.profiles["chat"]
    ttft = chat.latencies_ms["ttft"]
    assert ttft is not None
    failing = ttft.model_copy(update={"samples": ttft.samples * 2, "failed": ttft.samples, "p99": math.inf, "max": math.inf})
    lost = chat.objectives["ttft_p99_ms"].model_copy(
        update={"value": math.inf, "high": None, "met": False, "note": "420 of 840 requests failed"}
    )
    half = chat.model_copy(
        update={
            "latencies_ms": {**chat.latencies_ms, "ttft": failing},
            "metrics": {**chat.metrics, "ttft_p99_ms": math.inf},
            "objectives": {**chat.objectives, "ttft_p99_ms": lost},
        }
    )
    evaluated = production.model_copy(update={"profiles": {"chat": half}})
    page = report.render(Evaluation.model_validate_json(evaluated.model_dump_json()), production)
    assert re.search(r'<td class="missed">missed</td>\s*<td data-label="Measured" class="num"><b>∞</b></td>', page)
    assert "420 of 840 requests failed" in page
    heights = [height for _, height in figures.cumulative(failing)]
    assert max(heights) == pytest.approx(-math.log10(0.5), abs=0.02), "half of them were answered"
    nothing = ttft.model_copy(update={"failed": ttft.samples, "histogram": HdrHistogram(1, 3_600_000_000, 3).encode().decode()})
    assert figures.cumulative(nothing) == []


@chromium
def test_the_browser_would_notice(tmp_path: Path) -> None:
    """What the test above leans on: a page that fails and asks is seen to do so."""
    file = tmp_path / "bad.html"
    file.write_text('<link rel="icon" href="data:,"><img src="missing.png"><script>undefinedFunction()</script>')
    seen = browser.visit(file)
    assert any("undefinedFunction" in line for line in seen.console)
    assert any(url.endswith("missing.png") for url in seen.requests)


def test_a_long_tail_gets_a_logarithmic_axis_and_the_page_its_own_colours() -> None:
    drawn = {}
    for last in (20, 2000):
        one = chart.Chart("title", "milliseconds", "share")
        one.fit_x([5, 8, last])
        one.line([(5, 0.1), (8, 0.5), (last, 0.9)], "ours")
        drawn[last] = one.svg()
    ticks = {last: re.findall(r">([\d,]+)</text>", svg) for last, svg in drawn.items()}
    assert ticks[20][:3] == ["0", "4", "8"]
    assert ticks[2000][:3] == ["5", "10", "20"]
    assert "1,000" in ticks[2000]
    assert "var(--ours)" in drawn[20]
    assert "#010a" not in drawn[20]


SERVER = ServerMetrics(
    source="http://127.0.0.1:8080/metrics",
    every_s=1.0,
    metrics={
        "running_requests": ServerMetric(unit="requests", mean=4, max=4, at_s=[0.5, 1.5, 300.5, 599.5], values=[4, 4, 4, 4]),
        "queued_requests": ServerMetric(unit="requests", mean=12, max=30, at_s=[0.5, 1.5, 300.5, 599.5], values=[4, 6, 30, 8]),
        "kv_cache_usage": ServerMetric(unit="share", mean=0.5, max=0.9, at_s=[0.5, 599.5], values=[0.1, 0.9]),
        "a_later_versions": ServerMetric(unit="share", mean=0.5, max=0.9, at_s=[0.5, 599.5], values=[0.1, 0.9]),
    },
)


def beside(found: Evaluation, server: ServerMetrics | None) -> Evaluation:
    return found.model_copy(update={"profiles": {"chat": found.profiles["chat"].model_copy(update={"server": server})}})


def test_the_server_is_drawn_below_the_tokens_on_their_time_axis_in_the_fields_words(production: Evaluation) -> None:
    page = report.render(beside(production, SERVER))
    titles = re.findall(r"<figcaption>(.*?)</figcaption>", page)
    assert titles[3:] == [
        "Output tokens over time",
        "In the server: running and queued requests over time",
        "In the server: KV cache usage and cache hit rate over time",
    ], "no speculative decoding, no figure of it"
    tokens, requests, shares = re.findall(r"<figure>.*?</figure>", page, re.DOTALL)[3:]
    for words in ("running requests", "queued requests", "seconds measured"):
        assert words in requests
    for words in ("KV cache usage", "a_later_versions", "per cent"):
        assert words in shares

    def times(figure: str) -> list[str]:
        axis = figure[: figure.index("seconds measured")]
        return re.findall(r">([\d,]+)</text>", axis)

    assert times(tokens) == times(requests) == times(shares) != []
    assert "http://127.0.0.1:8080/metrics, every 1 s; they decide nothing" in page


def test_no_line_is_drawn_through_a_time_without_samples() -> None:
    points = [(0.5, 1.0), (1.5, 2.0), (2.5, 3.0), (60.5, 4.0)]
    assert figures.unbroken(points, 1.0) == [points[:3], [(60.0, 4.0), (61.0, 4.0)]]


def test_why_the_server_said_nothing_is_there(production: Evaluation) -> None:
    page = report.render(beside(production, SERVER.model_copy(update={"metrics": {}, "note": "HTTP status <404>"})))
    assert "In the server" not in page
    assert "HTTP status &lt;404&gt;" in page


def test_an_evaluation_from_before_the_server_was_asked_is_read_and_drawn(production: Evaluation) -> None:
    stored = json.loads(production.model_dump_json())
    for profile in stored["profiles"].values():
        del profile["server"]
    read = Evaluation.model_validate_json(json.dumps(stored))
    assert read.profiles["chat"].server is None
    assert "In the server" not in report.render(read)
