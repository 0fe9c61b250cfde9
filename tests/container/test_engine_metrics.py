"""`GET /metrics` of the simulated engine: there with `--enable-metrics`, under SGLang's names, and true to what the engine does."""

from __future__ import annotations

import re
import threading
from pathlib import Path

from tests.container.processes import Server, engine
from tests.support.waiting import wait_until

RANK = 'engine_type="unified",tp_rank="0",pp_rank="0",moe_ep_rank="0"'
"""The labels that SGLang's scheduler adds to its model's name (`init_metrics` in srt/observability/scheduler_metrics_mixin.py)."""


def read(server: Server) -> dict[str, float]:
    """Each value of the scheduler, by its name, and its mode where it has one."""
    status, page = server.request("GET", "/metrics")
    assert status == 200
    found = re.findall(rf'^sglang:(\w+){{model_name="m",{RANK}(?:,mode="(\w+)")?}} (\S+)$', page.decode(), re.MULTILINE)
    return {f"{name} {mode}".strip(): float(value) for name, mode, value in found}


def test_there_is_no_page_without_the_flag(tmp_path: Path) -> None:
    with engine("simulated", "--model-path", str(tmp_path)) as server:
        assert server.request("GET", "/metrics")[0] == 404


def test_the_gauges_say_what_the_batch_the_queue_and_the_cache_are(tmp_path: Path) -> None:
    flags = ("--model-path", str(tmp_path), "--served-model-name", "m", "--enable-metrics", "--max-running-requests", "4")
    sizes = ("--max-total-tokens", "1000", "--sim-cache-tokens", "100", "--sim-ttft-ms", "1", "--sim-itl-ms", "20")
    with engine("simulated", *flags, *sizes) as server:
        assert read(server)["max_total_num_tokens"] == 1000
        assert {read(server)[name] for name in ("num_running_reqs", "num_queue_reqs", "num_used_tokens", "token_usage")} == {0}
        asking = [threading.Thread(target=server.chat, kwargs={"max_tokens": 200}) for _ in range(8)]
        for thread in asking:
            thread.start()

        def written() -> dict[str, float] | None:
            seen = read(server)
            return seen if seen["num_queue_reqs"] == 4 and seen["num_used_tokens"] > 20 else None

        busy = wait_until(written, "four of eight requests run, and have written something")
        assert busy["num_running_reqs"] == 4
        assert 4 * 2 < busy["num_used_tokens"] <= 4 * (2 + 200), "prompts of two tokens, and what was written so far"
        assert busy["token_usage"] == busy["num_used_tokens"] / 1000
        for thread in asking:
            thread.join()
        idle = read(server)
        assert {idle[name] for name in ("num_running_reqs", "num_queue_reqs", "num_used_tokens", "token_usage")} == {0}


def test_the_hit_rate_is_that_of_the_last_prompt_and_the_counters_are_of_all(tmp_path: Path) -> None:
    flags = ("--model-path", str(tmp_path), "--served-model-name", "m", "--enable-metrics", "--sim-cache-tokens", "100")
    with engine("simulated", *flags, "--sim-ttft-ms", "1", "--sim-itl-ms", "1") as server:
        server.chat("a b c d", max_tokens=1)
        assert read(server)["cache_hit_rate"] == 0
        server.chat("a b c d", max_tokens=1)
        seen = read(server)
        assert seen["cache_hit_rate"] == 0.75, "all but the last token"
        assert seen["realtime_tokens_total prefill_cache"] == 3
        assert seen["realtime_tokens_total prefill_compute"] == 4 + 1
