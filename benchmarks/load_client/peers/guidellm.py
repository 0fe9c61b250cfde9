"""vLLM's guidellm."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.load_client.observed import Observed, stamps, to_monotonic_ns
from benchmarks.load_client.run import Level


class GuideLLM:
    """Its defaults, without the console; prompts from a file, so that it needs no tokenizer."""

    name = "guidellm"

    def command(self, environment: Path, url: str, level: Level, folder: Path) -> Sequence[str]:
        """`guidellm run` at a fixed concurrency."""
        prompts = folder / "prompts.jsonl"
        prompts.write_text("".join(json.dumps({"prompt": f"Tell me what you know about number {n}"}) + "\n" for n in range(5000)))
        load = ["--profile", f"kind=concurrent,streams={level.streams}"]
        until = ["--constraint", f"kind=max_duration,seconds={level.duration_s:g}"]
        files = ["--data", f"kind=json_file,path={prompts}", "--output", f"kind=json,path={folder / 'guidellm.json'}"]
        backend = ["--backend", f"kind=openai_http,target={url},model=known-truth"]
        return [str(environment / "bin" / "guidellm"), "run", *backend, *load, *until, *files, "--disable-console"]

    def recording(self, command: Sequence[str]) -> Sequence[str] | None:
        """Return None: it has a moment of an answer's first and of its last token, and no more."""
        return None

    def observed(self, folder: Path) -> Observed:
        """From its report."""
        [benchmark] = json.loads((folder / "guidellm.json").read_text())["benchmarks"]
        pairs = []
        for request in benchmark["requests"]["successful"]:
            sent, timings = stamps(request["output"]), request["info"]["timings"]
            pairs.append((sent[0], to_monotonic_ns(timings["first_token_iteration"])))
            pairs.append((sent[-1], to_monotonic_ns(timings["last_token_iteration"])))
        reported = benchmark["metrics"]["inter_token_latency_ms"]["successful"]["percentiles"]
        return Observed(pairs, "first and last token", {name: reported[name] for name in ("p50", "p99", "p999")})
