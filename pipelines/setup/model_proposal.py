"""A first model file for a repository: what the model's own files and a table say, written with comments that say why.

Nothing in it was measured. The instance is the smallest whose memory holds the model with room for a few requests of full length; objectives
are first bounds by the size of the weights a GPU reads for each token.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from config.instances import GPU_COUNTS, gpu, gpu_memory_bytes
from config.schema import ModelFile
from config.serving import Serving
from delivery.hub import model_config
from delivery.hub.fit import fit
from delivery.hub.memory import MemoryUse, memory_use
from delivery.hub.model_config import ModelConfig
from delivery.hub.selection import Selection
from pipelines.errors import UsageError

_LONGEST_CONTEXT = 32_768
"""What is proposed at most; more costs memory that most chats do not use."""
_LEAST_FULL_REQUESTS = 4
_LEAST_CAPABILITY = {"fp8": 8.9, "mxfp4": 9.0, "compressed-tensors": 8.9, "modelopt": 8.9}
"""Quantised weights → the CUDA compute capability whose kernels SGLang has for them at full speed."""
_ROUTES = {
    "qwen3": ("qwen3", "qwen25"), "qwen3_moe": ("qwen3", "qwen25"), "qwen2": (None, "qwen25"), "qwen2_5_vl": (None, "qwen25"),
    "deepseek_v3": (None, "deepseekv3"), "gpt_oss": ("gpt-oss", "gpt-oss"), "llama": (None, "llama3"), "llama4": (None, "pythonic"),
    "mistral": (None, "mistral"), "mistral3": (None, "mistral"), "glm4_moe": ("glm45", "glm45"), "kimi_k2": (None, "kimi_k2"),
}  # fmt: skip
"""model_type → reasoning and tool-call parser, as SGLang's documentation pairs them."""
_BOUNDS = ((12e9, 1000, 40), (45e9, 1500, 60), (float("inf"), 4000, 150))
"""Bytes of weights a GPU below which TTFT p99 and ITL p99 are bounded so, in milliseconds."""
_ROUND_S = 600


@dataclass(frozen=True)
class HubFacts:
    """What the Hub says of a repository today."""

    selection: Selection
    license: str = ""
    is_gated: bool = False
    exclude: list[str] = field(default_factory=list)
    """What weights.exclude has to name."""


@dataclass(frozen=True)
class _Choice:
    instance_type: str
    tensor: int
    flags: dict[str, Any]
    use: MemoryUse | None


def propose(name: str, facts: HubFacts, instance_type: str | None = None, slo: Mapping[str, float] | None = None) -> str:
    """Write a model file.

    Args:
        name: The model's name: the file's, and the endpoint's.
        facts: What the Hub says of the repository.
        instance_type: On which instances; None: the smallest that fits.
        slo: Metric → bound, instead of the table's.

    Returns:
        The file's text; it loads, and the model fits.

    Raises:
        UsageError: The model fits no instance, or not that one.
    """
    selection = facts.selection
    model = model_config.parse(selection.documents.get("config.json", {}))
    choice = _choose(model, selection, instance_type)
    return "\n".join(_lines(name, facts, model, choice, slo or {})) + "\n"


def _choose(model: ModelConfig, selection: Selection, wanted: str | None) -> _Choice:
    tried: list[str] = []
    for instance_type in [wanted] if wanted else sorted(GPU_COUNTS, key=_size):
        if wanted is None and not _suits(instance_type, model):
            continue
        for tensor in _splits(GPU_COUNTS[instance_type]):
            flags = _flags(model, selection)
            choice = _tried(instance_type, tensor, flags, model, selection)
            if isinstance(choice, _Choice):
                return choice
            tried.append(choice)
    where = wanted or "any instance type"
    raise UsageError(
        f"{selection.repository} fits not on {where}: {tried[-1] if tried else 'none has GPUs for its quantisation'}"
    )


def _size(instance_type: str) -> tuple[float, int, str]:
    """Order instances by what they cost, nearly: all GPUs' memory, then the host's size."""
    count = GPU_COUNTS[instance_type]
    digits = "".join(letter for letter in instance_type.rpartition(".")[2] if letter.isdigit())
    return count * gpu_memory_bytes(instance_type) / 1e9, int(digits or 0), instance_type


def _suits(instance_type: str, model: ModelConfig) -> bool:
    """Tell whether the GPUs compute in the weights' format at full speed, in bfloat16 at least."""
    method = model.quantization.method if model.quantization else ""
    return gpu(instance_type).capability >= max(8.0, _LEAST_CAPABILITY.get(method, 0))


def _splits(count: int) -> Iterator[int]:
    """Yield tensor parallel sizes, all GPUs of the instance first: those that are left over are paid for."""
    while count >= 1:
        yield count
        count //= 2


def _tried(instance_type: str, tensor: int, flags: dict[str, Any], model: ModelConfig, selection: Selection) -> _Choice | str:
    """Return the choice when it fits, else why not. Experts are spread where their blocks cannot be split."""
    reason = ""
    for more in ({}, {"ep-size": tensor}) if model.experts else ({},):
        given = {**flags, **more}
        serving = {"instance_type": instance_type, "tensor_parallel_size": tensor, "sglang": given}
        file = ModelFile.model_validate(_least_file(serving))
        wrong = [str(finding) for finding in fit(file, selection).findings if finding.is_error]
        use = memory_use(Serving.model_validate(serving), instance_type, model, selection.weight_bytes)
        if not wrong and (use is None or (use.full_requests or _LEAST_FULL_REQUESTS) >= _LEAST_FULL_REQUESTS):
            return _Choice(instance_type, tensor, given, use)
        reason = wrong[0] if wrong else f"{use}"
    return reason


def _least_file(serving: dict[str, Any]) -> dict[str, Any]:
    load = {"kind": "closed_loop", "concurrency": 1, "prompt_tokens": 1, "output_tokens": 1, "duration_s": 60,
            "objectives": {"error_rate": {"at_most": 0}}}  # fmt: skip
    return {
        "weights": {"repository": "a/b", "revision": "0" * 40},
        "serving": serving,
        "evaluation": {"load_profiles": {"chat": load}},
        "production": {"endpoint": "a"},
    }


def _flags(model: ModelConfig, selection: Selection) -> dict[str, Any]:
    context = min(model.context_length or _LONGEST_CONTEXT, _LONGEST_CONTEXT)
    reasoning, tools = _ROUTES.get(model.model_type, (None, None))
    if model.model_type == "deepseek_v3" and "r1" in selection.repository.lower():
        reasoning = "deepseek-r1"
    parsers = {"reasoning-parser": reasoning, "tool-call-parser": tools}
    return {"context-length": context, **{flag: value for flag, value in parsers.items() if value}, "enable-metrics": True}


def _lines(name: str, facts: HubFacts, model: ModelConfig, choice: _Choice, slo: Mapping[str, float]) -> Iterator[str]:
    selection, context = facts.selection, int(choice.flags["context-length"])
    prompt = min(1024, context // 4)
    output = min(256, context // 8)
    concurrency = _concurrency(choice.use, prompt + output)
    thinks = "reasoning-parser" in choice.flags
    yield "# yaml-language-server: $schema=../schema.json"
    yield f"# {selection.repository} over {_gpus(choice)}: written by `new` on {date.today():%Y-%m-%d}. Nothing in it was measured."
    yield "weights:"
    yield f"  repository: {selection.repository}"
    yield f'  revision: "{selection.revision}"   # the newest commit of that day'
    if facts.exclude:
        yield f"  exclude: {_list(facts.exclude)}   # SGLang has the architecture itself: the repository's code stays behind"
    yield f"  max_bytes: {_ceiling(selection.total_bytes)}   # {selection.total_bytes / 1e9:,.1f} GB today"
    licence = f"licence: {facts.license or 'not said'}"
    gated = "; gated: accept it on the model's page, and name the token's secret (hub_token_secret)" if facts.is_gated else ""
    yield f"  # {licence}{gated}"
    yield "serving:"
    yield f"  instance_type: {choice.instance_type}"
    yield f"  tensor_parallel_size: {choice.tensor}"
    yield from (f"  # {part}" for part in _arithmetic(choice))
    yield "  sglang:"
    for flag, value in choice.flags.items():
        yield f"    {flag}: {str(value).lower() if isinstance(value, bool) else value}{_why(flag, model)}"
    yield f"    max-running-requests: {max(concurrency, 8)}"
    yield f"  startup_timeout_s: {3600 if selection.weight_bytes > 3e11 else 1800}"
    yield from _evaluation(choice, prompt, output, concurrency, slo, thinks=thinks, weight_bytes=selection.weight_bytes)
    yield "approval: manual"
    yield "production:"
    yield f"  endpoint: {name}"
    yield "  instance_count: 2   # SageMaker spreads them over availability zones"
    yield "  update: {strategy: rolling, batch_percent: 50, bake_s: 300}"


def _evaluation(
    choice: _Choice, prompt: int, output: int, concurrency: int, slo: Mapping[str, float], *, thinks: bool, weight_bytes: int
) -> Iterator[str]:
    start_s = 1800 + 3600 + (3600 if weight_bytes > 3e11 else 1800)
    runtime_s = -(-(start_s + 330 + 600) // _ROUND_S) * _ROUND_S
    yield "evaluation:"
    yield f"  max_runtime_s: {runtime_s}   # {start_s} s to come up at worst, then the load"
    yield "  load_profiles:"
    yield "    chat:"
    yield "      kind: closed_loop"
    yield f"      concurrency: {concurrency}"
    yield f"      prompt_tokens: {prompt}"
    yield f"      output_tokens: {output}"
    yield "      warmup_s: 30"
    yield "      duration_s: 300"
    yield "      # First bounds, out of a table by the size of the weights a GPU, not of a measurement: tighten them after the first evaluation."
    yield "      objectives:"
    a_gpu = choice.use.weights_bytes if choice.use else weight_bytes / choice.tensor
    ttft, itl = next((ttft, itl) for limit, ttft, itl in _BOUNDS if a_gpu < limit)
    bounds: dict[str, float] = {"ttft_p99_ms": ttft, "itl_p99_ms": itl, "error_rate": 0.01, **slo}
    for metric, bound in bounds.items():
        side = "at_most" if metric.endswith("_ms") or metric in {"error_rate", "usd_per_million_output_tokens"} else "at_least"
        yield f"        {metric}: {{{side}: {bound:g}}}"
    tokens = 1024 if thinks else 64
    yield "  prompt_checks:" + ("   # it thinks before it answers, so the answers need room" if thinks else "")
    yield f'    - {{prompt: "What is the capital of France? Answer in one word.", expect: Paris, max_tokens: {tokens}}}'
    yield f'    - {{prompt: "What is 17 + 25? Answer with the number only.", expect: "42", max_tokens: {tokens}}}'
    yield f'    - {{prompt: "Which day comes after Monday? Answer in one word.", expect: Tuesday, max_tokens: {tokens}}}'


def _concurrency(use: MemoryUse | None, tokens: int) -> int:
    """Return the largest power of two of requests that the cache holds at a time, 64 at most."""
    room = use.tokens * use.replicas // tokens if use else 8
    found = 1
    while found * 2 <= min(room, 64):
        found *= 2
    return found


def _gpus(choice: _Choice) -> str:
    chip = gpu(choice.instance_type).name
    return f"{choice.tensor} of the {GPU_COUNTS[choice.instance_type]} {chip}s of one {choice.instance_type}"


def _arithmetic(choice: _Choice) -> list[str]:
    if choice.use is None:
        return ["config.json does not say enough to work out the memory; watch the first start"]
    return [part.strip() for part in str(choice.use).split(";")]


def _why(flag: str, model: ModelConfig) -> str:
    if flag == "context-length" and model.context_length:
        return f"   # the model has {model.context_length:,}; longer requests take more of the KV cache"
    return "   # blocks of its experts cannot be split, so the experts are spread" if flag == "ep-size" else ""


def _ceiling(size: int) -> str:
    """Return a limit a tenth above the size, in whole gigabytes."""
    return f"{int(size * 1.1 / 1e9 + 1) * 10**9:_}"


def _list(items: list[str]) -> str:
    return "[" + ", ".join(f'"{item}"' for item in items) + "]"
