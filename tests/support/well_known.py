"""Facts of well-known models, as their config.json and their index have them: what decides whether and how they are served."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from delivery.hub.selection import HubFile, Selection


@dataclass(frozen=True)
class WellKnownModel:
    """A model on the Hub."""

    repository: str
    config: dict[str, Any]
    weight_bytes: int
    revision: str = "0123456789abcdef0123456789abcdef01234567"
    tokenizer_config: dict[str, Any] = field(default_factory=lambda: {"chat_template": "{{ messages }}"})

    def selection(self) -> Selection:
        """What would be fetched of it."""
        sizes = {
            "config.json": 1000,
            "tokenizer.json": 9_000_000,
            "tokenizer_config.json": 9000,
            "model.safetensors": self.weight_bytes,
        }
        files = tuple(HubFile(path, size, "0" * 40, "1" * 64) for path, size in sizes.items())
        documents = {"config.json": self.config, "tokenizer_config.json": self.tokenizer_config}
        names = tuple(self.config["architectures"])
        return Selection(self.repository, self.revision, files, names, [], documents, self.weight_bytes)


def dense(architecture: str, model_type: str, **more: Any) -> dict[str, Any]:
    """A config.json of a model with grouped-query attention, in bfloat16."""
    return {
        "architectures": [architecture],
        "model_type": model_type,
        "torch_dtype": "bfloat16",
        "num_key_value_heads": 8,
        **more,
    }


_QWEN3_32B = dense(
    "Qwen3ForCausalLM", "qwen3", hidden_size=5120, num_hidden_layers=64, num_attention_heads=64, head_dim=128, intermediate_size=25600,
    max_position_embeddings=40960, vocab_size=151936,
)  # fmt: skip
_QWEN3_235B = dense(
    "Qwen3MoeForCausalLM", "qwen3_moe", hidden_size=4096, num_hidden_layers=94, num_attention_heads=64, num_key_value_heads=4, head_dim=128,
    intermediate_size=12288, moe_intermediate_size=1536, num_experts=128, max_position_embeddings=40960, vocab_size=151936,
)  # fmt: skip
_FP8 = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}

MODELS = {
    "llama-3-3-70b": WellKnownModel(
        "meta-llama/Llama-3.3-70B-Instruct",
        dense("LlamaForCausalLM", "llama", hidden_size=8192, num_hidden_layers=80, num_attention_heads=64, intermediate_size=28672,
              max_position_embeddings=131072, vocab_size=128256,
              rope_scaling={"factor": 8.0, "rope_type": "llama3", "original_max_position_embeddings": 8192}),
        141_107_412_992,
    ),
    "qwen3-32b": WellKnownModel("Qwen/Qwen3-32B", _QWEN3_32B, 65_524_246_528),
    "qwen3-235b": WellKnownModel("Qwen/Qwen3-235B-A22B", _QWEN3_235B, 470_187_269_120),
    "deepseek-r1": WellKnownModel(
        "deepseek-ai/DeepSeek-R1",
        dense("DeepseekV3ForCausalLM", "deepseek_v3", hidden_size=7168, num_hidden_layers=61, num_attention_heads=128, num_key_value_heads=128,
              intermediate_size=18432, moe_intermediate_size=2048, n_routed_experts=256, kv_lora_rank=512, q_lora_rank=1536, qk_rope_head_dim=64,
              qk_nope_head_dim=128, v_head_dim=128, max_position_embeddings=163840, vocab_size=129280, num_nextn_predict_layers=1,
              rope_scaling={"factor": 40, "type": "yarn", "original_max_position_embeddings": 4096}, quantization_config=_FP8),
        688_586_727_753,
    ),
    "gpt-oss-120b": WellKnownModel(
        "openai/gpt-oss-120b",
        dense("GptOssForCausalLM", "gpt_oss", hidden_size=2880, num_hidden_layers=36, num_attention_heads=64, head_dim=64, intermediate_size=2880,
              num_local_experts=128, max_position_embeddings=131072, sliding_window=128, vocab_size=201088,
              layer_types=["sliding_attention", "full_attention"] * 18, quantization_config={"quant_method": "mxfp4"},
              rope_scaling={"factor": 32.0, "rope_type": "yarn", "original_max_position_embeddings": 4096}),
        65_248_815_744,
    ),
    "gemma-3-27b": WellKnownModel(
        "google/gemma-3-27b-it",
        {"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3", "torch_dtype": "bfloat16",
         "vision_config": {"hidden_size": 1152},
         "text_config": {"model_type": "gemma3_text", "hidden_size": 5376, "num_hidden_layers": 62, "num_attention_heads": 32,
                         "num_key_value_heads": 16, "head_dim": 128, "intermediate_size": 21504, "sliding_window": 1024,
                         "sliding_window_pattern": 6, "rope_scaling": {"factor": 8.0, "rope_type": "linear"}}},
        54_864_804_320,
    ),
    "mistral-small": WellKnownModel(
        "mistralai/Mistral-Small-3.1-24B-Instruct-2503",
        {"architectures": ["Mistral3ForConditionalGeneration"], "model_type": "mistral3", "torch_dtype": "bfloat16",
         "vision_config": {"hidden_size": 1024},
         "text_config": {"model_type": "mistral", "hidden_size": 5120, "num_hidden_layers": 40, "num_attention_heads": 32, "num_key_value_heads": 8,
                         "head_dim": 128, "intermediate_size": 32768, "max_position_embeddings": 131072, "vocab_size": 131072}},
        48_022_792_192,
    ),
    "qwen2-5-vl-72b": WellKnownModel(
        "Qwen/Qwen2.5-VL-72B-Instruct",
        dense("Qwen2_5_VLForConditionalGeneration", "qwen2_5_vl", hidden_size=8192, num_hidden_layers=80, num_attention_heads=64,
              intermediate_size=29568, max_position_embeddings=128000, vocab_size=152064, vision_config={"hidden_size": 1280}),
        146_821_537_792,
    ),
    "qwen3-32b-awq": WellKnownModel(
        "Qwen/Qwen3-32B-AWQ",
        {**_QWEN3_32B, "torch_dtype": "float16", "quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm"}},
        19_324_952_064,
    ),
    "qwen3-32b-fp8": WellKnownModel("Qwen/Qwen3-32B-FP8", {**_QWEN3_32B, "quantization_config": _FP8}, 34_335_875_072),
    "smollm2-1-7b": WellKnownModel(
        "HuggingFaceTB/SmolLM2-1.7B-Instruct",
        dense("LlamaForCausalLM", "llama", hidden_size=2048, num_hidden_layers=24, num_attention_heads=32, num_key_value_heads=32,
              intermediate_size=8192, max_position_embeddings=8192, vocab_size=49152),
        3_422_777_672,
    ),
    "qwen3-235b-fp8": WellKnownModel("Qwen/Qwen3-235B-A22B-FP8", {**_QWEN3_235B, "quantization_config": _FP8}, 236_450_000_000),
}  # fmt: skip
"""The model's name as a file → its facts. Sizes of weights are those of the indexes' total_size."""
