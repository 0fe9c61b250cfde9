"""What a model takes of each GPU's memory, as arithmetic that is printed.

SGLang (0.5.20, arg_groups/memory_hook.py and model_executor/pool_configurator.py): weights and KV cache together have mem-fraction-static of
what is free before the weights are loaded; the rest is for activations and CUDA graphs. A token takes, a layer, two heads' vectors for each
KV head of the GPU (at least one), or the latent vector of multi-head latent attention, which every GPU keeps whole. Layers of a sliding window
have a pool of swa-full-tokens-ratio of the tokens. DeepSeek's layer for drafts, which is loaded for speculative decoding alone, and what each
of its GPUs keeps whole are left out: they nearly cancel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from config.instances import gpu
from config.rules.serving_rules import flags_by_name
from config.serving import Serving
from delivery.hub.model_config import ModelConfig

MIB = 1024**2
_CONTEXT_BYTES = 950_000_000
"""What CUDA's context takes of a GPU before the weights are loaded. SGLang's logs ("Load weight begin. avail mem") have 0.9 to 1.2 GB on an
H100, 0.8 on an L4."""
_LINK_BYTES = 2_100_000_000
"""What NCCL and the all-reduce buffers take besides, where a model is split over GPUs with NVLink: sgl-project/sglang pull request 11716, eight
H200s: "Init torch distributed ends. mem usage=2.01 GB". Over PCIe it is 0.1 GB (docs/sglang.md of didier-durand/llms-in-clouds, four L4s)."""
_BESIDE_WEIGHTS_BYTES = 250_000_000
"""What a GPU holds of the weights besides its share: norms and tables that all keep, padding. The same logs have 0.05 to 0.3 GB."""
_CACHE_BYTES = {"fp8_e4m3": 1.0, "fp8_e5m2": 1.0, "mxfp8": 1.03, "fp4_e2m1": 0.5625, "nvfp4": 0.5625, "fp4_mx_block16": 0.5625}
_ONLINE_BYTES = {"fp8": 1.0, "w8a8_fp8": 1.0, "w8a8_int8": 1.0, "mxfp4": 0.53, "bitsandbytes": 0.55}
"""Bytes a parameter of weights that are stored in 16 bits and quantised when they are loaded (the flag `quantization`)."""
_WINDOW_SHARE = 0.8
"""SGLang's own swa-full-tokens-ratio."""


@dataclass(frozen=True)
class MemoryUse:
    """What each GPU holds."""

    gpu_bytes: int
    setup_bytes: int
    """What is taken before the weights are loaded, a GPU."""
    static_share: float
    """mem-fraction-static, given or as SGLang chooses it."""
    is_share_given: bool
    weights_bytes: int
    """Of the weights, a GPU."""
    bytes_a_token: int
    """Of the KV cache, a GPU."""
    context_length: int | None
    """The longest request."""
    replicas: int
    """Schedulers with a cache of their own on different GPUs."""

    @property
    def cache_bytes(self) -> int:
        """The room for the KV cache, a GPU; below zero: not even the weights fit."""
        return self.static_bytes - self.weights_bytes - _BESIDE_WEIGHTS_BYTES

    @property
    def static_bytes(self) -> int:
        """What weights and KV cache have together, a GPU."""
        return int((self.gpu_bytes - self.setup_bytes) * self.static_share)

    @property
    def tokens(self) -> int:
        """How many tokens the cache of one replica holds."""
        return max(0, self.cache_bytes // self.bytes_a_token)

    @property
    def full_requests(self) -> float | None:
        """How many requests of full length fit at a time, in all replicas."""
        return self.replicas * self.tokens / self.context_length if self.context_length else None

    @property
    def free_bytes(self) -> int:
        """What is left for activations and CUDA graphs, a GPU."""
        return self.gpu_bytes - self.static_bytes

    def __str__(self) -> str:
        whole = self.full_requests
        requests = f", {whole:,.1f} requests of full length ({self.context_length:,} tokens)" if whole is not None else ""
        given = "mem-fraction-static" if self.is_share_given else "SGLang's own mem-fraction-static"
        cache = f"KV cache {max(0, self.cache_bytes) / 1e9:,.1f} GB = {self.tokens:,} tokens{requests}"
        rest = f"{self.free_bytes / 1e9:,.1f} GB for the rest ({given} {self.static_share:g})"
        return f"of {self.gpu_bytes / 1e9:,.1f} GB a GPU: weights {self.weights_bytes / 1e9:,.1f} GB, {cache}; {rest}"


def memory_use(serving: Serving, instance_type: str, model: ModelConfig, weight_bytes: int) -> MemoryUse | None:
    """Work out what each GPU holds.

    Args:
        serving: The model file's section.
        instance_type: On which instances.
        model: What config.json says.
        weight_bytes: The size of the weight files that SGLang reads.

    Returns:
        The arithmetic; None where config.json does not say enough (no layers, or no heads).
    """
    flags = flags_by_name(serving)
    tensor, pipeline = serving.tensor_parallel_size, int(flags.get("pp-size", 1))
    data = int(flags.get("dp-size", 1))
    attention_ranks = max(1, tensor // data) if flags.get("enable-dp-attention") is True else tensor
    layer_bytes = _layer_bytes(model, attention_ranks, flags)
    layers = _cache_layers(model, flags)
    if layer_bytes is None or layers is None:
        return None
    chip = gpu(instance_type)
    gpu_bytes = chip.usable_mib * MIB
    share = flags.get("mem-fraction-static")
    is_given = isinstance(share, int | float)
    context = flags.get("context-length")
    return MemoryUse(
        gpu_bytes=gpu_bytes,
        setup_bytes=_CONTEXT_BYTES + (_LINK_BYTES if chip.has_nvlink and tensor * pipeline > 1 else 0),
        static_share=float(share) if isinstance(share, int | float) else default_share(gpu_bytes, tensor * pipeline, flags),
        is_share_given=is_given,
        weights_bytes=int(_loaded_bytes(model, weight_bytes, flags) / (tensor * pipeline)),
        bytes_a_token=max(1, int(layer_bytes * layers / pipeline)),
        context_length=int(context) if isinstance(context, int | float) else model.context_length,
        replicas=data,
    )


def default_share(gpu_bytes: int, ranks: int, flags: Mapping[str, Any]) -> float:
    """Return the mem-fraction-static that SGLang chooses by itself (`handle_gpu_memory_settings`), vision models apart."""
    memory = gpu_bytes / MIB
    small = ((20 * 1024, 2048, 8), (35 * 1024, 4096, 48), (60 * 1024, 4096, 32), (160 * 1024, 8192, 256))
    chunk, graph = next(((chunk, graph) for limit, chunk, graph in small if memory < limit), (16384, 512))
    graph = {48: 160, 32: 160, 256: 512}.get(graph, graph) if ranks >= 4 else graph
    chunk = int(flags.get("chunked-prefill-size") or chunk)
    graph = int(flags.get("cuda-graph-max-bs-decode") or graph)
    reserved = 512 + max(chunk, 2048) * 1.5 + ranks / 8 * 1024 + graph * 2 + 512
    if memory > 60 * 1024:
        reserved = max(reserved, 10 * 1024)
    return round((memory - reserved) / memory, 3)


def _layer_bytes(model: ModelConfig, attention_ranks: int, flags: Mapping[str, Any]) -> float | None:
    """Return what a token takes of the cache in one layer of one GPU. Bytes; None where config.json does not say."""
    element = _CACHE_BYTES.get(str(flags.get("kv-cache-dtype")), float(model.dtype_bytes))
    if model.latent_dim:
        return model.latent_dim * element
    if not (model.kv_heads and model.head_dim):
        return None
    return 2 * max(1, model.kv_heads // attention_ranks) * model.head_dim * element


def _cache_layers(model: ModelConfig, flags: Mapping[str, Any]) -> float | None:
    if model.full_attention_layers is None:
        return float(model.layers) if model.layers else None
    share = flags.get("swa-full-tokens-ratio", _WINDOW_SHARE)
    return model.full_attention_layers + model.window_layers * float(share)


def _loaded_bytes(model: ModelConfig, stored: int, flags: Mapping[str, Any]) -> float:
    online = _ONLINE_BYTES.get(str(flags.get("quantization")))
    if online is not None and model.quantization is None:
        return stored * online / model.dtype_bytes
    if flags.get("dtype") in ("half", "float16", "bfloat16") and model.dtype_bytes == 4 and model.quantization is None:
        return stored / 2
    return float(stored)
