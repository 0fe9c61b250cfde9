"""What a model's own files say of it: config.json, read as SGLang reads it, and whether there is a chat template.

Source: SGLang 0.5.20, sglang/srt/configs/model_config.py (`_derive_model_shapes`, `_derive_context_length`) and
utils/hf_transformers/common.py (`get_context_length`, `CONTEXT_LENGTH_KEYS`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_TEXT_SECTIONS = ("text_config", "llm_config", "language_config", "thinker_config")
_CONTEXT_KEYS = ("max_sequence_length", "seq_length", "max_seq_len", "model_max_length", "max_position_embeddings")
_EXPERT_KEYS = ("num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts")
_PATTERNS = {"gemma3_text": 6}
"""model_type → each how manieth layer keeps every token, where config.json leaves it to transformers (configuration_gemma3.py)."""
_DTYPE_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "half": 2, "float": 4}


@dataclass(frozen=True)
class Quantization:
    """How the stored weights are quantised."""

    method: str
    """As config.json has it: fp8, awq, gptq, compressed-tensors, mxfp4 …"""
    block: tuple[int, int] | None = None
    """Of block-wise FP8: rows and columns of a block."""


@dataclass(frozen=True)
class ModelConfig:
    """The facts of config.json that decide whether and how a model can be served; None: not said."""

    architectures: tuple[str, ...]
    model_type: str
    layers: int | None
    full_attention_layers: int | None
    """Layers that keep every token's keys and values; None: all."""
    window_layers: int
    """Layers that keep those of a sliding window alone."""
    heads: int | None
    kv_heads: int | None
    head_dim: int | None
    hidden_size: int | None
    intermediate_size: int | None
    moe_intermediate_size: int | None
    experts: int | None
    latent_dim: int | None
    """Of multi-head latent attention (DeepSeek): the width of what is cached a layer and token."""
    context_length: int | None
    """How many tokens it was made for. SGLang takes no more."""
    dtype_bytes: int
    """Of activations and of the cache, unless a flag says otherwise."""
    quantization: Quantization | None
    is_multimodal: bool


def parse(config: Mapping[str, Any]) -> ModelConfig:
    """Read a config.json; whatever is not there, or is no number, is None.

    >>> parse({"num_attention_heads": 64, "num_key_value_heads": 8, "hidden_size": 5120, "head_dim": 128}).kv_heads
    8
    """
    text = _text_section(config)
    heads, hidden = _whole(text, "num_attention_heads"), _whole(text, "hidden_size")
    names = config.get("architectures")
    layers = _whole(text, "num_hidden_layers")
    full, window = _attention_layers(text, layers)
    head_dim = _whole(text, "head_dim") or (hidden // heads if hidden and heads else None)
    return ModelConfig(
        architectures=tuple(str(name) for name in names) if isinstance(names, list) else (),
        model_type=str(config.get("model_type") or ""),
        layers=layers,
        full_attention_layers=full,
        window_layers=window,
        heads=heads,
        kv_heads=_whole(text, "num_key_value_heads") or heads,
        head_dim=head_dim,
        hidden_size=hidden,
        intermediate_size=_whole(text, "intermediate_size"),
        moe_intermediate_size=_whole(text, "moe_intermediate_size"),
        experts=next((count for key in _EXPERT_KEYS if (count := _whole(text, key))), None),
        latent_dim=_latent_dim(text),
        context_length=_context_length(text),
        dtype_bytes=_DTYPE_BYTES.get(str(_dtype(config, text)).removeprefix("torch."), 2),
        quantization=_quantization(config, text),
        is_multimodal=any(key in config for key in ("vision_config", "audio_config", "visual")),
    )


def has_chat_template(paths: frozenset[str], tokenizer_config: Mapping[str, Any]) -> bool:
    """Tell whether the tokenizer brings a chat template: inside its configuration, in a file of its own, or as Mistral's tekken."""
    files = {"chat_template.jinja", "chat_template.json", "tekken.json"}
    return bool(tokenizer_config.get("chat_template")) or bool(files & paths)


def _text_section(config: Mapping[str, Any]) -> Mapping[str, Any]:
    for name in _TEXT_SECTIONS:
        section = config.get(name)
        if isinstance(section, dict):
            inner = _text_section(section)
            return inner if inner is not section else {**config, **section}
    return config


def _whole(section: Mapping[str, Any], key: str) -> int | None:
    value = section.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**40 else None


def _dtype(config: Mapping[str, Any], text: Mapping[str, Any]) -> object:
    return text.get("dtype") or text.get("torch_dtype") or config.get("dtype") or config.get("torch_dtype")


def _attention_layers(text: Mapping[str, Any], layers: int | None) -> tuple[int | None, int]:
    kinds = text.get("layer_types")
    if isinstance(kinds, list):
        return kinds.count("full_attention"), sum(kind in ("sliding_attention", "chunked_attention") for kind in kinds)
    interval = _whole(text, "full_attention_interval")
    if interval and layers:
        return layers // interval, 0
    pattern = (
        _whole(text, "sliding_window_pattern")
        or _whole(text, "_sliding_window_pattern")
        or _PATTERNS.get(str(text.get("model_type")))
    )
    if pattern and layers and _whole(text, "sliding_window"):
        return layers // pattern, layers - layers // pattern
    return None, 0


def _latent_dim(text: Mapping[str, Any]) -> int | None:
    rank, rope = _whole(text, "kv_lora_rank"), _whole(text, "qk_rope_head_dim")
    return rank + rope if rank and rope else None


def _context_length(text: Mapping[str, Any]) -> int | None:
    scaling = text.get("rope_scaling") or {}
    factor: Any = 1
    if isinstance(scaling, dict) and "original_max_position_embeddings" not in scaling:
        factor = 1 if scaling.get("rope_type") == "llama3" else scaling.get("factor", 1)
    length = next((found for key in _CONTEXT_KEYS if (found := _whole(text, key))), None)
    if length is None or not isinstance(factor, int | float) or isinstance(factor, bool):
        return length
    return int(length * factor) if 0 < factor < 10_000 else length


def _quantization(config: Mapping[str, Any], text: Mapping[str, Any]) -> Quantization | None:
    section = config.get("quantization_config") or text.get("quantization_config") or config.get("compression_config")
    if not isinstance(section, dict):
        return None
    method = str(section.get("quant_method") or section.get("quant_algo") or "unknown")
    match section.get("weight_block_size"):
        case [int(rows), int(columns)] if rows > 0 and columns > 0:
            return Quantization(method, (rows, columns))
    return Quantization(method)
