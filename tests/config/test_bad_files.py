"""Plausible mistakes in model and environment files, as a newcomer makes them: each is one line that says where, what, and what to do.

Each row changes one thing in a file that is right. The line of the message is the first that differs, or the one named.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from config.loader import MODELS, load_environment, load_model
from pipelines.commands import failures

QWEN = (MODELS / "qwen3-32b.yaml").read_text(encoding="utf-8")
AWS = (Path(__file__).parents[1] / "pipelines" / "environments" / "everything.yaml").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Mistake:
    """What a person writes instead of what is right, and parts of what they are told."""

    right: str
    wrong: str
    says: tuple[str, ...]
    at: str = ""
    """A part of the line that is blamed; empty: the first that differs."""

    @property
    def is_of_a_model(self) -> bool:
        return self.right in QWEN

    @property
    def text(self) -> str:
        base = QWEN if self.is_of_a_model else AWS
        assert base.count(self.right) >= 1, self.right
        return base.replace(self.right, self.wrong, 1)

    @property
    def line(self) -> int:
        lines = self.text.splitlines()
        if self.at:
            return next(number for number, line in enumerate(lines, 1) if self.at in line)
        before = (QWEN if self.is_of_a_model else AWS).splitlines()
        return next(n for n, line in enumerate(lines, 1) if n > len(before) or line != before[n - 1])


def m(right: str, wrong: str, *says: str, at: str = "") -> Mistake:
    return Mistake(right, wrong, says, at)


def sglang(flag: str, *says: str, at: str = "") -> Mistake:
    return m("enable-metrics: true", flag, *says, at=at)


def objective(text: str, *says: str) -> Mistake:
    return m("error_rate: {at_most: 0}", text, *says)


def check(expect: str, *says: str) -> Mistake:
    return m("expect: Paris, max_tokens: 64}\n", f"max_tokens: 64, expect: {expect}}}\n", *says)


REVISION = "revision: 9216db5781bf21249d130ec9da846c4624c16137"
ROLE = "fetch: arn:aws:iam::111122223333:role/release-fetch"
BUCKET = "bucket: release-111122223333-us-west-2"
SECRET = "hub_token_secret: release/hugging-face-token"
STEPS = "steps: 111122223333.dkr.ecr.us-west-2.amazonaws.com/release-steps:0123456789abcdef0123"
KMS = "kms_key: arn:aws:kms:us-west-2:111122223333:key/11111111-2222-3333-4444-555555555555"
TYPE = "instance_type: ml.p5.48xlarge"
TTFT = "ttft_p99_ms: {at_most: 1500}"

MISTAKES = [
    # --- what is no YAML
    m("  hub: huggingface.co", "\thub: huggingface.co", "a tab", "indent with spaces"),
    m("  repository: Qwen", "   repository: Qwen", "line it up"),
    m("  revision: 9", " revision: 9", "line it up"),
    m("approval: manual", "<<<<<<< HEAD\napproval: manual\n=======\napproval: automatic\n>>>>>>> x", "Git", "keep one"),
    m("approval: manual", "=======\napproval: manual", "Git"),
    m("approval: manual", "approval: manual: yes", "put the value in quotes"),
    m("approval: manual", "approval:manual", "space behind the colon", at="production:"),
    m("approval: manual", 'approval: "manual', "never closed"),
    m("  alarms: []", "  alarms: [a, b", "opened here and not closed"),
    m("{at_most: 0}", "{at_most: 0", "opened here and not closed"),
    m("  max_bytes: 70", "  include: [*.json]\n  max_bytes: 70", "put the text in quotes", '"*.json"'),
    m("  max_bytes: 70", "  include: *json\n  max_bytes: 70", "put the text in quotes"),
    m("expect: Paris", "expect: @paris", "put the text in quotes"),
    m("expect: Paris", "expect: `Paris`", "put the text in quotes"),
    m("expect: Paris", "expect: !paris x", "put the text in quotes"),
    m("expect: Paris", 'expect: "\\d"', "single quotes"),
    m("approval: manual", "---\napproval: manual", "second document"),
    m("qwen3-32b\n  instance_count", "{{ endpoint }}\n  instance_count", "placeholder"),
    m("approval: manual", "approval: manual\napproval: automatic", "'approval' stands here a second time", at="approval: automatic"),
    m("      concurrency: 64", "      concurrency: 64\n      concurrency: 32", "a second time", at="concurrency: 32"),
    m("approval: manual", "approval: &a manual\nx: *b", "put the text in quotes", at="x: *b"),
    m("  alarms: []", "  alarms: - a", "list"),
    # --- weights
    m(REVISION, "revision: main", "'main' is a branch", "40 hexadecimal digits"),
    m(REVISION, "revision: v1.0", "full commit"),
    m(REVISION, "revision: 9216db5", "a short id", "full commit"),
    m(REVISION, "revision: 9216DB5781BF21249D130EC9DA846C4624C16137", "40 hexadecimal digits"),
    m(REVISION, "revision:", "nothing will not do", "write a value"),
    m(REVISION, f"revision: {'1' * 40}", f'put it in quotes: "{"1" * 40}"'),
    m(REVISION, f"commit: {'a' * 40}", "it is called 'revision' here"),
    m(REVISION, f"sha: {'a' * 40}", "it is called 'revision' here"),
    m("repository: Qwen/Qwen3-32B", "repository: Qwen3-32B", "ORGANISATION/NAME"),
    m("repository: Qwen/Qwen3-32B", "repository: https://huggingface.co/Qwen/Qwen3-32B", "ORGANISATION/NAME", "write Qwen/Qwen3-32B"),
    m("repository: Qwen/Qwen3-32B", "repository: hf://Qwen/Qwen3-32B", "write Qwen/Qwen3-32B"),
    m("repository: Qwen/Qwen3-32B", "repository: Qwen/Qwen3-32B/tree/main", "write Qwen/Qwen3-32B"),
    m("repository: Qwen/Qwen3-32B", "repository: Qwen/Qwen3-32B@main", "ORGANISATION/NAME"),
    m("repository: Qwen/Qwen3-32B", "model_id: Qwen/Qwen3-32B", "it is called 'repository' here"),
    m("repository: Qwen/Qwen3-32B", "repo: Qwen/Qwen3-32B", "it is called 'repository' here"),
    m("hub: huggingface.co", "hub: huggingface", "did you mean 'huggingface.co'?"),
    m("hub: huggingface.co", "hub: hf.co", "huggingface.co"),
    m("max_bytes: 70_000_000_000", "max_bytes: 70GB", "write 70000000000"),
    m("max_bytes: 70_000_000_000", "max_bytes: 70 GiB", "write 75161927680"),
    m("max_bytes: 70_000_000_000", "max_bytes: 70G", "write 70000000000"),
    m("max_bytes: 70_000_000_000", "max_bytes: 7e10", "write 70000000000"),
    m("max_bytes: 70_000_000_000", 'max_bytes: "70000000000"', "without quotes"),
    m("max_bytes: 70_000_000_000", "max_bytes: 70,000,000,000", "write 70000000000"),
    m("max_bytes: 70_000_000_000", "max_bytes: 0", "greater than 0"),
    m("max_bytes: 70_000_000_000", "max_bytes: -1", "greater than 0"),
    m("max_bytes: 70_000_000_000", 'include: "*.safetensors"', 'write a list: ["*.safetensors"]'),
    m("max_bytes: 70_000_000_000", 'exclude: "*.bin, *.pt"', 'write a list: ["*.bin", "*.pt"]'),
    m("max_bytes: 70_000_000_000", 'exclude: ["*"]', "leaves nothing to fetch"),
    m("max_bytes: 70_000_000_000", 'include: ["/model.safetensors"]', "matches nothing", "inside the repository"),
    m("max_bytes: 70_000_000_000", 'include: [""]', "matches nothing"),
    m("max_bytes: 70_000_000_000", "include: ['a\\b']", "matches nothing"),
    m("max_bytes: 70_000_000_000", "unsafe: pickle", 'write a list: ["pickle"]'),
    m("max_bytes: 70_000_000_000", "unsafe: [remote-code]", "did you mean 'remote_code'?"),
    m("max_bytes: 70_000_000_000", "trust_remote_code: true", "it is called 'unsafe' here"),
    m("max_bytes: 70_000_000_000", "hosts: 0", "greater than or equal to 1"),
    m("max_bytes: 70_000_000_000", "hosts: 100", "less than or equal to 20"),
    m("max_bytes: 70_000_000_000", "hosts: two", "valid integer"),
    m("max_bytes: 70_000_000_000", "hosts: 010", "write 10"),
    m("max_bytes: 70_000_000_000", "storage_class: standard", "did you mean 'STANDARD'?"),
    m("max_bytes: 70_000_000_000", "storage_class: GLACIER", "did you mean 'GLACIER_IR'?"),
    m("max_bytes: 70_000_000_000", "xet: yes", "write true"),
    m("max_bytes: 70_000_000_000", 'xet: "false"', "write false"),
    m("max_bytes: 70_000_000_000", "memory_bytes: 1MB", "write 1000000"),
    m("max_bytes: 70_000_000_000", "memory_bytes: 1000", "greater than or equal to 67108864"),
    m("max_bytes: 70_000_000_000", "max_byte: 1", "did you mean 'max_bytes'?"),
    m("weights:\n", "wieghts:\n", "did you mean 'weights'?"),
    m("weights:\n", "model:\n", "write it as weights.repository"),
    # --- serving
    m(TYPE, "instance_type: ml.p5.48xlage", "did you mean 'ml.p5.48xlarge'?"),
    m(TYPE, "instance_type: p5.48xlarge", "write ml.p5.48xlarge"),
    m(TYPE, "instance_type: ML.P5.48XLARGE", "write ml.p5.48xlarge"),
    m(TYPE, "instance_type: ml.p5.24xlarge", "not a size", "ml.p5.48xlarge"),
    m(TYPE, "instance_type: ml.p5", "did you mean"),
    m(TYPE, "instance_type: ml.p3.16xlarge", "V100", "compute capability 7", "newer"),
    m(TYPE, "instance_type: ml.p2.xlarge", "K80", "newer"),
    m(TYPE, "instance_type: ml.inf2.48xlarge", "no NVIDIA GPUs"),
    m(TYPE, "instance_type: ml.trn2.48xlarge", "no NVIDIA GPUs"),
    m(TYPE, "instance_type: ml.m5.4xlarge", "not a GPU instance type"),
    m(TYPE, "instance_type: H100", "not a GPU instance type"),
    m(TYPE, "instance_type: [ml.p5.48xlarge]", "expected a valid string"),
    m(TYPE, "instance: ml.p5.48xlarge", "it is called 'instance_type' here"),
    m("tensor_parallel_size: 8", "tensor_parallel_size: 16", "16 needs 16 GPUs, but one ml.p5.48xlarge has 8", "lower it"),
    m("tensor_parallel_size: 8", "tensor_parallel_size: 0", "greater than or equal to 1"),
    m("tensor_parallel_size: 8", 'tensor_parallel_size: "8"', "write 8 without quotes"),
    m("tensor_parallel_size: 8", "tensor_parallel_size: 8.5", "valid integer"),
    m("tensor_parallel_size: 8", "tensor_parallel_size: auto", "valid integer"),
    m("tensor_parallel_size: 8", "tensor_parallel_size: 08", "write 8"),
    m("tensor_parallel_size: 8", "tp: 8", "it is called 'tensor_parallel_size' here"),
    m("tensor_parallel_size: 8", "tp_size: 8", "it is called 'tensor_parallel_size' here"),
    m("tensor_parallel_size: 8", "tensor-parallel-size: 8", "did you mean 'tensor_parallel_size'?"),
    m("tensor_parallel_size: 8", "gpus: 8", "it is called 'tensor_parallel_size' here"),
    m("  sglang:\n", "  image: lmsysorg/sglang:v0.5.20\n  sglang:\n", "Amazon ECR"),
    m("  sglang:\n", "  image: projct\n  sglang:\n", "Amazon ECR", "project"),
    m("  sglang:\n", "  startup_timeout_s: 30m\n  sglang:\n", "write 1800"),
    m("  sglang:\n", "  startup_timeout_s: 7200\n  sglang:\n", "less than or equal to 3600"),
    m("  sglang:\n", "  download_timeout_s: 1h\n  sglang:\n", "write 3600"),
    m("  sglang:\n", "  provision_timeout_s: 60\n  sglang:\n", "greater than or equal to 300"),
    m("  sglang:\n", "  fallback_instance_types: ml.p5e.48xlarge\n  sglang:\n", 'write a list: ["ml.p5e.48xlarge"]'),
    m("  sglang:\n", "  fallback_instance_types: [ml.p5.4xlarge]\n  sglang:\n", "needs 8 GPUs"),
    m("  sglang:\n", "  fallback_instance_types: [p5e.48xlarge]\n  sglang:\n", "write ml.p5e.48xlarge"),
    m("  sglang:\n", "  args:\n", "it is called 'sglang' here"),
    m("  sglang:\n", "  vllm:\n", "it is called 'sglang' here"),
    m("serving:\n", "serve:\n", "did you mean 'serving'?"),
    # --- SGLang's flags
    sglang("max-model-len: 32768", "SGLang's is 'context-length'"),
    sglang("max_model_len: 32768", "SGLang's is 'context-length'"),
    sglang("gpu-memory-utilization: 0.9", "SGLang's is 'mem-fraction-static'"),
    sglang("gpu_memory_utilization: 0.9", "SGLang's is 'mem-fraction-static'"),
    sglang("tp: 8", "use serving.tensor_parallel_size"),
    sglang("tp-size: 8", "use serving.tensor_parallel_size"),
    sglang("tensor_parallel_size: 8", "write it as 'tensor-parallel-size'"),
    sglang("max-num-seqs: 256", "SGLang's is 'max-running-requests'"),
    sglang("max-num-batched-tokens: 8192", "SGLang's is 'chunked-prefill-size'"),
    sglang("enable-prefix-caching: true", "leave it out", "disable-radix-cache"),
    sglang("enable-chunked-prefill: true", "leave it out"),
    sglang("enforce-eager: true", "SGLang's is 'disable-cuda-graph'"),
    sglang("enable-auto-tool-choice: true", "leave it out", "tool-call-parser"),
    sglang("swap-space: 4", "leave it out"),
    sglang("max-loras: 4", "SGLang's is 'max-loras-per-batch'"),
    sglang("num-shard: 8", "use serving.tensor_parallel_size"),
    sglang("max-input-length: 4096", "SGLang's is 'context-length'"),
    sglang("max-concurrent-requests: 128", "SGLang's is 'max-running-requests'"),
    sglang("max-batch-size: 64", "SGLang's is 'max-running-requests'"),
    sglang("session-len: 8192", "SGLang's is 'context-length'"),
    sglang("ctx-size: 8192", "SGLang's is 'context-length'"),
    sglang("seed: 1", "SGLang's is 'random-seed'"),
    sglang("--log-level: info", "write it as 'log-level'"),
    sglang("SM_SGLANG_LOG_LEVEL: info", "write it as 'log-level'"),
    sglang("log_level: info", "write it as 'log-level'"),
    sglang("Log-Level: info", "write it as 'log-level'"),
    sglang("log-levle: info", "did you mean 'log-level'?"),
    sglang("port: 8000", "the container listens where SageMaker expects it"),
    sglang("model-path: Qwen/Qwen3-32B", "the weights are always at /opt/ml/model"),
    sglang("trust-remote-code: true", "weights.unsafe"),
    sglang("api-key: sk-1", "secrets do not belong"),
    sglang("enable-metrics: 1", "write true"),
    sglang("enable-metrics: yes", "write true"),
    sglang('enable-metrics: "true"', "write true"),
    sglang("enable-metrics: on", "write true"),
    sglang("schedule-policy: fastest", "is one of"),
    m("reasoning-parser: qwen3", "reasoning-parser: qwen33", "did you mean 'qwen3'?"),
    m("tool-call-parser: qwen25", "tool-call-parser: hermes2", "did you mean 'hermes'?"),
    sglang("page-size: sixteen", "takes a whole number"),
    sglang("page-size: 16.5", "takes a whole number"),
    sglang('page-size: "16"', "takes a whole number", "write 16"),
    sglang("page-size: [16]", "takes a whole number"),
    m("context-length: 32768", "context-length: 32 k", "a size as in 32k", "write 32000"),
    m("context-length: 32768", "context-length: 32,768", "write 32768"),
    m("mem-fraction-static: 0.88", "mem-fraction-static: 88%", "write 0.88"),
    m("mem-fraction-static: 0.88", "mem-fraction-static: high", "takes a number"),
    m("    context-length: 32768\n", "    - context-length: 32768\n", "line it up", at="mem-fraction-static"),
    # --- flags against each other, and against the instance
    m("mem-fraction-static: 0.88", "mem-fraction-static: 88", "more than 0 and less than 1", "write 0.88 for 88 %"),
    m("mem-fraction-static: 0.88", "mem-fraction-static: 0", "more than 0"),
    m("context-length: 32768", "context-length: -1", "at least 1"),
    m("max-running-requests: 256", "max-running-requests: 0", "at least 1"),
    m("chunked-prefill-size: 8192", "chunked-prefill-size: 0", "at least 1 or -1"),
    sglang("pp-size: 2", "tp-size 8 x pp-size 2 takes 16 GPUs, and one ml.p5.48xlarge has 8"),
    sglang("pipeline-parallel-size: 2", "takes 16 GPUs"),
    sglang("dp-size: 8", "tp-size 8 x dp-size 8 takes 64 GPUs", "enable-dp-attention: true"),
    sglang("dp-size: 0", "at least 1"),
    sglang("nnodes: 2", "a machine of its own", "leave it out"),
    sglang("dist-init-addr: 10.0.0.1:5000", "a machine of its own"),
    sglang("disaggregation-mode: prefill", "a second server and a router"),
    sglang("dp-size: 3\n    enable-dp-attention: true", "3 is no divisor"),
    sglang("ep-size: 16", "experts are spread over the 8 GPUs of tp-size, and 16 are more", "lower it"),
    sglang("ep: 3", "3 is no divisor of tp-size 8"),
    sglang("moe-dp-size: 3", "tp-size 8 must be a multiple of moe-dp-size 3"),
    sglang("page-size: 24", "8192 must be a multiple of page-size 24", at="chunked"),
    sglang("page-size: 0", "at least 1"),
    sglang("max-total-tokens: 1000", "no request of context-length 32768 fits into 1000 tokens"),
    sglang("enable-priority-scheduling: true\n    schedule-policy: lpm", "it is fcfs or lof", at="schedule-policy"),
    sglang("enable-lora: true", "needs lora-paths"),
    sglang("export-metrics-to-file: true", "needs export-metrics-to-file-dir"),
    sglang("lora-paths: [team/adapter]", "the container has no network", "/opt/ml/model"),
    sglang("lora-paths: [sql=team/adapter]", "'team/adapter' would be fetched"),
    sglang('lora-paths: ["{\\"lora_name\\": \\"sql\\", \\"lora_path\\": \\"team/adapter\\"}"]', "'team/adapter' would be fetched"),
    sglang("speculative-draft-model-path: lmsys/sglang-EAGLE3", "the container has no network"),
    sglang("tokenizer-path: Qwen/Qwen3-32B", "the container has no network"),
    sglang(f"chat-template: {'x' * 1100}", "1,100 characters", "1,024"),
    # --- load profiles
    m("kind: closed_loop", "kind: closed-loop", "did you mean 'closed_loop'?"),
    m("kind: closed_loop", "kind: nonsense", "expected one of", "closed_loop"),
    m("kind: closed_loop", "type: closed_loop", "needs 'kind'", at="chat:"),
    m("concurrency: 64", 'concurrency: "64"', "write 64 without quotes"),
    m("concurrency: 64", "concurrency: 64 users", "valid integer"),
    m("concurrency: 64", "concurrency: 0", "greater than or equal to 1"),
    m("concurrency: 64", "concurrency: 1000000000", "less than or equal to 100000"),
    m("concurrency: 64", "concurency: 64", "did you mean 'concurrency'?"),
    m("concurrency: 64", "users: 64", "it is called 'concurrency' here"),
    m("prompt_tokens: 1024", "input_tokens: 1024", "it is called 'prompt_tokens' here"),
    m("prompt_tokens: 1024", "prompt_tokens: 1k", "write 1000"),
    m("prompt_tokens: 1024", "prompt_tokens: 0", "greater than or equal to 1"),
    m("prompt_tokens: 1024", "prompt_tokens: {stddev: 128}", "prompt_tokens.mean: missing"),
    m("prompt_tokens: 1024", "prompt_tokens: {mean: 0, stddev: 128}", "prompt_tokens.mean: 0", "greater than or equal to 1"),
    m("prompt_tokens: 1024", "prompt_tokens: {mean: .nan, stddev: 1}", "prompt_tokens.mean: .nan", "a finite number"),
    m("prompt_tokens: 1024", "prompt_tokens: {mean: 512, stddev: -1}", "prompt_tokens.stddev: -1", "greater than 0"),
    m("prompt_tokens: 1024", "prompt_tokens: {mean: 512, stdev: 128}", "unknown key; did you mean 'stddev'?", "mean, stddev, min, max"),
    m("prompt_tokens: 1024", "prompt_tokens: {mean: 512, stddev: 600}", "chat.prompt_tokens: what a normal", "give percentiles"),
    m("prompt_tokens: 1024", "prompt_tokens: {mean: 9000000, stddev: 900000}", "13,500,000 tokens are more than 10,000,000"),
    m("prompt_tokens: 1024", "prompt_tokens: {mean: 512, stddev: 9, min: 600}", "mean is 512, and must be from min, 600"),
    m("prompt_tokens: 1024", "prompt_tokens: {mean: 512, stddev: 9, histogram: {5: 1}}", "of two distributions; keep one"),
    m("prompt_tokens: 1024", "prompt_tokens: {average: 512}", "chat.prompt_tokens: is no distribution", "{mean: 512, stddev: 128}"),
    m("prompt_tokens: 1024", "prompt_tokens: {percentiles: {50: 300, 90: 200}}", "the percentile 90 is 200, less than the 300"),
    m("prompt_tokens: 1024", "prompt_tokens: {percentiles: {0.5: 300, 0.99: 400}}", "from 0 to 100", "write 50, 99"),
    m("prompt_tokens: 1024", "prompt_tokens:\n        percentiles:\n          50: 2\n          99.9: 0", "percentiles.99.9: 0", at="99.9: 0"),
    m("prompt_tokens: 1024", "prompt_tokens: {percentiles: {101: 5}}", "percentiles.101", "less than or equal to 100"),
    m("prompt_tokens: 1024", "prompt_tokens: {percentiles: {}}", "percentiles: is empty"),
    m("prompt_tokens: 1024", "prompt_tokens: {histogram: {128: 0}}", "histogram.128: 0", "greater than 0"),
    m("prompt_tokens: 1024", "prompt_tokens: {histogram: {20000000: 1}}", "histogram.20000000", "less than or equal to 10000000"),
    m("prompt_tokens: 1024", "prompt_tokens: {histogram: [128, 512]}", "histogram: [128, 512] will not do, expected keys with values"),
    m("warmup_s: 30", "extra_body: {temperature: 0, max_tokens: 5}", "extra_body.max_tokens", "output_tokens says"),
    m("warmup_s: 30", "extra_body:\n        tools:\n          - {a: .nan}", "tools.0.a", "no such number", at="- {a"),
    m("warmup_s: 30", "extra_body: {logit_bias: {5: 1}}", 'put it in quotes: "5"'),
    m("warmup_s: 30", "extra_body: [temperature]", "extra_body: ['temperature'] will not do, expected keys with values"),
    m("warmup_s: 30", f"extra_body: {{a: {'x' * 70_000}}}", "has 70,009 bytes as JSON, more than 65,536"),
    m("warmup_s: 30", f"extra_body: {'{a: ' * 27}1{'}' * 27}", "is nested deeper than 24 levels"),
    m("warmup_s: 30", "extra_request_body: {temperature: 0}", "it is called 'extra_body' here"),
    m("output_tokens: 256", "output_tokens: {percentiles: {50: 256, 99: 39_937}}", "1,024 tokens and up to 39,937 of the answer are 40,961",
      at="prompt_tokens: 1024"),
    m("output_tokens: 256", "max_new_tokens: 256", "it is called 'output_tokens' here"),
    m("duration_s: 300", "duration_s: 300s", "write 300"),
    m("duration_s: 300", "duration_s: 5m", "write 300"),
    m("duration_s: 300", "duration_s: 5 minutes", "write 300"),
    m("duration_s: 300", "duration_s: 1:30", "write 90"),
    m("duration_s: 300", "duration_s: 1500ms", "write 1.5"),
    m("duration_s: 300", "duration_s: 0", "greater than 0"),
    m("duration_s: 300", "duration_s: soon", "valid number"),
    m("duration_s: 300", "duration_s:", "write a value"),
    m("duration_s: 300", "durations_s: 300", "did you mean 'duration_s'?"),
    m("warmup_s: 30", "warmup_s: 30 sec", "write 30"),
    m("warmup_s: 30", "warmup_s: -1", "greater than or equal to 0"),
    m("warmup_s: 30", "shared_prefix: 50%", "write 0.5"),
    m("warmup_s: 30", "shared_prefix: 1.5", "less than 1"),
    m("warmup_s: 30", "prompts: load/chat.jsonl", "an S3 address"),
    m("warmup_s: 30", "client: boto3", "'sagemaker' or 'openai'"),
    m("    chat:", "    Chat:", "lower-case letters", "expected"),
    m("    chat:", "    long-chat:", "lower-case letters, digits and _"),
    m("max_runtime_s: 9000", "max_runtime_s: 300", "are over before the load is", "raise it"),
    m("max_runtime_s: 9000", "max_runtime_s: 2h", "write 7200"),
    m("max_runtime_s: 9000", "max_runtime: 7200", "did you mean 'max_runtime_s'?"),
    m("load_profiles:", "profiles:", "it is called 'load_profiles' here"),
    # --- objectives
    objective("error_rate: {at_most: 5}", "a share is from 0 to 1", "cannot fail", "write 0.05"),
    objective("error_rate: {at_most: 1}", "cannot fail"),
    objective("error_rate: {at_most: 5%}", "write 0.05"),
    objective("error_rate: {at_most: -0.1}", "can never be met"),
    objective("error_rate: {at_most: .nan}", "nan"),
    objective("error_rate: {at_most: .inf}", "inf"),
    objective("error_rate: {at_least: 0.1}", "less is better", "write at_most: 0.1"),
    objective("error_rate: {max: 0}", "it is called 'at_most' here"),
    objective("error_rate: {lte: 0}", "it is called 'at_most' here"),
    objective("error_rate: {at_mots: 0}", "did you mean 'at_most'?"),
    objective("error_rate: 0", "0 will not do", "at_most, at_least"),
    objective("error_rate: {}", "exactly one bound"),
    objective("error_rate: {at_most: 0, at_least: 0}", "exactly one bound"),
    objective("errors: {at_most: 0}", "no such metric", "did you mean 'error_rate'?"),
    objective("speed: {at_most: 1}", "no such metric", "Known: ttft_p50_ms"),
    objective("ttft_p98_ms: {at_most: 1000}", "no such metric", "did you mean 'ttft_p9"),
    objective("ttft_p99: {at_most: 1000}", "did you mean 'ttft_p99_ms'?"),
    objective("throughput: {at_least: 1000}", "no such metric"),
    objective("capacity_per_s: {at_least: 10}", "only a load profile of the kind `capacity`"),
    objective("usd_per_million_output_tokens: {at_least: 2}", "write at_most: 2"),
    objective("requests_per_s: {at_most: 10}", "more is better", "write at_least: 10"),
    objective("requests_per_s: {at_least: 0}", "is always met"),
    objective("requests_per_s: {at_least: -5}", "is always met"),
    m(TTFT, "ttft_p99_ms: {at_most: 1.5}", "write 1500 if seconds were meant"),
    m(TTFT, "ttft_p99_ms: {at_most: 1.5s}", "write 1500"),
    m(TTFT, "ttft_p99_ms: {at_most: 1500ms}", "write 1500"),
    m(TTFT, "ttft_p99_ms: {at_most: 0}", "can never be met"),
    m(TTFT, "ttft_p99_ms: {at_most: -1}", "can never be met"),
    m(TTFT, "ttft_p99_ms: {at_least: 1500}", "less is better", "write at_most: 1500"),
    m(TTFT, "ttft_p99_ms: {at_most: 60000}", "cannot be missed"),
    m(TTFT, "ttft_p99_ms: {at_most: fast}", "valid number"),
    m(TTFT, "ttft_p99_ms: {at_most_production: 110}", "write 1.1"),
    m(TTFT, "ttft_p99_ms: {at_most_production: 110%}", "valid number"),
    m(TTFT, "ttft_p99_ms: {at_most_production: 0.05}", "write 1.05"),
    m(TTFT, "ttft_p99_ms: {at_least_production: 1.1}", "write at_most_production: 1.1"),
    m("itl_p99_ms: {at_most: 60}", "itl_p99_ms: {at_most: 0.06}", "write 60"),
    m("output_tokens_per_s: {at_least: 1500}", "output_tokens_per_s: {at_most: 1500}", "more is better", "at_least: 1500"),
    m("output_tokens_per_s: {at_least: 1500}", "output_tokens_per_s: {at_least_production: 95}", "write 0.95"),
    m("objectives:", "slo:", "it is called 'objectives' here"),
    # --- prompt checks
    check('" "', "cannot fail"),
    check('"\\n"', "cannot fail"),
    check("“Paris”", "typographic quotation marks", 'write "Paris"'),
    check("«Paris»", "typographic quotation marks"),
    check('""', "at least 1 character"),
    check("42", 'put it in quotes: "42"'),
    check("true", 'put it in quotes: "true"'),
    check("3.14", 'put it in quotes: "3.14"'),
    check("[Paris]", "valid string"),
    m('expect: Paris, max_tokens: 64}\n', "answer: Paris, max_tokens: 64}\n", "it is called 'expect' here"),
    m('expect: Paris, max_tokens: 64}\n', "expect: Paris, max_tokens: 0}\n", "greater than or equal to 1"),
    m('prompt: "What is the capital of France? Answer in one word. /no_think"', 'prompt: " "', "asks nothing"),
    m('prompt: "What is the capital of France? Answer in one word. /no_think"', "question: Where", "it is called 'prompt' here"),
    m("  prompt_checks:", "  prompt_check:", "did you mean 'prompt_checks'?"),
    m("  prompt_checks:", "  canaries:", "it is called 'prompt_checks' here"),
    # --- approval and production
    m("approval: manual", "approval: maybe", "'manual' or 'automatic'"),
    m("approval: manual", "approval: auto", "did you mean 'automatic'?"),
    m("approval: manual", "approval: no", "'no' will not do", "'manual' or 'automatic'"),
    m("approval: manual", "approval: Manual", "did you mean 'manual'?"),
    m("endpoint: qwen3-32b", "endpoint: qwen3.32b", "lower-case letters, digits and dashes"),
    m("endpoint: qwen3-32b", "endpoint: Qwen3_32B", "lower-case letters, digits and dashes"),
    m("endpoint: qwen3-32b", f"endpoint: {'a' * 50}", "42 at most"),
    m("endpoint: qwen3-32b", "endpoint: -chat", "lower-case letters, digits and dashes"),
    m("endpoint: qwen3-32b", "endpoint_name: qwen3-32b", "it is called 'endpoint' here"),
    m("endpoint: qwen3-32b", "endpoint: 32", 'put it in quotes: "32"'),
    m("instance_count: 2", "instance_count: two", "valid integer"),
    m("instance_count: 2", "instance_count: 0", "greater than or equal to 1"),
    m("instance_count: 2", "instance_count: 1", "half of them", at="update:"),
    m("instance_count: 2", "replicas: 2", "it is called 'instance_count' here"),
    m("strategy: rolling", "strategy: blue_green", "expected one of", "'rolling'"),
    m("strategy: rolling", "strategy: Rolling", "did you mean 'rolling'?"),
    m("batch_percent: 50", "batch_percent: 60", "less than or equal to 50"),
    m("batch_percent: 50", "batch_percent: 50%", "write 50"),
    m("batch_percent: 50", "batch_percent: 0.5", "valid integer"),
    m("batch_percent: 50", "batch_percent: 5", "less than one instance"),
    m("bake_s: 300", "bake_s: 5 min", "write 300"),
    m("bake_s: 300", "bake_s: 7200", "less than or equal to 3600"),
    m("alarms: []", "alarms: my-alarm", 'write a list: ["my-alarm"]'),
    m("alarms: []", "alarms: [arn:aws:cloudwatch:us-west-2:111122223333:alarm:mine]", "write mine"),
    m("alarms: []", "guards: {errors_percent: 200}", "less than or equal to 100"),
    m("alarms: []", "guards: {period_s: 45}", "CloudWatch has no period of 45 s"),
    m("alarms: []", "watch_s: 1d", "write 86400"),
    m("alarms: []", "routing: {strategy: kv_aware}", "expected one of"),
    m("alarms: []", "autoscaling: {min_instances: 4, max_instances: 2, concurrent_requests_per_instance: 8}", "less than min_instances"),
    m("alarms: []", "data_capture: {percent: 150}", "less than or equal to 100"),
    m("alarms: []", "region: us-west-2", "belongs into the environment file"),
    m("production:\n", "region: us-west-2\nproduction:\n", "belongs into the environment file"),
    # --- environment files
    m("region: us-west-2", "region: us-west2", "did you mean 'us-west-2'?"),
    m("region: us-west-2", "region: us-west-2a", "availability zone", "us-west-2"),
    m("region: us-west-2", "region: US-WEST-2", "write us-west-2"),
    m("region: us-west-2", "region: us_west_2", "write us-west-2"),
    m("region: us-west-2", "region: oregon", "no Region that SageMaker is in"),
    m("region: us-west-2", "region: eu-west-9", "did you mean 'eu-west-"),
    m("region: us-west-2", "aws_region: us-west-2", "it is called 'region' here"),
    m('account_id: "111122223333"', "account_id: 111122223333", 'put it in quotes: "111122223333"'),
    m('account_id: "111122223333"', 'account_id: "1111-2222-3333"', "12 digits without dashes"),
    m('account_id: "111122223333"', 'account_id: "11122223333"', "12 digits"),
    m(BUCKET, "bucket: s3://mine/weights", "the name alone is expected: mine"),
    m(BUCKET, "bucket: arn:aws:s3:::mine", "the name alone is expected: mine"),
    m(BUCKET, "bucket: My-Bucket", "no capital letters", "my-bucket"),
    m(BUCKET, "bucket: my_bucket", "no underscores", "my-bucket"),
    m(BUCKET, "bucket: mine/weights", "without a folder: mine"),
    m(BUCKET, "bucket: ab", "3 to 63 characters"),
    m(BUCKET, f"bucket: {'a' * 64}", "3 to 63 characters"),
    m(BUCKET, "bucket: a..b", "two dots"),
    m(BUCKET, "bucket: 192.168.5.4", "no IP address"),
    m(BUCKET, "bucket: -mine", "begins and ends with"),
    m(BUCKET, "bucket: xn--mine", "AWS keeps names"),
    m(BUCKET, "bucket: mine-s3alias", "AWS keeps names"),
    m(BUCKET, "bucket: my bucket", "lower-case letters, digits, dots and dashes"),
    m(BUCKET, "s3_bucket: mine", "it is called 'bucket' here"),
    m(ROLE, "fetch: release-fetch", "a role's ARN is expected", "arn:aws:iam::111122223333:role/release-fetch"),
    m(ROLE, "fetch: arn:aws:iam::111122223333:user/ana", "that is the ARN of a user"),
    m(ROLE, "fetch: arn:aws:iam::111122223333:policy/p", "that is the ARN of a policy"),
    m(ROLE, "fetch: arn:aws:iam::111122223333:root", "that is the ARN of a root"),
    m(ROLE, "fetch: arn:aws:iam::999922223333:role/release-fetch", "account 999922223333", "account_id is 111122223333"),
    m(ROLE, "fetch: arn:aws-cn:iam::111122223333:role/release-fetch", "partition aws-cn"),
    m(ROLE, "fetch: arn:aws:sts::111122223333:assumed-role/release-fetch/me", "a session", "role/release-fetch"),
    m(ROLE, "fetch: arn:aws:s3:::mine", "that is the ARN of a s3"),
    m(ROLE, "fetsh: x", "did you mean 'fetch'?"),
    m(STEPS, "steps: lmsysorg/sglang:latest", "Amazon ECR"),
    m(STEPS, "steps: https://111122223333.dkr.ecr.us-west-2.amazonaws.com/x", "no scheme"),
    m(STEPS, "steps: 111122223333.dkr.ecr.eu-west-1.amazonaws.com/x", "the image is in eu-west-1", "us-west-2"),
    m(STEPS, "steps: 111122223333.dkr.ecr.us-west-2.amazonaws.com/Release", "Amazon ECR"),
    m(SECRET, "hub_token_secret: hf_abcdefghijklmnopqrstuvwxyzABCDEFGH", "belongs into no file", "revoke it"),
    m(SECRET, "hub_token_secret: my secret", "letters, digits and /_+=.@-"),
    m(SECRET, "hf_token: hf_abcdefghijklmnopqrstuvwxyzABCDEFGH", "it is called 'hub_token_secret' here"),
    m(KMS, "kms_key: my-key", "a key's ARN is expected"),
    m(KMS, "kms_key: arn:aws:kms:eu-west-1:111122223333:key/x", "the key is in eu-west-1"),
    m(KMS, "kms_key: arn:aws:iam::111122223333:role/r", "that is the ARN of an iam"),
    m("subnets: [subnet-0aaaaaaaaaaaaaaaa, subnet-0bbbbbbbbbbbbbbbb]", "subnets: [sg-0cccccccccccccccc]", "an id is expected: subnet-"),
    m("subnets: [subnet-0aaaaaaaaaaaaaaaa, subnet-0bbbbbbbbbbbbbbbb]", "subnets: subnet-0aaaaaaaaaaaaaaaa", "write a list"),
    m("subnets: [subnet-0aaaaaaaaaaaaaaaa, subnet-0bbbbbbbbbbbbbbbb]", "subnets: [private-a]", "an id is expected"),
    m("security_groups: [sg-0cccccccccccccccc]", "security_groups: [default]", "an id is expected: sg-"),
    m("inference_ami_version: al2023-ami-sagemaker-inference-gpu-4-1", "inference_ami_version: gpu-4", "no inference AMI", "al2023"),
    m("    instance_type: ml.p5en.48xlarge", "    instance_type: p5en.48xlarge", "write ml.p5en.48xlarge"),
    m("arn: arn:aws:sagemaker:us-west-2:111122223333:training-plan/staging-h200", "arn: staging-h200", "the ARN of a training plan"),
    m("  ml.p5.48xlarge: 60.0", "  ml.p5.48xlarge: free", "valid number"),
    m("  ml.p5.48xlarge: 60.0", "  p5.48xlarge: 60.0", "no instance type", "ml.p5.48xlarge"),
    m('tags: {cost-centre: "4711"}', "tags: {cost-centre: 4711}", 'put it in quotes: "4711"'),
    m('tags: {cost-centre: "4711"}', "job_instance_types: {fetch: m5.4xlarge}", "did you mean 'ml.m5.4xlarge'?"),
    m('tags: {cost-centre: "4711"}', "job_instance_types: {fetch: ml.m5.5xlarge}", "no instance type of SageMaker's jobs"),
    m('tags: {cost-centre: "4711"}', "hub_endpoint: huggingface.co", "an address without a path"),
    m("kind: aws", "kind: AWS", "did you mean 'aws'?"),
    m("kind: aws", "kind: prod", "'local' or 'aws'"),
]  # fmt: skip

_UNTRANSLATED = re.compile(r"\^|\\d|\(\?|Input should|String should|match pattern|Traceback|<.*object at")


def test_there_are_enough_of_them() -> None:
    assert len({mistake.text for mistake in MISTAKES}) >= 200


def complaint(mistake: Mistake, folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int | None, str, Path]:
    file = folder / "mine.yaml"
    file.write_text(mistake.text, encoding="utf-8")
    try:
        if mistake.is_of_a_model:
            load_model(str(file))
        else:
            load_environment(str(file))
    except Exception as error:  # noqa: BLE001 - as pipelines.run does
        code = failures.report(error, as_json=False)
        return code, capsys.readouterr().err, file
    return 0, "", file


def test_each_is_one_line_with_its_place_and_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = []
    for mistake in MISTAKES:
        code, said, file = complaint(mistake, tmp_path, capsys)
        lines = said.splitlines()
        expected = f"error: {file}:{mistake.line}: "
        good = (
            code == 2
            and len(lines) == 1
            and said.startswith(expected)
            and all(part in said for part in mistake.says)
            and not _UNTRANSLATED.search(said.removeprefix(expected))
        )
        if not good:
            wrong.append(f"{mistake.wrong!r} (line {mistake.line}, {mistake.says}): {code} {said}")
    assert not wrong, f"{len(wrong)} of {len(MISTAKES)}\n" + "\n".join(wrong)


def test_a_token_is_never_repeated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for mistake in MISTAKES:
        if "hf_abc" in mistake.wrong:
            assert "hf_abc" not in complaint(mistake, tmp_path, capsys)[1]
