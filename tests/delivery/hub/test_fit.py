"""A model's own facts against its model file: what cannot work is refused before anything is paid for, and the arithmetic is right."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml

from config.loader import MODELS as FILES
from config.schema import ModelFile
from config.serving import Serving
from delivery.errors import InputError
from delivery.hub import model_config
from delivery.hub.fit import Fit, fit, refuse_misfit
from delivery.hub.memory import MemoryUse, memory_use
from tests.support.well_known import MODELS


def fitted(model: str, instance_type: str, tensor: int, flags: dict[str, Any] | None = None, **profile: Any) -> Fit:
    return fit(model_file(instance_type, tensor, flags, **profile), MODELS[model].selection())


def model_file(instance_type: str, tensor: int, flags: dict[str, Any] | None = None, **profile: Any) -> ModelFile:
    content = yaml.safe_load((FILES / "qwen3-32b.yaml").read_text())
    content["serving"] = {"instance_type": instance_type, "tensor_parallel_size": tensor, "sglang": flags or {}}
    content["evaluation"]["load_profiles"]["chat"] |= profile
    return ModelFile.model_validate(content)


def use(model: str, instance_type: str, tensor: int, **flags: Any) -> MemoryUse:
    known = MODELS[model]
    serving = Serving.model_validate({"instance_type": instance_type, "tensor_parallel_size": tensor, "sglang": flags})
    found = memory_use(serving, instance_type, model_config.parse(known.config), known.weight_bytes)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("model", "bytes_a_token"),
    [
        # "Insights into DeepSeek-V3" (arXiv 2505.09343), table 1: KV cache per token in BF16, 70.272 and 327.680 KB.
        ("deepseek-r1", 70_272),
        ("qwen2-5-vl-72b", 327_680),
        # The same table's formula for what it does not list: 2 x layers x KV heads x head_dim x 2 bytes.
        ("llama-3-3-70b", 327_680),
        ("qwen3-32b", 262_144),
        ("smollm2-1-7b", 196_608),
    ],
)
def test_a_token_takes_what_is_published(model: str, bytes_a_token: int) -> None:
    assert use(model, "ml.p5en.48xlarge", 1).bytes_a_token == bytes_a_token


def test_the_cache_is_as_large_as_sglang_said() -> None:
    """vllm-project/vllm issue 21348: SGLang, Qwen3-235B-A22B-FP8, --tp 4, H100s, --mem-fraction-static 0.93: "#tokens: 367404, K size: 8.23 GB"."""
    found = use("qwen3-235b-fp8", "ml.p5.48xlarge", 4, **{"mem-fraction-static": 0.93})
    assert found.bytes_a_token * 367_404 / 2 / 2**30 == pytest.approx(8.23, abs=0.01)
    assert found.tokens == pytest.approx(367_404, rel=0.05)


def test_deepseek_r1_needs_h200s_as_its_page_says() -> None:
    """SGLang, "DeepSeek V3/V3.1/R1 Usage": FP8 on 8 x H200; 8 x H100 are too small."""
    assert use("deepseek-r1", "ml.p5.48xlarge", 8).cache_bytes < 0
    assert use("deepseek-r1", "ml.p5en.48xlarge", 8).tokens > 200_000


def test_latent_attention_is_not_divided_and_heads_are_until_one_is_left() -> None:
    assert use("deepseek-r1", "ml.p5en.48xlarge", 8).bytes_a_token == 70_272
    assert use("qwen3-32b", "ml.p5.48xlarge", 8).bytes_a_token == 262_144 // 8
    assert use("qwen3-235b", "ml.p5en.48xlarge", 8).bytes_a_token == use("qwen3-235b", "ml.p5en.48xlarge", 4).bytes_a_token
    assert use("qwen3-32b", "ml.p5.48xlarge", 8, **{"kv-cache-dtype": "fp8_e5m2"}).bytes_a_token == 262_144 // 16
    both = {"dp-size": 8, "enable-dp-attention": True}
    assert use("qwen3-32b", "ml.p5.48xlarge", 8, **both).bytes_a_token == 262_144
    assert use("qwen3-32b", "ml.p5.48xlarge", 4, **{"pp-size": 2}).bytes_a_token == 262_144 // 8


def test_the_arithmetic_is_one_sentence() -> None:
    assert str(use("qwen3-32b", "ml.p5.48xlarge", 2, **{"mem-fraction-static": 0.75, "context-length": 32768})) == (
        "of 85.9 GB a GPU: weights 32.8 GB, KV cache 29.5 GB = 225,352 tokens, 6.9 requests of full length (32,768 tokens); "
        "22.3 GB for the rest (mem-fraction-static 0.75)"
    )


@pytest.mark.parametrize(
    ("model", "instance_type", "tensor", "flags", "says"),
    [
        ("qwen3-32b", "ml.g6e.48xlarge", 8, {}, ""),
        ("qwen3-32b", "ml.p5.48xlarge", 3, {}, "64 attention heads, and 3 GPUs cannot share them evenly; choose one of 1, 2, 4, 8"),
        ("qwen3-235b", "ml.p5en.48xlarge", 8, {}, ""),
        ("qwen3-235b-fp8", "ml.p5.48xlarge", 8, {}, "FP8 in blocks of 128, and moe_intermediate_size 1,536 over 8 GPUs is 192"),
        ("qwen3-235b-fp8", "ml.p5.48xlarge", 8, {"ep-size": 8}, ""),
        ("qwen3-235b-fp8", "ml.p5.48xlarge", 4, {}, ""),
        ("qwen3-32b", "ml.p5.48xlarge", 8, {"ep-size": 8}, "the model has no experts"),
        ("qwen3-32b-fp8", "ml.p5.48xlarge", 8, {}, ""),
        ("deepseek-r1", "ml.p5en.48xlarge", 8, {}, ""),
        ("deepseek-r1", "ml.p5.48xlarge", 8, {}, "the weights alone take more than that share"),
        ("llama-3-3-70b", "ml.p5.4xlarge", 1, {}, "does not fit ml.p5.4xlarge"),
        ("llama-3-3-70b", "ml.p5.48xlarge", 1, {"quantization": "fp8"}, "does not fit"),
        ("llama-3-3-70b", "ml.p5.48xlarge", 2, {"quantization": "fp8"}, ""),
        ("qwen3-32b-awq", "ml.g6e.xlarge", 1, {}, ""),
        ("qwen3-32b-awq", "ml.g6.xlarge", 1, {}, "does not fit"),
        ("smollm2-1-7b", "ml.g4dn.xlarge", 1, {}, ""),
        ("gpt-oss-120b", "ml.p5.48xlarge", 1, {}, ""),
        ("gemma-3-27b", "ml.p5.48xlarge", 2, {}, ""),
        ("mistral-small", "ml.g6e.12xlarge", 4, {}, ""),
        ("qwen2-5-vl-72b", "ml.p5.48xlarge", 4, {}, ""),
        ("qwen3-32b", "ml.p5.48xlarge", 8, {"context-length": 65536}, "65,536 is more than the 40,960 tokens that the model was made for"),
        (
            "qwen3-32b", "ml.p5.48xlarge", 8,
            {"context-length": 65536, "json-model-override-args":
             '{"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}, "max_position_embeddings": 131072}'},
            "",
        ),
        ("qwen3-32b", "ml.p5.48xlarge", 8, {"context-length": "64Ki"}, "65,536 is more than"),
        ("llama-3-3-70b", "ml.p5.48xlarge", 8, {"context-length": 131072}, ""),
    ],
)  # fmt: skip
def test_what_cannot_work_is_said(model: str, instance_type: str, tensor: int, flags: dict[str, Any], says: str) -> None:
    wrong = [str(finding) for finding in fitted(model, instance_type, tensor, flags).findings if finding.is_error]
    assert len(wrong) == bool(says), wrong
    assert all(says in message for message in wrong)


@pytest.mark.parametrize(
    ("model", "instance_type", "tensor", "flags", "profile", "says"),
    [
        (
            "qwen3-32b",
            "ml.p5en.48xlarge",
            8,
            {"reasoning-parser": "deepseek-v3"},
            {},
            "'deepseek-v3' reads the answers of other models; qwen3 has qwen3",
        ),
        ("deepseek-r1", "ml.p5en.48xlarge", 8, {"tool-call-parser": "llama3"}, {}, "deepseek_v3 has deepseekv3"),
        ("qwen3-32b", "ml.p5.4xlarge", 1, {"mem-fraction-static": 0.85}, {}, "no request of full length fits ml.p5.4xlarge"),
        ("llama-3-3-70b", "ml.p5en.48xlarge", 4, {}, {"concurrency": 2000}, "requests will wait for one another"),
    ],
)
def test_what_is_tight_is_a_warning(
    model: str, instance_type: str, tensor: int, flags: dict[str, Any], profile: dict[str, Any], says: str
) -> None:
    findings = fitted(model, instance_type, tensor, flags, **profile).findings
    assert any(says in str(finding) for finding in findings if not finding.is_error), findings


def test_a_base_model_without_a_chat_template_is_refused() -> None:
    base = MODELS["qwen3-32b"]
    selection = replace(base, tokenizer_config={"model_max_length": 1}).selection()
    with pytest.raises(InputError, match="no chat template") as refused:
        refuse_misfit(model_file("ml.p5.48xlarge", 8), selection)
    assert refused.value.key == "weights.repository"
    refuse_misfit(model_file("ml.p5.48xlarge", 8, {"chat-template": "chatml"}), selection)


@pytest.mark.parametrize(
    "config", [{}, {"num_attention_heads": "many"}, {"text_config": []}, {"num_hidden_layers": True, "hidden_size": -1}, {"rope_scaling": 7},
               {"quantization_config": {"weight_block_size": ["a"]}}, {"text_config": {"text_config": {}}}, {"layer_types": 3}]
)  # fmt: skip
def test_a_strange_config_is_no_traceback(config: dict[str, Any]) -> None:
    base = MODELS["qwen3-32b"]
    selection = replace(base, config={"architectures": ["X"], **config}, weight_bytes=10**9).selection()
    assert not [finding for finding in fit(model_file("ml.p5.48xlarge", 8), selection).findings if finding.is_error]
