"""Prometheus' text format and what is made of it: the published example, names of SGLang and vLLM, and pages that are none."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.errors import MalformedPage
from loadtest.server.exposition import Sample, samples
from loadtest.server.gauges import PageReader

PUBLISHED = r"""# HELP http_requests_total The total number of HTTP requests.
# TYPE http_requests_total counter
http_requests_total{method="post",code="200"} 1027 1395066363000
http_requests_total{method="post",code="400"}    3 1395066363000

# Escaping in label values:
msdos_file_access_time_seconds{path="C:\\DIR\\FILE.TXT",error="Cannot find file:\n\"FILE.TXT\""} 1.458255915e9

# Minimalistic line:
metric_without_timestamp_and_labels 12.47

# A weird metric from before the epoch:
something_weird{problem="division by zero"} +Inf -3982045

# A histogram, which has a pretty complex representation in the text format:
# HELP http_request_duration_seconds A histogram of the request duration.
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{le="0.05"} 24054
http_request_duration_seconds_bucket{le="+Inf"} 144320
http_request_duration_seconds_sum 53423
http_request_duration_seconds_count 144320
"""
"""The example of "Exposition formats" (prometheus.io), its summary and some buckets left out."""
RANK = 'model_name="m",engine_type="unified",tp_rank="{tp}",pp_rank="0",moe_ep_rank="0"'


def read(text: str, *names: str) -> list[Sample]:
    return list(samples(text, names))


def test_the_published_example() -> None:
    assert read(PUBLISHED, "http_requests_total") == [
        Sample("http_requests_total", {"method": "post", "code": "200"}, 1027),
        Sample("http_requests_total", {"method": "post", "code": "400"}, 3),
    ]
    [escaped] = read(PUBLISHED, "msdos_file_access_time_seconds")
    assert escaped.labels == {"path": "C:\\DIR\\FILE.TXT", "error": 'Cannot find file:\n"FILE.TXT"'}
    assert escaped.value == 1.458255915e9
    assert read(PUBLISHED, "metric_without_timestamp_and_labels")[0].value == 12.47
    assert read(PUBLISHED, "something_weird") == [Sample("something_weird", {"problem": "division by zero"}, math.inf)]
    assert read(PUBLISHED, "http_request_duration_seconds_sum")[0].value == 53423
    assert read(PUBLISHED, "http_request_duration_seconds") == [], "a name is no beginning of a name"


@pytest.mark.parametrize(
    ("line", "labels", "value"),
    [
        ("a 1", {}, 1),
        ("  a\t 1  ", {}, 1),
        ("a{} 1", {}, 1),
        ('a{b="c",} 1', {"b": "c"}, 1),
        ('a { b = "c" , d = "}" } 1', {"b": "c", "d": "}"}, 1),
        ("a -1.5E-3", {}, -0.0015),
        ("a -Inf", {}, -math.inf),
    ],
)
def test_what_the_format_allows(line: str, labels: dict[str, str], value: float) -> None:
    assert read(f"{line}\n", "a") == [Sample("a", labels, value)]


@pytest.mark.parametrize(
    "line",
    [
        "a",
        "a ",
        "a x",
        "a 1 x",
        "a 1 1 1",
        "a 1_000",
        "a 0x10",
        "a infinity",
        "a{ 1",
        'a{b="c" 1',
        'a{b="c"d="e"} 1',
        "a{b=c} 1",
        'a{b="c",b="d"} 1',
        'a{"b"="c"} 1',
        "a{,} 1",
        "a\u00a01",
        "a\x00 1",
    ],
)
def test_what_it_does_not_is_named_by_its_line(line: str) -> None:
    with pytest.raises(MalformedPage, match="line 2"):
        read(f"b 1\n{line}\n", "a")


def test_a_page_that_was_cut_off_says_nothing() -> None:
    with pytest.raises(MalformedPage, match="ends within a line"):
        read("a 1\na 1", "a")


@given(st.text(alphabet='a{}="\\,1 \t\n#b+', max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read(text, "a")
    except MalformedPage:
        return


@pytest.mark.parametrize(
    "line",
    ["a" + "{" * 60_000, 'a{b="' + "\\" * 60_000, "a" + ' b="c",' * 8_000, "a{" + 'b="c",' * 8_000, "a" * 4_000_000],
    ids=["braces", "escapes", "no braces", "labels without an end", "a name"],
)
def test_no_line_takes_long(line: str) -> None:
    began = time.process_time()
    with pytest.raises(MalformedPage):
        read(f"{line}\n", "a")
    assert time.process_time() - began < 1


def test_sglangs_names_with_the_ranks_of_one_replica_counted_once_and_replicas_together() -> None:
    lines = []
    for tp, dp, running, usage in ((0, 0, 3, 0.2), (1, 0, 3, 0.2), (2, 1, 5, 0.4), (3, 1, 5, 0.4)):
        labels = f'{RANK.format(tp=tp)},dp_rank="{dp}"'
        lines += [f"sglang:num_running_reqs{{{labels}}} {running}.0", f"sglang:token_usage{{{labels}}} {usage}"]
        lines.append(f"sglang:num_queue_reqs{{{labels}}} 0.0")
        lines.append(f"sglang:num_running_reqs_offline_batch{{{labels}}} 99.0")
    assert PageReader().read("\n".join(lines) + "\n") == {
        "running_requests": 8,
        "queued_requests": 0,
        "kv_cache_usage": pytest.approx(0.3),
    }


def test_sglangs_requests_are_not_counted_again_by_priority() -> None:
    lines = [
        f'sglang:num_queue_reqs{{{RANK.format(tp=0)},priority="{name}"}} {value}' for name, value in (("", 7), ("1", 4), ("2", 3))
    ]
    assert PageReader().read("\n".join(lines) + "\n") == {"queued_requests": 7}


def test_a_hit_rate_is_of_the_prompts_since_the_page_before_and_wins_over_the_gauge_of_the_last_batch() -> None:
    def text(cached: int, computed: int, gauge: float) -> str:
        counters = "".join(
            f'sglang:realtime_tokens_total{{{RANK.format(tp=tp)},mode="{mode}"}} {count}\n'
            for tp in (0, 1)
            for mode, count in (("prefill_cache", cached), ("prefill_compute", computed), ("decode", 10**6))
        )
        return counters + f"sglang:cache_hit_rate{{{RANK.format(tp=0)}}} {gauge}\n"

    reader = PageReader()
    pages = [text(1000, 3000, 0.9), text(1100, 3300, 0.0), text(1100, 3300, 0.0), text(0, 100, 0.5), text(30, 170, 0.0)]
    assert [reader.read(one) for one in pages] == [
        {},
        {"cache_hit_rate": 0.25},
        {},
        {},
        {"cache_hit_rate": 0.3},
    ], "none where no prompt was read, and none where the engine began anew"
    assert PageReader().read("sglang:cache_hit_rate 0.9\n") == {"cache_hit_rate": 0.9}, "where there are no counters"


@pytest.mark.parametrize(("usage", "counter"), [("kv_cache_usage_perc", ""), ("gpu_cache_usage_perc", "gpu_")])
def test_vllms_names(usage: str, counter: str) -> None:
    def text(hits: int, queries: int) -> str:
        labels = 'engine="0",model_name="m"'
        return (
            f"vllm:num_requests_running{{{labels}}} 2.0\nvllm:num_requests_waiting{{{labels}}} 1.0\nvllm:{usage}{{{labels}}} 0.5\n"
            f"vllm:{counter}prefix_cache_hits_total{{{labels}}} {hits}\nvllm:{counter}prefix_cache_queries_total{{{labels}}} {queries}\n"
        )

    reader = PageReader()
    reader.read(text(0, 0))
    assert reader.read(text(40, 100)) == {
        "running_requests": 2,
        "queued_requests": 1,
        "kv_cache_usage": 0.5,
        "cache_hit_rate": 0.4,
    }


def test_what_is_no_number_of_anything_is_not_there() -> None:
    values = ("NaN", "+Inf", "-Inf", "-1", "1e300")
    text = "".join(f'sglang:num_running_reqs{{dp_rank="{number}"}} {value}\n' for number, value in enumerate(values))
    assert PageReader().read(text + "sglang:num_queue_reqs 2\n") == {"queued_requests": 2}


def test_an_accepted_length_of_nothing_is_no_speculative_decoding() -> None:
    assert PageReader().read("sglang:spec_accept_length 0.0\n") == {}
    assert PageReader().read("sglang:spec_accept_length 2.75\n") == {"accepted_draft_length": 2.75}
