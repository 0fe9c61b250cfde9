"""What looks odd and is right: no rule may stand in its way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from config.loader import inspect_environment, inspect_model
from loadtest.profiles import CAPACITY, COST, ERRORS, METRICS
from tests.config.test_bad_files import AWS, BUCKET, KMS, QWEN, ROLE, SECRET, STEPS, TTFT, TYPE

ODD_MODELS = {
    "windows line ends": ("\n", "\r\n"),
    "a byte order mark": ("# yaml-language", "\ufeff# yaml-language"),
    "quoted keys": ("approval: manual", '"approval": "manual"'),
    "a document's beginning": ("# Qwen3-32B", "---\n# Qwen3-32B"),
    "flow style": ("update: {strategy: rolling, batch_percent: 50, bake_s: 300}", "update: {strategy: all_at_once}"),
    "a number as a float": ("warmup_s: 30", "warmup_s: 3.0e+1"),
    "an exponent": ("warmup_s: 30", "warmup_s: 3e1"),
    "a whole number where a fraction may stand": (TTFT, "ttft_p99_ms: {at_most: 1_500}"),
    "hexadecimal": ("concurrency: 64", "concurrency: 0x40"),
    "no, as text": ("expect: Paris", "expect: no"),
    "yes, as text": ("expect: Paris", "expect: Yes"),
    "a date, as text": ("expect: Paris", "expect: 2024-07-14"),
    "a time, as text": ("expect: Paris", "expect: 12:30"),
    "a leading zero, as text": ("expect: Paris", "expect: 007"),
    "an answer in Chinese": ("expect: Paris", "expect: 巴黎"),
    "an answer with quotes inside": ("expect: Paris", "expect: it is “Paris” indeed"),
    "a one-letter answer": ("expect: Paris", "expect: P"),
    "an anchor and an alias": (TTFT, "ttft_p99_ms: &bound {at_most: 1500}\n        ttft_p95_ms: *bound"),
    "one GPU of eight": ("tensor_parallel_size: 8", "tensor_parallel_size: 1"),
    "a T4": (f"{TYPE}\n  tensor_parallel_size: 8", "instance_type: ml.g4dn.12xlarge\n  tensor_parallel_size: 4"),
    "an RTX PRO 6000": (TYPE, "instance_type: ml.g7e.48xlarge"),
    "a size with a unit": ("context-length: 32768", "context-length: 32Ki"),
    "a flag's other spelling": ("mem-fraction-static: 0.88", "max-queued-requests: 5"),
    "a switch that is off": ("enable-metrics: true", "enable-metrics: false"),
    "replicas inside attention": ("enable-metrics: true", "enable-dp-attention: true\n    dp-size: 8"),
    "four GPUs in two stages": (
        "  tensor_parallel_size: 8\n  sglang:\n",
        "  tensor_parallel_size: 4\n  sglang:\n    pp-size: 2\n",
    ),
    "two replicas": ("  tensor_parallel_size: 8\n  sglang:\n", "  tensor_parallel_size: 4\n  sglang:\n    dp-size: 2\n"),
    "experts over all GPUs": ("enable-metrics: true", "ep-size: 8"),
    "no chunks": ("chunked-prefill-size: 8192", "chunked-prefill-size: -1"),
    "an adapter beside the weights": ("enable-metrics: true", "lora-paths: [sql=/opt/ml/model/adapters/sql]"),
    "an image by digest": (
        "  sglang:\n",
        f"  image: 111122223333.dkr.ecr.us-west-2.amazonaws.com/a/b@sha256:{'a' * 64}\n  sglang:\n",
    ),
    "no error at all": ("error_rate: {at_most: 0}", "error_rate: {at_most: 0.0}"),
    "half as fast as production": (TTFT, "ttft_p99_ms: {at_most_production: 2.0, at_most: 1500}"),
    "a slow first token": (TTFT, "ttft_p99_ms: {at_most: 59999}"),
    "a tight first token": (TTFT, "ttft_p99_ms: {at_most: 80}"),
    "a pattern with a folder": ("max_bytes: 70_000_000_000", 'exclude: ["original/*", "*.md"]'),
    "a repository with dots": ("repository: Qwen/Qwen3-32B", "repository: meta-llama/Llama-3.3-70B_x.y"),
    "an endpoint of one letter": ("endpoint: qwen3-32b", "endpoint: q"),
    "a name of digits, quoted": ("endpoint: qwen3-32b", 'endpoint: "3"'),
}
ODD_ENVIRONMENTS = {
    "an account that begins with zero": ('"111122223333"', "011122223333"),
    "China": ("us-west-2", "cn-north-1"),
    "GovCloud": ("us-west-2", "us-gov-west-1"),
    "a bucket with dots": (BUCKET, "bucket: weights.example.com"),
    "a role with a path": (ROLE, "fetch: arn:aws:iam::111122223333:role/service-role/team/release-fetch"),
    "a secret by its ARN": (SECRET, "hub_token_secret: arn:aws:secretsmanager:us-west-2:111122223333:secret:hf-AbCdEf"),
    "a secret that is called after the token": (SECRET, "hub_token_secret: hf_token"),
    "an image without a tag": (STEPS, "steps: 111122223333.dkr.ecr.us-west-2.amazonaws.com/release-steps"),
    "an image of another account": (STEPS, "steps: 763104351884.dkr.ecr.us-west-2.amazonaws.com/sglang:1"),
    "a key of several Regions": (KMS, "kms_key: arn:aws:kms:us-west-2:111122223333:key/mrk-0123456789abcdef0123456789abcdef"),
    "a key by its alias": (KMS, "kms_key: alias/release"),
    "an old subnet": ("subnet-0aaaaaaaaaaaaaaaa", "subnet-0aaaaaaa"),
    "the price of a type without GPUs": ("ml.t3.medium: 0.05", "ml.m5.xlarge: 0.05"),
    "tags in another script": ("cost-centre", "部門"),
}


def _changed(base: str, change: tuple[str, str]) -> str:
    assert change[0] in base, change
    text = base.replace(*change)
    if change[1].startswith(("cn-", "us-gov-")):
        partition = {"cn": "aws-cn", "us": "aws-us-gov"}[change[1][:2]]
        text = text.replace("arn:aws:", f"arn:{partition}:")
        text = text.replace(".amazonaws.com", ".amazonaws.com.cn") if change[1].startswith("cn-") else text
    if "011122223333" in change[1]:
        text = text.replace(":111122223333:", ":011122223333:")
    return text


@pytest.mark.parametrize(
    ("inspect", "base", "changes"), [(inspect_model, QWEN, ODD_MODELS), (inspect_environment, AWS, ODD_ENVIRONMENTS)]
)
def test_what_is_odd_and_right_loads(inspect: Any, base: str, changes: dict[str, tuple[str, str]], tmp_path: Path) -> None:
    assert len(ODD_MODELS) + len(ODD_ENVIRONMENTS) >= 30
    file = tmp_path / "mine.yaml"
    for change in changes.values():
        file.write_bytes(_changed(base, change).encode())
        inspect(file)


def test_every_metric_may_have_an_objective(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    for metric in METRICS:
        bound = "at_most: 900" if metric.endswith("_ms") else "at_most: 0.5" if metric in {ERRORS, COST} else "at_least: 5"
        text = QWEN.replace("ttft_p99_ms: {at_most: 1500}", f"{metric}: {{{bound}}}").replace(
            "        error_rate: {at_most: 0}\n", ""
        )
        if metric == CAPACITY:
            continue  # of the kind `capacity` alone
        file.write_text(text if metric not in {"itl_p99_ms", "output_tokens_per_s"} else QWEN)
        inspect_model(file)


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    """YAML 1.1 would read these as false, an octal number and a date."""
    file = tmp_path / "mine.yaml"
    for written in ("no", "010", "2024-07-14", "1:30"):
        file.write_text(QWEN.replace("expect: Paris", f"expect: {written}"))
        assert inspect_model(file)[1].evaluation.prompt_checks[0].expect == written
    file.write_text(_changed(AWS, ODD_ENVIRONMENTS["an account that begins with zero"]))
    assert inspect_environment(file)[1].account_id == "011122223333"
