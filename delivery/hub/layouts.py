"""Which weight files of a folder SGLang's loader reads, and which layouts it cannot load.

Source: SGLang 0.5.20 and 0.5.23, sglang/srt/model_loader/loader.py, `DefaultModelLoader._prepare_weights` with load_format `auto`, and
weight_utils.py, `filter_duplicate_safetensors_files` and `maybe_add_mtp_safetensors`: it globs `*.safetensors` in the top folder alone, and
keeps what model.safetensors.index.json names, where there is one. GGUF: `check_gguf_file` takes a file, and model-path is a folder here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from delivery.errors import InputError

INDEX = "model.safetensors.index.json"
_SHARD = re.compile(r"(?P<stem>.+)[-_](?P<number>\d{1,6})-of-(?P<count>\d{1,6})\.(?P<kind>safetensors|gguf)")
"""Digits as their makers write them: DeepSeek's `-00001-of-000163`, Kimi's `-1-of-61`, bloom's `_00001-of-00072`."""
_MTP_ARCHITECTURES = frozenset(
    {"Glm4MoeForCausalLM", "Glm4MoeForCausalLMNextN", "Glm4MoeLiteForCausalLM", "Glm4MoeLiteForCausalLMNextN"}
)
_TOKENIZERS = frozenset(
    {
        "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json", "vocab.txt", "spiece.model", "tekken.json", "tiktoken.model",
        "sentencepiece.bpe.model", "vocab.bpe",
    }
)  # fmt: skip
_SHOWN = 4


@dataclass(frozen=True)
class Layout:
    """The files of a repository as they would lie in one folder."""

    where: str
    """The repository and its revision, for messages."""
    chosen: tuple[str, ...]
    """Paths that weights.include and weights.exclude leave."""
    listed: tuple[str, ...]
    """Every path that there is."""
    config: Mapping[str, Any] | None
    """What config.json holds; None: there is none among the chosen."""
    weight_map: Mapping[str, str] | None
    """What the index at the top holds; None: there is none among the chosen."""

    @property
    def architectures(self) -> list[str]:
        """What config.json says the model is."""
        names = (self.config or {}).get("architectures")
        return [str(name) for name in names] if isinstance(names, list) else []


def safetensors_read(layout: Layout) -> list[str]:
    """Return the safetensors that SGLang would load, sorted; empty: none is in the top folder.

    Raises:
        InputError: It would load something else than the model: two copies over one another, or a part.
    """
    top = sorted(path for path in layout.chosen if "/" not in path and path.lower().endswith(".safetensors"))
    if layout.weight_map is not None:
        named = set(layout.weight_map.values())
        return [path for path in top if path in named or (path == "mtp.safetensors" and _has_mtp(layout))]
    if INDEX in layout.listed and len(top) > 1:
        raise InputError(
            f"{layout.where}: {INDEX} is there and not among the chosen files; without it SGLang loads whatever *.safetensors there are: take it "
            "in with weights.include, or out of weights.exclude",
            key="weights.include",
        )
    if top == ["consolidated.safetensors", "model.safetensors"]:
        return ["model.safetensors"]
    _refuse_part(layout, top)
    models = [path for path in top if not path.startswith("adapter_")]
    alone = [path for path in models if not _SHARD.fullmatch(path)]
    sets = {match["stem"] for path in models if (match := _SHARD.fullmatch(path))}
    if len(alone) + len(sets) > 1:
        raise InputError(
            f"{layout.where} has several *.safetensors and no index that names the model's ({_short(models)}): SGLang loads all of them, one "
            "over the other; leave out what is another copy with weights.exclude",
            key="weights.exclude",
        )
    return models


def refuse_other_kinds(layout: Layout, *, has_weights: bool) -> None:
    """Raise InputError for a repository that holds something else than a model: a pipeline, an adapter, weights in folders.

    Args:
        layout: The repository.
        has_weights: Whether there are weights in the top folder.
    """
    names = set(layout.chosen)
    if "model_index.json" in names:
        raise InputError(
            f"{layout.where} is a pipeline of diffusers (model_index.json), not a language model; choose another repository"
        )
    if "adapter_config.json" in names and not has_weights:
        raise InputError(
            f"{layout.where} is an adapter (adapter_config.json) without the model that it belongs to; release the base model, or a repository "
            "in which both are merged"
        )
    nested = [path for path in layout.chosen if "/" in path and path.endswith(".safetensors")]
    if nested and not has_weights:
        raise InputError(
            f"{layout.where} has its safetensors in folders only ({_short(nested)}), and SGLang reads the top folder alone; choose a repository "
            "with the weights at its top"
        )


def refuse_incomplete(layout: Layout) -> None:
    """Raise InputError for a model without its config.json or its tokenizer."""
    names = set(layout.chosen)
    if layout.config is None:
        lost = "config.json" in layout.listed
        hint = (
            "weights.include or weights.exclude leave it out"
            if lost
            else "choose the repository of the model in Hugging Face's format"
        )
        raise InputError(f"{layout.where}: there is no config.json among the chosen files, and SGLang starts from it; {hint}")
    if not any(name in _TOKENIZERS or name.endswith(".tiktoken") for name in names):
        lost = any(name in _TOKENIZERS for name in layout.listed)
        hint = "weights.include or weights.exclude leave it out" if lost else "choose a repository that has one"
        raise InputError(
            f"{layout.where}: there is no tokenizer among the chosen files (tokenizer.json, tokenizer.model, …); {hint}"
        )


def refuse_gguf(layout: Layout) -> None:
    """Raise InputError for a repository whose weights are GGUF alone."""
    files = [path for path in layout.chosen if path.lower().endswith(".gguf")]
    raise InputError(
        f"{layout.where} has its weights as GGUF ({_short(files)}), and SGLang is given a folder, out of which it loads none; choose the model's "
        "repository with safetensors (AWQ, GPTQ or FP8 where it must be small). On this machine llama.cpp serves GGUF"
    )


def gguf_of_one_model(layout: Layout) -> list[str]:
    """Return the GGUF files of the one model that is chosen, its projector (mmproj) beside it.

    Raises:
        InputError: Several are there, or a part of a split one.
    """
    files = sorted(path for path in layout.chosen if path.lower().endswith(".gguf"))
    projectors = [path for path in files if "mmproj" in PurePosixPath(path).name.lower()]
    models = [path for path in files if path not in projectors]
    _refuse_part(layout, models)
    sets: dict[str, list[str]] = {}
    for path in models:
        match = _SHARD.fullmatch(path)
        sets.setdefault(match["stem"] if match else path, []).append(path)
    if len(sets) > 1:
        smallest = next(iter(sets.values()))
        pattern = smallest[0] if len(smallest) == 1 else f"{_SHARD.sub(lambda match: match['stem'], smallest[0])}-*"
        raise InputError(
            f"{layout.where} has {len(sets)} GGUF models ({_short(list(sets))}), and one is served; name it, all its parts with it: "
            f'weights.include: ["{pattern}"]',
            key="weights.include",
        )
    return files


def _has_mtp(layout: Layout) -> bool:
    config = layout.config or {}
    text = config.get("text_config") if isinstance(config.get("text_config"), dict) else config
    layers = text.get("num_nextn_predict_layers", 0) if isinstance(text, dict) else 0
    return isinstance(layers, int) and layers > 0 and bool(set(layout.architectures[:1]) & _MTP_ARCHITECTURES)


def _refuse_part(layout: Layout, paths: Iterable[str]) -> None:
    """Refuse shards numbered i of n when not all n are there. gpt-oss counts from 0: `-00000-of-00014` is the first of fifteen."""
    found: dict[tuple[str, int], set[int]] = {}
    for path in paths:
        if match := _SHARD.fullmatch(path):
            found.setdefault((match["stem"], int(match["count"])), set()).add(int(match["number"]))
    for (stem, count), numbers in found.items():
        counts_from_0 = 0 in numbers
        last = count - 1 if counts_from_0 and max(numbers) < count else count
        if missing := sorted(set(range(0 if counts_from_0 else 1, min(last, 100_000) + 1)) - numbers):
            raise InputError(
                f"{layout.where}: {stem} is in {count} parts and number {missing[0]} is not among the chosen files ({len(missing)} are missing); "
                "check weights.include and weights.exclude, or choose a complete revision",
                key="weights.include",
            )


def _short(paths: list[str]) -> str:
    rest = len(paths) - _SHOWN
    return ", ".join(paths[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
