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
from tests.support.well_known import MODELS, WellKnownModel, dense


def fitted(model: str, instance_type: str, tensor: int, flags: dict[str, Any] | None = None, **profile: Any) -> Fit:
    return fit(model_file(instance_type, tensor, flags, **profile), MODELS[model].selection())


def model_file(instance_type: str, tensor: int, flags: dict[str, Any] | None = None, **profile: Any) -> ModelFile:
    content = yaml.safe_load((FILES / "qwen3-32b.yaml").read_text())
    content["serving"] = {"instance_type": instance_type, "tensor_parallel_size": tensor, "sglang": flags or {}}
    content["evaluation"]["load_profiles"]["chat"] |= profile
    return ModelFile.model_validate(content)


def use(model: str | WellKnownModel, instance_type: str, tensor: int, **flags: Any) -> MemoryUse:
    known = MODELS[model] if isinstance(model, str) else model
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


LLAMA_8B = WellKnownModel(
    "meta-llama/Llama-3.1-8B-Instruct",
    dense(
        "LlamaForCausalLM",
        "llama",
        hidden_size=4096,
        num_hidden_layers=32,
        num_attention_heads=32,
        max_position_embeddings=131072,
    ),
    16_060_522_496,
    config_seen_in="ai-dynamo/aiconfigurator, aic-core/src/aiconfigurator_core/model_configs/meta-llama--Meta-Llama-3.1-8B_config.json",
    bytes_seen_in="keras-team/keras-hub, keras_hub/src/models/llama3/llama3_presets.py: 8,030,261,248 parameters of 2 bytes",
)
QWQ_32B = WellKnownModel(
    "Qwen/QwQ-32B",
    dense(
        "Qwen2ForCausalLM",
        "qwen2",
        hidden_size=5120,
        num_hidden_layers=64,
        num_attention_heads=40,
        max_position_embeddings=131072,
    ),
    65_527_752_704,
    config_seen_in="huggingface.co/casperhansen/qwq-32b-preview-awq/blob/5b43e36/config.json; the context: the log below",
    bytes_seen_in="Qwen2.5-32B's 32,763,876,352 parameters: not seen; the log below says 15.54 GiB on each of four GPUs",
)


@pytest.mark.parametrize(
    ("model", "instance_type", "tensor", "share", "published_tokens", "published_gib"),
    [
        # docs.sglang.ai/start/send_request.html (2025-01), mem_fraction_static=0.88, 78.81 GB free on the GPU, an H100 by that: "K size: 27.13 GB".
        (LLAMA_8B, "ml.p5.4xlarge", 1, 0.88, 444_500, 2 * 27.13),
        # sgl-project/sglang pull request 4760 (2025-03), the default share of that day: "#tokens: 442750, K size: 27.02 GB".
        (LLAMA_8B, "ml.p5.4xlarge", 1, 0.88, 442_750, 2 * 27.02),
        # didier-durand/llms-in-clouds, docs/sglang.md (2025-03), four L4s, tp_size=4, mem_fraction_static=0.85: "#tokens: 46611, K size: 1.42 GB".
        (QWQ_32B, "ml.g6.12xlarge", 4, 0.85, 46_611, 2 * 1.42),
        # RyanRosario/llm-d, docker/scripts/snapshot/sglang/demo (2026, SGLang 0.5.19), one H100, 0.90: "9.54 GB for 39,078 tokens".
        (MODELS["qwen3-32b"], "ml.p5.4xlarge", 1, 0.90, 39_078, 9.54),
        # vllm-project/vllm issue 21348 (2025-07), four H100s, --tp 4, --mem-fraction-static 0.93: "#tokens: 367404, K size: 8.23 GB".
        (MODELS["qwen3-235b-fp8"], "ml.p5.48xlarge", 4, 0.93, 367_404, 2 * 8.23),
        # ai-dynamo/aisimulate pull request 263 (2026-09), H200s, TP 8, mem_fraction_static=0.82: "the observed ~509k".
        (MODELS["deepseek-r1"], "ml.p5en.48xlarge", 8, 0.82, 509_000, None),
        # sgl-project/sglang pull request 22537 (2026-04), "qwen-32b", Qwen3ForCausalLM, four B200s, SGLang's own share, 0.852 of 176.28 GB by the
        # log: "#tokens: 2206208, K size: 67.33 GB".
        (MODELS["qwen3-32b"], "ml.p6-b200.48xlarge", 4, None, 2_206_208, 2 * 67.33),
    ],
)  # fmt: skip
def test_the_cache_is_as_large_as_sglang_said(
    model: WellKnownModel,
    instance_type: str,
    tensor: int,
    share: float | None,
    published_tokens: int,
    published_gib: float | None,
) -> None:
    """Start-up logs that others published, of six models on four kinds of GPU: within 3 %."""
    flags = {} if share is None else {"mem-fraction-static": share}
    found = use(model, instance_type, tensor, **flags)
    if published_gib is not None:
        assert found.bytes_a_token * published_tokens / 2**30 == pytest.approx(published_gib, abs=0.02)
    assert found.tokens == pytest.approx(published_tokens, rel=0.03)


def test_the_share_that_sglang_chooses_is_the_published_one() -> None:
    """The same log of four B200s: 160.78 GB free after the weights of 15.50 GB, of which 2 x 67.33 GB became the cache."""
    left = 160.78 - 2 * 67.33
    assert use("qwen3-32b", "ml.p6-b200.48xlarge", 4).static_share == pytest.approx(1 - left / (160.78 + 15.50), abs=0.001)


def test_gemmas_window_is_known_though_its_config_is_silent() -> None:
    """transformers, configuration_gemma3.py: every sixth layer keeps all tokens, unless config.json says otherwise."""
    facts = model_config.parse(MODELS["gemma-3-27b"].config)
    assert (facts.full_attention_layers, facts.window_layers) == (10, 52)
    text = {**MODELS["gemma-3-27b"].config["text_config"], "_sliding_window_pattern": 2}
    assert model_config.parse({"text_config": text}).full_attention_layers == 31


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
        "of 85.5 GB a GPU: weights 32.8 GB, KV cache 28.8 GB = 220,039 tokens, 6.7 requests of full length (32,768 tokens); "
        "23.7 GB for the rest (mem-fraction-static 0.75)"
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
        (
            "llama-3-3-70b",
            "ml.p5en.48xlarge",
            4,
            {},
            {"concurrency": 200, "output_tokens": {"histogram": {256: 99, 12_000: 1}}},
            "the load holds up to 2,604,800 tokens at a time",  # 200 x (1,024 + 12,000): as if all were the longest at once
        ),
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
