"""Facts of well-known models, as their config.json and their files have them: what decides whether and how they are served.

No Hub was in reach when this was written. Each fact names where it was seen: the repository and path of a public copy, a page of the
Hub, or the arithmetic that yields it (`tests/delivery/hub/test_well_known.py` does it from the shapes). "Not seen" is said where that is so.
"""

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
    config_seen_in: str
    """Where config.json's facts were seen."""
    bytes_seen_in: str
    """Where the size of the weights was seen."""
    revision: str = "0123456789abcdef0123456789abcdef01234567"
    """Of the test: no model's own."""
    tokenizer_config: dict[str, Any] = field(default_factory=lambda: {"chat_template": "{{ messages }}"})
    generation_config: dict[str, Any] = field(default_factory=dict)

    def selection(self) -> Selection:
        """What would be fetched of it. The sizes of the small files are the test's."""
        sizes = {
            "config.json": 1000,
            "generation_config.json": 200,
            "tokenizer.json": 9_000_000,
            "tokenizer_config.json": 9000,
            "model.safetensors": self.weight_bytes,
        }
        files = tuple(HubFile(path, size, "0" * 40, "1" * 64) for path, size in sizes.items())
        documents = {
            "config.json": self.config,
            "generation_config.json": self.generation_config,
            "tokenizer_config.json": self.tokenizer_config,
        }
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


_AICONFIGURATOR = "ai-dynamo/aiconfigurator, aic-core/src/aiconfigurator_core/model_configs/"
_HUB_INDEX = (
    "metadata.total_size of the Hub's index, as other projects' tests quote it (the search that found them names no "
    "repository); so is the arithmetic"
)
_ARITHMETIC = "arithmetic on the shapes alone (test_well_known.py): not seen"

_QWEN3_32B = dense(
    "Qwen3ForCausalLM", "qwen3", hidden_size=5120, num_hidden_layers=64, num_attention_heads=64, head_dim=128, intermediate_size=25600,
    max_position_embeddings=40960, vocab_size=151936, tie_word_embeddings=False,
)  # fmt: skip
_QWEN3_235B = dense(
    "Qwen3MoeForCausalLM", "qwen3_moe", hidden_size=4096, num_hidden_layers=94, num_attention_heads=64, num_key_value_heads=4, head_dim=128,
    intermediate_size=12288, moe_intermediate_size=1536, num_experts=128, max_position_embeddings=40960, vocab_size=151936,
    tie_word_embeddings=False,
)  # fmt: skip
_FP8 = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}

MODELS = {
    "llama-3-3-70b": WellKnownModel(
        "meta-llama/Llama-3.3-70B-Instruct",
        dense("LlamaForCausalLM", "llama", hidden_size=8192, num_hidden_layers=80, num_attention_heads=64, intermediate_size=28672,
              max_position_embeddings=131072, vocab_size=128256, tie_word_embeddings=False,
              rope_scaling={"factor": 8.0, "rope_type": "llama3", "original_max_position_embeddings": 8192}),
        141_107_412_992,
        config_seen_in=_AICONFIGURATOR + "meta-llama--Meta-Llama-3.1-70B_config.json, of 3.1, whose shapes oumi's configs/recipes/llama3_3/README.md "
        "gives for 3.3; 3.3's own file not seen",
        bytes_seen_in="metadata.total_size of Llama-3.1-70B's index, as other projects' tests quote it; so is the arithmetic",
    ),
    "qwen3-32b": WellKnownModel(
        "Qwen/Qwen3-32B", _QWEN3_32B, 65_524_246_528,
        config_seen_in=_AICONFIGURATOR + "Qwen--Qwen3-32B_config.json",
        bytes_seen_in=_HUB_INDEX + "; keras-team/keras-hub, keras_hub/src/models/qwen3/qwen3_presets.py: 32,762,123,264 parameters",
    ),
    "qwen3-235b": WellKnownModel(
        "Qwen/Qwen3-235B-A22B", _QWEN3_235B, 470_187_269_120,
        config_seen_in=_AICONFIGURATOR + "Qwen--Qwen3-235B-A22B_config.json",
        bytes_seen_in=_HUB_INDEX + "; keras-team/keras-hub, keras_hub/src/models/qwen3_moe/qwen3_moe_presets.py: 235,093,634,560 parameters",
    ),
    "deepseek-r1": WellKnownModel(
        "deepseek-ai/DeepSeek-R1",
        dense("DeepseekV3ForCausalLM", "deepseek_v3", hidden_size=7168, num_hidden_layers=61, num_attention_heads=128, num_key_value_heads=128,
              intermediate_size=18432, moe_intermediate_size=2048, n_routed_experts=256, kv_lora_rank=512, q_lora_rank=1536, qk_rope_head_dim=64,
              qk_nope_head_dim=128, v_head_dim=128, max_position_embeddings=163840, vocab_size=129280, num_nextn_predict_layers=1,
              rope_scaling={"factor": 40, "type": "yarn", "original_max_position_embeddings": 4096}, quantization_config=_FP8),
        688_586_727_753,
        config_seen_in=_AICONFIGURATOR + "deepseek-ai--DeepSeek-R1_config.json",
        bytes_seen_in="the size of DeepSeek-V3's weight files, which have the same shapes, in other projects' notes; R1's own not seen",
    ),
    "gpt-oss-120b": WellKnownModel(
        "openai/gpt-oss-120b",
        {"architectures": ["GptOssForCausalLM"], "model_type": "gpt_oss", "hidden_size": 2880, "num_hidden_layers": 36, "num_attention_heads": 64,
         "num_key_value_heads": 8, "head_dim": 64, "intermediate_size": 2880, "num_local_experts": 128, "max_position_embeddings": 131072,
         "sliding_window": 128, "vocab_size": 201088, "layer_types": ["sliding_attention", "full_attention"] * 18,
         "quantization_config": {"quant_method": "mxfp4"},
         "rope_scaling": {"factor": 32.0, "rope_type": "yarn", "original_max_position_embeddings": 4096}},
        65_248_815_744,
        config_seen_in=_AICONFIGURATOR + "openai--gpt-oss-120b_config.json (no torch_dtype there)",
        bytes_seen_in="the bytes of its tensors in another project's test (of its fifteen files: 65,248,893,184)",
    ),
    "gemma-3-27b": WellKnownModel(
        "google/gemma-3-27b-it",
        {"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3", "torch_dtype": "bfloat16",
         "vision_config": {"hidden_size": 1152},
         "text_config": {"model_type": "gemma3_text", "hidden_size": 5376, "num_hidden_layers": 62, "num_attention_heads": 32,
                         "num_key_value_heads": 16, "head_dim": 128, "intermediate_size": 21504, "sliding_window": 1024,
                         "rope_scaling": {"factor": 8.0, "rope_type": "linear"}}},
        54_864_813_280,
        config_seen_in="NVIDIA/TensorRT-LLM, tests/unittest/_torch/modeling/test_modeling_gemma3.py, which shortens layers and window alone; "
        "those: another project's copy. Neither sliding_window_pattern nor max_position_embeddings is there",
        bytes_seen_in="keras-team/keras-hub, keras_hub/src/models/gemma3/gemma3_presets.py (medgemma_instruct_27b, of the same shapes): "
        "27,432,406,640 parameters of 2 bytes",
    ),
    "mistral-small": WellKnownModel(
        "mistralai/Mistral-Small-3.1-24B-Instruct-2503",
        {"architectures": ["Mistral3ForConditionalGeneration"], "model_type": "mistral3", "torch_dtype": "bfloat16",
         "vision_config": {"hidden_size": 1024},
         "text_config": {"model_type": "mistral", "hidden_size": 5120, "num_hidden_layers": 40, "num_attention_heads": 32, "num_key_value_heads": 8,
                         "head_dim": 128, "intermediate_size": 32768, "max_position_embeddings": 131072, "sliding_window": None,
                         "vocab_size": 131072}},
        48_022_722_560,
        config_seen_in="huggingface.co/mistralai/Mistral-Small-3.1-24B-Instruct-2503/blob/main/config.json",
        bytes_seen_in="keras-team/keras-hub, keras_hub/src/models/mistral3/mistral3_presets.py: 24,011,361,280 parameters of 2 bytes",
    ),
    "qwen2-5-vl-72b": WellKnownModel(
        "Qwen/Qwen2.5-VL-72B-Instruct",
        dense("Qwen2_5_VLForConditionalGeneration", "qwen2_5_vl", hidden_size=8192, num_hidden_layers=80, num_attention_heads=64,
              intermediate_size=29568, max_position_embeddings=128000, vocab_size=152064, tie_word_embeddings=False,
              vision_config={"hidden_size": 1280}),
        146_821_554_688,
        config_seen_in="huggingface.co/Qwen/Qwen2.5-VL-72B-Instruct-AWQ/blob/666b8f5/config.json, whose intermediate_size is padded to 29,696; "
        "29,568 is Qwen2.5-72B's, not seen of this model",
        bytes_seen_in="arithmetic alone: Qwen2.5-72B's 72,706,203,648 parameters (seen in another project's table) and 704,573,696 of the vision "
        "encoder by its shapes, 2 bytes each; the sum not seen",
    ),
    "qwen3-32b-awq": WellKnownModel(
        "Qwen/Qwen3-32B-AWQ",
        {**_QWEN3_32B, "quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm"}},
        19_325_298_688,
        config_seen_in="not seen: Qwen3-32B's with the section that Qwen's other AWQ models have (huggingface.co/Qwen/Qwen2.5-VL-7B-Instruct-AWQ)",
        bytes_seen_in="the bytes of its tensors in another project's check of their headers (707 in BF16, 896 in I32); its index says 19,338,405,888",
    ),
    "qwen3-32b-fp8": WellKnownModel(
        "Qwen/Qwen3-32B-FP8", {**_QWEN3_32B, "quantization_config": _FP8}, 34_322_434_048,
        config_seen_in=_AICONFIGURATOR + "Qwen--Qwen3-32B-FP8_config.json",
        bytes_seen_in="the Hub's count of parameters (BF16 1,558,406,144, F8_E4M3 31,205,621,760) in another project's test; so is the arithmetic",
    ),
    "smollm2-1-7b": WellKnownModel(
        "HuggingFaceTB/SmolLM2-1.7B-Instruct",
        dense("LlamaForCausalLM", "llama", hidden_size=2048, num_hidden_layers=24, num_attention_heads=32, num_key_value_heads=32,
              intermediate_size=8192, max_position_embeddings=8192, vocab_size=49152, tie_word_embeddings=True),
        3_422_777_952,
        config_seen_in="config.json not seen; its 1,711,376,384 parameters and its context of 8,192 were, in other projects' results, and the "
        "shapes yield them",
        bytes_seen_in="the size of model.safetensors at 31b70e2 in other projects' manifests",
    ),
    "qwen3-235b-fp8": WellKnownModel(
        "Qwen/Qwen3-235B-A22B-FP8", {**_QWEN3_235B, "quantization_config": _FP8}, 236_416_915_456,
        config_seen_in=_AICONFIGURATOR + "Qwen--Qwen3-235B-A22B-FP8_config.json",
        bytes_seen_in=_ARITHMETIC,
    ),
}  # fmt: skip
"""The model's name as a file → its facts."""
