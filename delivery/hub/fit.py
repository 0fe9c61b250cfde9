"""Whether a model can be served as its model file says: its own facts against parallel sizes, context, memory and parsers.

Sources: SGLang 0.5.20, sglang/srt/distributed/utils.py (`divide`), layers/linear.py (`QKVParallelLinear`), layers/quantization/fp8.py ("is not
divisible by weight quantization block_n"), configs/model_config.py (context length), parser/template_detection.py (which parser reads whom).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from config.errors import Location
from config.rules import serving_rules
from config.rules.finding import Finding
from config.schema import ModelFile
from delivery.errors import InputError
from delivery.hub import model_config
from delivery.hub.memory import MemoryUse, memory_use
from delivery.hub.model_config import ModelConfig
from delivery.hub.selection import Selection

_TENSOR: Location = ("serving", "tensor_parallel_size")
_SGLANG: Location = ("serving", "sglang")


@dataclass(frozen=True)
class Family:
    """Which parsers read the answers of a family of models."""

    reasoning: tuple[str, ...]
    tools: tuple[str, ...]


FAMILIES: dict[str, Family] = {
    "qwen2": Family(("deepseek-r1", "qwen3"), ("qwen", "qwen25", "hermes")),
    "qwen2_5_vl": Family((), ("qwen", "qwen25", "hermes")),
    "qwen3": Family(("qwen3", "qwen3-thinking", "deepseek-r1"), ("qwen", "qwen25", "hermes", "qwen3_coder")),
    "qwen3_moe": Family(("qwen3", "qwen3-thinking"), ("qwen", "qwen25", "hermes", "qwen3_coder")),
    "deepseek_v3": Family(("deepseek-r1", "deepseek-v3", "deepseek-v31", "kimi_k2", "kimi"), ("deepseekv3", "deepseekv31", "deepseekv32", "kimi_k2")),
    "gpt_oss": Family(("gpt-oss",), ("gpt-oss",)),
    "llama": Family(("deepseek-r1", "nemotron_3"), ("llama3", "pythonic", "hermes")),
    "llama4": Family((), ("pythonic", "llama3")),
    "mistral": Family(("mistral",), ("mistral", "hermes")),
    "mistral3": Family(("mistral",), ("mistral",)),
    "gemma3": Family((), ("pythonic",)),
    "glm4_moe": Family(("glm45",), ("glm", "glm45", "glm47")),
    "kimi_k2": Family(("kimi_k2", "kimi"), ("kimi_k2",)),
}  # fmt: skip
"""config.json's model_type → the family's parsers, best first."""


@dataclass(frozen=True)
class Fit:
    """How a model fits the instances that its model file names."""

    findings: list[Finding]
    memory: dict[str, MemoryUse]
    """Instance type → what each of its GPUs holds; empty where config.json does not say enough."""


def fit(model: ModelFile, selection: Selection) -> Fit:
    """Compare what the repository says of the model with the model file.

    Args:
        model: The model file.
        selection: What would be fetched, with the documents that were read.

    Returns:
        What cannot work, what is tight, and the memory's arithmetic.
    """
    config = _overridden(selection.documents.get("config.json", {}), model)
    if not config:
        return Fit([], {})  # GGUF, which engines of this machine serve
    facts = model_config.parse(config)
    flags = serving_rules.flags_by_name(model.serving)
    serving, staging = model.serving, model.evaluation.staging.instance_types
    types = dict.fromkeys([serving.instance_type, *serving.fallback_instance_types, *staging])
    found = {name: memory_use(serving, name, facts, selection.weight_bytes) for name in types}
    memory = {name: use for name, use in found.items() if use is not None}
    findings = [
        *_parallel(facts, flags),
        *_blocks(facts, flags),
        *_context(facts, flags, model),
        *_memory(memory, model),
        *_parsers(facts, flags),
        *_chat(facts, flags, selection),
    ]
    return Fit(findings, memory)


def refuse_misfit(model: ModelFile, selection: Selection) -> None:
    """Raise InputError, with the model file's key, for the first thing that cannot work."""
    for finding in fit(model, selection).findings:
        if finding.is_error:
            raise InputError(str(finding), key=".".join(map(str, finding.location)))


def _overridden(config: Mapping[str, Any], model: ModelFile) -> Mapping[str, Any]:
    """Return config.json with the flag json-model-override-args laid over it, as SGLang does."""
    text = model.serving.sglang.get("json-model-override-args")
    try:
        override = json.loads(text) if isinstance(text, str) else text
    except ValueError:
        override = None
    return {**config, **override} if isinstance(override, dict) else config


def _parallel(facts: ModelConfig, flags: Mapping[str, Any]) -> Iterator[Finding]:
    tensor = int(flags["tp-size"])
    data = int(flags.get("dp-size", 1)) if flags.get("enable-dp-attention") is True else 1
    ranks = max(1, tensor // data)
    if facts.heads and facts.heads % ranks:
        message = (
            f"{tensor} will not do: the model has {facts.heads} attention heads, and {ranks} GPUs cannot share them evenly; "
            f"{_divisors(facts.heads)}"
        )
        yield Finding(_TENSOR, message, "heads-not-divisible")
    elif facts.kv_heads and not facts.latent_dim and facts.kv_heads % ranks and ranks % facts.kv_heads:
        message = (
            f"{tensor} will not do: the model has {facts.kv_heads} KV heads, and neither does {ranks} divide them nor they it; "
            f"{_divisors(facts.kv_heads)}"
        )
        yield Finding(_TENSOR, message, "kv-heads-not-divisible")
    experts = int(flags.get("ep-size", 1))
    if experts > 1 and not facts.experts:
        yield Finding((*_SGLANG, "ep-size"), f"{experts} will not do: the model has no experts; leave it out", "no-experts")
    elif facts.experts and facts.experts % experts:
        message = f"{experts} will not do: the model has {facts.experts} experts, and {experts} is no divisor; {_divisors(facts.experts)}"
        yield Finding((*_SGLANG, "ep-size"), message, "experts-not-divisible")


def _divisors(number: int) -> str:
    return f"choose one of {', '.join(str(size) for size in (1, 2, 4, 8, 16, 32) if number % size == 0)}"


def _blocks(facts: ModelConfig, flags: Mapping[str, Any]) -> Iterator[Finding]:
    """Refuse a split through the blocks of block-wise FP8: SGLang's kernels take whole ones."""
    if facts.quantization is None or facts.quantization.block is None:
        return
    rows, tensor = facts.quantization.block[0], int(flags["tp-size"])
    experts = int(flags.get("ep-size", 1))
    sizes = {"intermediate_size": (facts.intermediate_size if not facts.experts else None, tensor),
             "moe_intermediate_size": (facts.moe_intermediate_size, max(1, tensor // experts))}  # fmt: skip
    for name, (size, parts) in sizes.items():
        if size and (size % parts or (size // parts) % rows):
            fitting = [count for count in (1, 2, 4, 8) if size % count == 0 and (size // count) % rows == 0]
            hint = (
                f"; or spread the experts: ep-size: {tensor}"
                if name.startswith("moe") and facts.experts and facts.experts % tensor == 0
                else ""
            )
            message = (
                f"{tensor} will not do: the weights are FP8 in blocks of {rows}, and {name} {size:,} over {parts} GPUs is {size / parts:g}, no "
                f"multiple of it; choose one of {', '.join(map(str, fitting))}{hint}"
            )
            yield Finding(_TENSOR, message, "blocks-not-divisible")


def _context(facts: ModelConfig, flags: Mapping[str, Any], model: ModelFile) -> Iterator[Finding]:
    given, own = flags.get("context-length"), facts.context_length
    if own is None:
        return
    if isinstance(given, int | float) and given > own:
        message = (
            f"{given:,} is more than the {own:,} tokens that the model was made for (config.json), which SGLang refuses; lower it, or stretch the "
            "model with json-model-override-args (rope_scaling), as its page says"
        )
        yield Finding((*_SGLANG, "context-length"), message, "context-too-long")
    elif given is None:
        yield from serving_rules.requests_within(model, own, "the model's own")


def _memory(memory: Mapping[str, MemoryUse], model: ModelFile) -> Iterator[Finding]:
    for instance_type, use in memory.items():
        longest = serving_rules.longest_request(model)
        if use.cache_bytes <= 0 or use.tokens < longest:
            message = (
                f"does not fit {instance_type}: {use}"
                + (
                    f"; the longest request of the load has {longest:,} tokens"
                    if use.cache_bytes > 0
                    else "; the weights alone take more than that share"
                )
                + "; choose more or larger GPUs, a quantised model, or raise mem-fraction-static"
            )
            yield Finding(_TENSOR, message, "out-of-memory")
            continue
        if use.context_length and use.tokens < use.context_length:
            message = f"no request of full length fits {instance_type}: {use}; lower context-length to {use.tokens:,} or less"
            yield Finding(_TENSOR, message, "memory-tight", is_error=False)
        wanted = max(
            (_concurrency(profile) * profile.longest_request for profile in model.evaluation.load_profiles.values()), default=0
        )
        if wanted > use.tokens * use.replicas * model.evaluation.instance_count:
            message = (
                f"the load holds up to {wanted:,} tokens at a time, more than the KV cache of {instance_type} holds "
                f"({use.tokens * use.replicas:,} an instance): requests will wait for one another"
            )
            yield Finding(_TENSOR, message, "memory-tight", is_error=False)


def _concurrency(profile: Any) -> int:
    return int(getattr(profile, "concurrency", 0) or max(getattr(profile, "concurrencies", [0])))


def _parsers(facts: ModelConfig, flags: Mapping[str, Any]) -> Iterator[Finding]:
    family = FAMILIES.get(facts.model_type)
    if family is None:
        return
    for flag, known in (("reasoning-parser", family.reasoning), ("tool-call-parser", family.tools)):
        value = flags.get(flag)
        if value is not None and known and value not in (*known, "auto"):
            message = f"{value!r} reads the answers of other models; {facts.model_type} has {' or '.join(known)}"
            yield Finding((*_SGLANG, flag), message, "parser-of-another-family", is_error=False)


def _chat(facts: ModelConfig, flags: Mapping[str, Any], selection: Selection) -> Iterator[Finding]:
    paths = frozenset(file.path for file in selection.files)
    known = selection.documents.get("tokenizer_config.json")
    if known is None or flags.get("chat-template") or model_config.has_chat_template(paths, known):
        return
    message = (
        "the repository has no chat template (tokenizer_config.json, chat_template.jinja), and every request of an evaluation is a chat; choose the "
        "instruct model, or name a template in serving.sglang (chat-template)"
    )
    yield Finding(("weights", "repository"), message, "no-chat-template")
