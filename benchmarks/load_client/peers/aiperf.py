"""NVIDIA's aiperf."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.load_client.observed import Observed, stamps
from benchmarks.load_client.run import Level


class AIPerf:
    """Its defaults, without telemetry and dashboard; it believes the server's token counts, which is the cheaper way."""

    name = "aiperf"

    def command(self, environment: Path, url: str, level: Level, folder: Path) -> Sequence[str]:
        """`aiperf profile` at a fixed concurrency."""
        _tokenizer(folder / "tokenizer")
        quiet = ["--no-server-metrics", "--no-gpu-telemetry", "--ui", "none"]
        texts = ["--tokenizer", str(folder / "tokenizer"), "--use-server-token-count", "--isl", "32", "--osl", "64"]
        load = ["--concurrency", str(level.streams), "--benchmark-duration", f"{level.duration_s:g}"]
        target = [
            "-m",
            "known-truth",
            "--url",
            url,
            "--endpoint-type",
            "chat",
            "--streaming",
            "--artifact-dir",
            str(folder / "aiperf"),
        ]
        return [str(environment / "bin" / "aiperf"), "profile", *target, *load, *texts, *quiet]

    def recording(self, command: Sequence[str]) -> Sequence[str] | None:
        """With every answer's every chunk, which it writes while the load is on."""
        return [*command, "--export-level", "raw"]

    def observed(self, folder: Path) -> Observed:
        """From its raw records: a moment for every chunk."""
        pairs: list[tuple[int, int]] = []
        with (folder / "aiperf" / "profile_export_raw.jsonl").open() as lines:
            for line in lines:
                for response in json.loads(line).get("responses") or ():
                    for packet in response["packets"]:
                        pairs += [(stamp, response["perf_ns"]) for stamp in stamps(_text(packet["value"]))]
        return Observed(pairs, "every token", self.itl(folder))

    @staticmethod
    def itl(folder: Path) -> dict[str, float]:
        """From its report; it has no p99.9."""
        report = json.loads((folder / "aiperf" / "profile_export_aiperf.json").read_text())
        return {name: report["inter_token_latency"][name] for name in ("p50", "p99", "max")}


def _text(value: str) -> str:
    if not value.startswith("{"):
        return ""  # [DONE]
    return "".join(choice["delta"].get("content") or "" for choice in json.loads(value)["choices"])


def _tokenizer(folder: Path) -> None:
    """One that needs no network: words of three letters."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder.mkdir(exist_ok=True)
    words = [first + second + third for first in "bcdfghklm" for second in "aeiou" for third in "nrst"]
    vocabulary = {word: number for number, word in enumerate(["[UNK]", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "[UNK]"})
    )
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
