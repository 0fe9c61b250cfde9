"""What other engines and other files call the same thing: where a "did you mean" by spelling alone would mislead.

Sources: vLLM, "Engine Arguments" (docs.vllm.ai/en/latest/models/engine_args.html); Text Generation Inference, "Text-generation-launcher
arguments"; TensorRT-LLM, `trtllm-serve`; LMDeploy, "TurboMind Config"; llama.cpp, `llama-server --help`; DJL Serving, "LMI configurations".
Right of each is a flag of SGLang (container/sglang_flags.json; a test looks each up) or a key of the model file.
"""

from __future__ import annotations

from collections.abc import Container

_NEXT_TO = "serving.tensor_parallel_size"

FLAGS: dict[str, str] = {
    # vLLM
    "max-model-len": "context-length",
    "gpu-memory-utilization": "mem-fraction-static",
    "tp": _NEXT_TO,
    "max-num-seqs": "max-running-requests",
    "max-num-batched-tokens": "chunked-prefill-size",
    "long-prefill-token-threshold": "chunked-prefill-size",
    "enforce-eager": "disable-cuda-graph",
    "max-loras": "max-loras-per-batch",
    "lora-modules": "lora-paths",
    "seed": "random-seed",
    "tokenizer": "tokenizer-path",
    "block-size": "page-size",
    "enable-expert-parallel": "ep-size",
    "calculate-kv-scales": "kv-cache-dtype",
    "speculative-model": "speculative-draft-model-path",
    "num-speculative-tokens": "speculative-num-draft-tokens",
    "no-enable-prefix-caching": "disable-radix-cache",
    "uvicorn-log-level": "log-level",
    "disable-log-stats": "enable-metrics",
    "guided-decoding-backend": "grammar-backend",
    "reasoning-backend": "reasoning-parser",
    # Text Generation Inference
    "num-shard": _NEXT_TO,
    "max-input-length": "context-length",
    "max-input-tokens": "context-length",
    "max-batch-prefill-tokens": "max-prefill-tokens",
    "max-batch-total-tokens": "max-total-tokens",
    "max-concurrent-requests": "max-running-requests",
    "cuda-memory-fraction": "mem-fraction-static",
    "quantize": "quantization",
    # TensorRT-LLM
    "max-seq-len": "context-length",
    "max-batch-size": "max-running-requests",
    "kv-cache-free-gpu-memory-fraction": "mem-fraction-static",
    "free-gpu-memory-fraction": "mem-fraction-static",
    "moe-expert-parallel-size": "ep-size",
    # LMDeploy
    "session-len": "context-length",
    "cache-max-entry-count": "mem-fraction-static",
    "model-format": "quantization",
    # llama.cpp
    "ctx-size": "context-length",
    "n-ctx": "context-length",
    "parallel": "max-running-requests",
    # words that people make of them
    "max-context-length": "context-length",
    "context-window": "context-length",
    "max-position-embeddings": "context-length",
    "tool-parser": "tool-call-parser",
    "mem-fraction": "mem-fraction-static",
    "memory-fraction": "mem-fraction-static",
    "max-batch": "max-running-requests",
    "image": "serving.image",
}
"""A flag's name elsewhere → SGLang's, or the model file's key."""

DEFAULTS: dict[str, str] = {
    "enable-prefix-caching": "SGLang keeps prefixes unless disable-radix-cache is set",
    "enable-chunked-prefill": "SGLang prefills in chunks of chunked-prefill-size by itself",
    "enable-auto-tool-choice": "SGLang calls tools wherever tool-call-parser is set",
    "disable-log-requests": "SGLang logs no requests unless log-requests is set",
    "swap-space": "SGLang swaps no cache out unless enable-hierarchical-cache is set",
    "n-gpu-layers": "SGLang keeps all layers on the GPUs",
    "max-log-len": "SGLang logs no requests unless log-requests is set",
    "num-scheduler-steps": "SGLang's overlapped scheduler is always on",
    "enable-flash-attention": "attention-backend chooses among SGLang's kernels",
}
"""A flag elsewhere that SGLang does not need → why."""

KEYS: dict[str, str] = {
    "canaries": "evaluation.prompt_checks",
    "checks": "evaluation.prompt_checks",
    "model": "weights.repository",
    "model_id": "weights.repository",
    "model_name": "weights.repository",
    "repo": "weights.repository",
    "repo_id": "weights.repository",
    "hf_model_id": "weights.repository",
    "hf_repo": "weights.repository",
    "sha": "weights.revision",
    "commit": "weights.revision",
    "branch": "weights.revision",
    "tag": "weights.revision",
    "version": "weights.revision",
    "trust_remote_code": "weights.unsafe",
    "allow_patterns": "weights.include",
    "ignore_patterns": "weights.exclude",
    "patterns": "weights.include",
    "instance": "serving.instance_type",
    "machine": "serving.instance_type",
    "gpu_type": "serving.instance_type",
    "tp": "serving.tensor_parallel_size",
    "tp_size": "serving.tensor_parallel_size",
    "tp-size": "serving.tensor_parallel_size",
    "tensor_parallel": "serving.tensor_parallel_size",
    "gpus": "serving.tensor_parallel_size",
    "num_gpus": "serving.tensor_parallel_size",
    "gpu_count": "serving.tensor_parallel_size",
    "flags": "serving.sglang",
    "args": "serving.sglang",
    "engine_args": "serving.sglang",
    "server_args": "serving.sglang",
    "env": "serving.sglang",
    "environment": "serving.sglang",
    "vllm": "serving.sglang",
    "container": "serving.image",
    "slo": "evaluation.load_profiles.NAME.objectives",
    "slos": "evaluation.load_profiles.NAME.objectives",
    "thresholds": "evaluation.load_profiles.NAME.objectives",
    "profiles": "evaluation.load_profiles",
    "load": "evaluation.load_profiles",
    "users": "evaluation.load_profiles.NAME.concurrency",
    "clients": "evaluation.load_profiles.NAME.concurrency",
    "qps": "evaluation.load_profiles.NAME.rate_per_s",
    "rps": "evaluation.load_profiles.NAME.rate_per_s",
    "rate": "evaluation.load_profiles.NAME.rate_per_s",
    "input_tokens": "evaluation.load_profiles.NAME.prompt_tokens",
    "isl": "evaluation.load_profiles.NAME.prompt_tokens",
    "osl": "evaluation.load_profiles.NAME.output_tokens",
    "max_new_tokens": "evaluation.load_profiles.NAME.output_tokens",
    "extra_inputs": "evaluation.load_profiles.NAME.extra_body",
    "extra_request_body": "evaluation.load_profiles.NAME.extra_body",
    "type": "evaluation.load_profiles.NAME.kind",
    "max": "at_most",
    "max_value": "at_most",
    "less_than": "at_most",
    "lte": "at_most",
    "min": "at_least",
    "min_value": "at_least",
    "greater_than": "at_least",
    "gte": "at_least",
    "question": "evaluation.prompt_checks.prompt",
    "answer": "evaluation.prompt_checks.expect",
    "expected": "evaluation.prompt_checks.expect",
    "contains": "evaluation.prompt_checks.expect",
    "replicas": "production.instance_count",
    "instances": "production.instance_count",
    "count": "production.instance_count",
    "initial_instance_count": "production.instance_count",
    "endpoint_name": "production.endpoint",
    "scaling": "production.autoscaling",
    "min_capacity": "production.autoscaling.min_instances",
    "max_capacity": "production.autoscaling.max_instances",
    "deployment": "production.update",
    "rollback": "production.guards",
    # environment files
    "aws_region": "region",
    "account": "account_id",
    "s3_bucket": "bucket",
    "bucket_name": "bucket",
    "hf_token": "hub_token_secret",
    "hub_token": "hub_token_secret",
    "huggingface_token": "hub_token_secret",
    "token": "hub_token_secret",
    "kms_key_id": "kms_key",
    "kms_key_arn": "kms_key",
    "subnet_ids": "subnets",
    "security_group_ids": "security_groups",
    "prices": "instance_usd_per_hour",
    "ami_version": "inference_ami_version",
}
"""A key elsewhere → the file's own: by its way from the top, or alone where it stands beside the mistake."""

OF_THE_ENVIRONMENT = {
    "region",
    "aws_region",
    "account_id",
    "bucket",
    "roles",
    "role",
    "role_arn",
    "kms_key",
    "subnets",
    "security_groups",
    "tags",
}
"""Keys that belong into an environment file, config/environments/NAME.yaml, and not into a model file."""


def flag_elsewhere(name: str) -> str:
    """Return what to write instead of another engine's flag.

    >>> flag_elsewhere("max-model-len")
    "SGLang's is 'context-length'. "

    Args:
        name: Without leading dashes, with dashes inside.
    """
    if name in DEFAULTS:
        return f"{DEFAULTS[name]}; leave it out. "
    target = FLAGS.get(name)
    if target is None:
        return ""
    return f"use {target}. " if "." in target else f"SGLang's is {target!r}. "


def key_meant(name: str, valid: Container[str], sections: Container[str]) -> str:
    """Return the key that a key of another format stands for.

    Args:
        name: The key.
        valid: The keys that may stand where it stands.
        sections: The keys at the top of the file.

    Returns:
        One of the valid keys, or the section that it belongs into; empty where there is none.
    """
    target = _target(name)
    last, top = target.rpartition(".")[2], target.partition(".")[0]
    if last in valid:
        return last
    return top if "." in target and top in sections else ""


def _target(name: str) -> str:
    small = name.lower()
    return KEYS.get(small) or KEYS.get(small.replace("-", "_"), "")


def key_elsewhere(name: str, valid: Container[str], sections: Container[str]) -> str:
    """Return what to write instead of a key of another format.

    Args:
        name: The key.
        valid: The keys that may stand where it stands.
        sections: The keys at the top of the file.

    Returns:
        One sentence, with a blank behind it; empty where the key is of no format that is known.
    """
    target, meant = _target(name), key_meant(name, valid, sections)
    if meant:
        return f"it is called {meant!r} here. " if target.rpartition(".")[2] == meant else f"write it as {target}. "
    if "weights" in sections and name.lower() in OF_THE_ENVIRONMENT:
        return "it belongs into the environment file, config/environments/NAME.yaml. "
    return ""
