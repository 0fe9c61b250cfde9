"""The facts of well-known models agree with one another: the shapes in config.json yield the size of the weights to the byte.

The formulas are those of the architectures in transformers: `LlamaForCausalLM`, `Qwen3ForCausalLM`, `Qwen3MoeForCausalLM`,
`Qwen2_5_VLForConditionalGeneration`, `Gemma3ForCausalLM`.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.well_known import MODELS


def attention(config: dict[str, Any]) -> int:
    """Return the parameters of one layer's projections."""
    head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    queries, keys = config["num_attention_heads"] * head_dim, config["num_key_value_heads"] * head_dim
    return int(config["hidden_size"] * (2 * queries + 2 * keys))


def linear(config: dict[str, Any]) -> int:
    """Return the parameters of all layers' projections and experts: those that FP8 and AWQ quantise."""
    experts = (
        3
        * config["hidden_size"]
        * config.get("moe_intermediate_size", config["intermediate_size"])
        * config.get("num_experts", 1)
    )
    return int(config["num_hidden_layers"] * (attention(config) + experts))


def others(config: dict[str, Any]) -> int:
    """Return the parameters of embeddings, norms, biases and the gates of experts."""
    hidden, layers = config["hidden_size"], config["num_hidden_layers"]
    head_dim = config.get("head_dim") or hidden // config["num_attention_heads"]
    norms = 2 * hidden + (2 * head_dim if config["model_type"].startswith("qwen3") else 0)
    biases = (
        (config["num_attention_heads"] + 2 * config["num_key_value_heads"]) * head_dim
        if config["model_type"] == "qwen2_5_vl"
        else 0
    )
    embeddings = config["vocab_size"] * hidden * (1 if config["tie_word_embeddings"] else 2)
    return int(embeddings + hidden + layers * (norms + biases + config.get("num_experts", 0) * hidden))


VISION_OF_QWEN2_5_VL_72B = 704_573_696
"""32 blocks of width 1,280 and 3,456, a patch embedding of 3 x 2 x 14 x 14, a merger of 5,120 to 8,192."""


@pytest.mark.parametrize(("name", "vision"), [
    ("llama-3-3-70b", 0), ("qwen3-32b", 0), ("qwen3-235b", 0), ("qwen2-5-vl-72b", VISION_OF_QWEN2_5_VL_72B),
])  # fmt: skip
def test_the_shapes_yield_the_size_of_16_bit_weights(name: str, vision: int) -> None:
    model = MODELS[name]
    assert 2 * (linear(model.config) + others(model.config) + vision) == model.weight_bytes


@pytest.mark.parametrize("name", ["qwen3-32b-fp8", "qwen3-235b-fp8"])
def test_the_shapes_yield_the_size_of_fp8_weights(name: str) -> None:
    """One byte each, a scale of 16 bits for each block of 128 by 128, and the rest in 16 bits."""
    model = MODELS[name]
    quantised = linear(model.config)
    assert quantised + 2 * quantised // 128**2 + 2 * others(model.config) == model.weight_bytes


def test_the_shapes_yield_the_size_of_awq_weights() -> None:
    """Four bits each, and for each group of 128 a scale of 16 bits and a zero point of four."""
    model = MODELS["qwen3-32b-awq"]
    quantised = linear(model.config)
    assert quantised // 2 + quantised // 128 * 5 // 2 + 2 * others(model.config) == model.weight_bytes


def test_the_shapes_yield_the_published_number_of_parameters() -> None:
    smollm = MODELS["smollm2-1-7b"]
    assert linear(smollm.config) + others(smollm.config) == 1_711_376_384
    assert 0 < smollm.weight_bytes - 2 * 1_711_376_384 < 100_000  # the header of a safetensors file


def test_gemmas_text_has_the_published_number_of_parameters() -> None:
    """keras-team/keras-hub, gemma3_presets.py, gemma3_instruct_27b_text: 27,009,002,240, with four norms a layer and a vocabulary of 262,144."""
    text = {**MODELS["gemma-3-27b"].config["text_config"], "vocab_size": 262_144, "tie_word_embeddings": True}
    norms = text["num_hidden_layers"] * (2 * text["hidden_size"] + 2 * text["head_dim"])
    assert linear(text) + others(text) + norms == 27_009_002_240


def test_each_fact_says_where_it_was_seen() -> None:
    assert all(len(model.config_seen_in) > 20 and len(model.bytes_seen_in) > 20 for model in MODELS.values())
    assert json.dumps([model.config for model in MODELS.values()])
