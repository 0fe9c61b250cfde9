"""The repository that is fetched: shards of random bytes, with what a fetch checks before it moves them."""

from __future__ import annotations

import json
import os
from pathlib import Path

MIB = 1024**2
_HEADER_BYTES = 256


def write(folder: Path, size: int, shards: int) -> int:
    """Write `shards` files of `size` bytes together, an index and a config.json; how many bytes it all has.

    Each is a safetensors file of one tensor: four megabytes of random bytes, repeated, since nothing here compresses or deduplicates.
    """
    folder.mkdir(parents=True)
    block = os.urandom(4 * MIB)
    for number, name in enumerate(_names(shards)):
        with (folder / name).open("wb") as file:
            left = size // shards - _HEADER_BYTES
            tensor = {"dtype": "U8", "shape": [left], "data_offsets": [0, left]}
            header = json.dumps({f"layer.{number}": tensor}).encode().ljust(_HEADER_BYTES - 8)
            file.write(len(header).to_bytes(8, "little") + header)
            while left:
                left -= file.write(block[: min(left, len(block))])
    return _describe(folder, shards)


def link(folder: Path, model: Path, shards: int) -> int:
    """Make the same in `shards` files that are links to the shards of `model`: a larger model that takes no more disk."""
    folder.mkdir(parents=True)
    sources = sorted(model.glob("*.safetensors"))
    for number, name in enumerate(_names(shards)):
        (folder / name).hardlink_to(sources[number % len(sources)])
    return _describe(folder, shards)


def _names(shards: int) -> list[str]:
    return [f"model-{n:05}-of-{shards:05}.safetensors" for n in range(1, shards + 1)]


def _describe(folder: Path, shards: int) -> int:
    index = {"metadata": {}, "weight_map": {f"layer.{n}": name for n, name in enumerate(_names(shards))}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"]}))
    return sum(path.stat().st_size for path in folder.iterdir())
