"""Which files of a repository are fetched: pure functions from a listing to a selection, refusing what must not be served.

Weights that run code when they are loaded (pickles, `*.py`) are fetched only when the model file allows them by name. A format is
fetched once: safetensors (or GGUF) wins over everything that repeats it. Of safetensors, those that SGLang's loader reads (`layouts`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any

from config.weights import Weights
from delivery.errors import InputError
from delivery.hub import layouts, paths
from delivery.hub.fetch_settings import MAX_OBJECT_BYTES
from delivery.names import MANIFEST_FILE
from delivery.weights.manifest import ManifestFile

_SAFE_WEIGHTS = frozenset({".safetensors", ".gguf"})
_PICKLES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib"})
_OTHER_COPIES = frozenset({".h5", ".keras", ".msgpack", ".onnx", ".onnx_data", ".ot", ".tflite", ".mlmodel", ".npz"})
_OTHER_ENGINES = frozenset(
    {".engine", ".plan", ".trt", ".nemo", ".mar", ".tar", ".gz", ".zip", ".7z", ".params", ".pdparams", ".mlpackage", ".distcp"}
)
_MEDIA = frozenset(
    {
        ".png",
        ".jpg",
        ".jpeg",
        ".gif",
        ".webp",
        ".svg",
        ".mp4",
        ".mov",
        ".webm",
        ".avi",
        ".mkv",
        ".mp3",
        ".wav",
        ".flac",
        ".pdf",
        ".ipynb",
        ".parquet",
        ".csv",
    }
)
_LARGEST_SMALL_FILE = 128 * 1024**2
"""Of what is no weight: the largest tokenizers have some 35 MB."""
_CONFIG = "config.json"
DOCUMENTS = (_CONFIG, "generation_config.json", "tokenizer_config.json", layouts.INDEX)
"""The small files that say what the model is."""
_CODE = frozenset({".py", ".so"})
_IGNORED_NAMES = frozenset({".gitattributes", ".gitignore"})


@dataclass(frozen=True)
class HubFile:
    """One file of a repository at a revision, as the Hub lists it."""

    path: str
    size: int
    """Bytes."""
    blob_sha1: str
    """Git's object id: sha1 of `blob SIZE\\0` and the content. For an LFS file it is the pointer's, and says nothing of the content."""
    sha256: str | None = None
    """The content's SHA-256, which the Hub knows for LFS (and Xet) files only."""
    xet_hash: str | None = None
    """The content's address in Xet storage, where the Hub keeps it there."""

    def is_stored_as(self, stored: ManifestFile) -> bool:
        """Tell whether that is a copy of this file, by path, size and digest."""
        is_same = stored.sha256 == self.sha256 if self.sha256 else stored.git_blob_sha1 == self.blob_sha1
        return stored.path == self.path and stored.size == self.size and is_same


@dataclass(frozen=True)
class Listing:
    """A repository at a revision."""

    repository: str
    revision: str
    files: tuple[HubFile, ...]

    @property
    def documents(self) -> list[str]:
        """The small files that `select` has to read."""
        return [f.path for f in self.files if f.path in DOCUMENTS]


@dataclass(frozen=True)
class Selection:
    """The files to fetch, by path, and what a reader of the log should know about the choice."""

    repository: str
    revision: str
    files: tuple[HubFile, ...]
    architectures: tuple[str, ...] = ()
    """What config.json says the model is."""
    notes: list[str] = field(default_factory=list)
    """What was left out and why."""
    documents: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What DOCUMENTS hold, by path."""
    weight_bytes: int = 0
    """The size of the weights among the files."""
    left_out_bytes: int = 0
    """The size of what weights.include and weights.exclude leave, and no server reads: not fetched."""

    @property
    def total_bytes(self) -> int:
        """The size of all of it."""
        return sum(f.size for f in self.files)


def select(listing: Listing, documents: Mapping[str, bytes], weights: Weights, *, for_sglang: bool = False) -> Selection:
    """Choose the files.

    Args:
        listing: What the repository has.
        documents: The contents of those of `listing.documents` that exist.
        weights: The model file's section.
        for_sglang: Whether SGLang is to serve them, as in AWS: then what it cannot load is refused. False: an engine of this machine may.

    Returns:
        The files, and what was left out.

    Raises:
        InputError: The repository cannot or must not be served.
    """
    where = f"{listing.repository} at {listing.revision}"
    notes: list[str] = []
    paths.refuse_unsafe((f.path for f in listing.files), where)
    if not listing.files:
        raise InputError(f"{where} is empty; choose another repository or revision")
    wanted = [f for f in listing.files if _is_wanted(f.path, weights)]
    if not wanted:
        raise InputError(
            f"{where}: no file matches weights.include {weights.include} without weights.exclude {weights.exclude}; the repository has "
            f"{_names(list(listing.files))}",
            key="weights.include" if weights.include else "weights.exclude",
        )
    read = {path: _json_object(documents[path], f"{path} of {where}") for path in DOCUMENTS if path in documents}
    read = {path: value for path, value in read.items() if path == _CONFIG or any(f.path == path for f in wanted)}
    layout = _layout(where, listing, wanted, read)
    chosen = _without_copies(wanted, layout, weights, notes, for_sglang=for_sglang)
    chosen = _without_code(chosen, read, weights, where, notes)
    left_out = sum(f.size for f in wanted) - sum(f.size for f in chosen)
    _check_sizes(chosen, weights, where)
    paths.refuse_collisions((f.path for f in chosen), f"weights/{weights.folder}/", where)
    return Selection(
        listing.repository,
        listing.revision,
        tuple(sorted(chosen, key=lambda f: f.path)),
        tuple(layout.architectures),
        notes,
        read,
        sum(f.size for f in chosen if _suffix(f.path) in _SAFE_WEIGHTS | _PICKLES),
        left_out,
    )


def _layout(where: str, listing: Listing, wanted: list[HubFile], read: Mapping[str, Mapping[str, Any]]) -> layouts.Layout:
    chosen = tuple(f.path for f in wanted)
    weight_map = None
    if layouts.INDEX in read:
        weight_map = read[layouts.INDEX].get("weight_map")
        if not isinstance(weight_map, dict):
            raise InputError(
                f"{layouts.INDEX} of {where} has no weight_map; the repository is broken at this revision: choose another"
            )
        absent = sorted({str(shard) for shard in weight_map.values()} - set(chosen))
        if absent:
            raise InputError(
                f"{layouts.INDEX} of {where} names shards that are not among the chosen files: {_short(absent)}; "
                "check weights.include and weights.exclude, or choose a complete revision"
            )
    config = read.get(_CONFIG) if _CONFIG in chosen else None
    return layouts.Layout(where, chosen, tuple(f.path for f in listing.files), config, weight_map)


def _is_wanted(path: str, weights: Weights) -> bool:
    if PurePosixPath(path).name in _IGNORED_NAMES or path == MANIFEST_FILE:
        return False
    included = not weights.include or any(fnmatchcase(path, pattern) for pattern in weights.include)
    return included and not any(fnmatchcase(path, pattern) for pattern in weights.exclude)


def _suffix(path: str) -> str:
    return PurePosixPath(path).suffix.lower()


def _without_copies(
    wanted: list[HubFile], layout: layouts.Layout, weights: Weights, notes: list[str], *, for_sglang: bool
) -> list[HubFile]:
    """Leave out what no server reads: other copies of the weights, other engines' formats, pictures."""
    read = set(layouts.safetensors_read(layout))
    pickles = [f for f in wanted if _suffix(f.path) in _PICKLES]
    if not read and any(_suffix(f.path) == ".gguf" for f in wanted):
        if for_sglang:
            layouts.refuse_gguf(layout)
        read = set(layouts.gguf_of_one_model(layout))
    if for_sglang or not read:
        layouts.refuse_other_kinds(layout, has_weights=bool(read or [f for f in pickles if "/" not in f.path]))
    if not read:
        _refuse_without_safe_weights(wanted, pickles, weights, layout.where)
        notes.append(f"pickles, allowed by weights.unsafe, run code when they are loaded: {_names(pickles)}")
        read = {f.path for f in pickles if "/" not in f.path} or {f.path for f in pickles}
    if for_sglang:
        layouts.refuse_incomplete(layout)
    named = [pattern for pattern in weights.include if "/" in pattern]
    kept = [f for f in wanted if f.path in read or _is_small(f) or any(fnmatchcase(f.path, pattern) for pattern in named)]
    dropped = [f for f in wanted if f not in kept]
    if dropped:
        notes.append(
            f"left out, since no server reads it: {_names(dropped)}: {sum(f.size for f in dropped):,} of {sum(f.size for f in wanted):,} bytes"
        )
    return kept


def _is_small(file: HubFile) -> bool:
    """Tell whether that is no weight but what goes with them: configuration, tokenizer, licence."""
    suffix = _suffix(file.path)
    is_heavy = suffix in _SAFE_WEIGHTS | _PICKLES | _OTHER_COPIES | _OTHER_ENGINES | _MEDIA
    return not is_heavy and file.size <= _LARGEST_SMALL_FILE


def _refuse_without_safe_weights(wanted: list[HubFile], pickles: list[HubFile], weights: Weights, where: str) -> None:
    if not pickles:
        raise InputError(
            f"{where} has no *.safetensors and no *.gguf among the chosen files ({_names(wanted)}); "
            "check weights.repository, weights.include and weights.exclude"
        )
    if "pickle" not in weights.unsafe:
        raise InputError(
            f"{where} has its weights as pickles only ({_names(pickles)}), and those run code when they are loaded; expected safetensors "
            "or GGUF. Choose a repository that has them, or allow it in the model file: weights.unsafe: [pickle]"
        )


def _json_object(body: bytes, what: str) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{what} is not JSON ({error}); the repository is broken at this revision: choose another") from error
    if not isinstance(value, dict):
        raise InputError(f"{what} is a JSON {type(value).__name__}, expected an object; choose another revision")
    return value


def _without_code(
    wanted: list[HubFile], read: Mapping[str, Mapping[str, Any]], weights: Weights, where: str, notes: list[str]
) -> list[HubFile]:
    code = [f for f in wanted if _suffix(f.path) in _CODE]
    if not code or "remote_code" in weights.unsafe:
        return wanted
    needs = [path for path in (_CONFIG, "tokenizer_config.json") if read.get(path, {}).get("auto_map")]
    if needs:
        raise InputError(
            f"{where} brings its own code ({_names(code)}; {needs[0]} names it in auto_map), which would run with the server's rights. "
            "Read it, then allow it in the model file: weights.unsafe: [remote_code]; or, where SGLang knows the architecture itself "
            '(DeepSeek, Qwen), leave the code behind: weights.exclude: ["*.py"]'
        )
    notes.append(f"left out, since nothing may run code from a repository (weights.unsafe): {_names(code)}")
    return [f for f in wanted if f not in code]


def _check_sizes(wanted: list[HubFile], weights: Weights, where: str) -> None:
    for file in wanted:
        if file.size > MAX_OBJECT_BYTES:
            raise InputError(
                f"{file.path} of {where} has {file.size:,} bytes, more than an S3 object of 10,000 parts may have "
                f"({MAX_OBJECT_BYTES:,}); exclude it or choose a repository with smaller shards"
            )
    total = sum(f.size for f in wanted)
    if weights.max_bytes is not None and total > weights.max_bytes:
        raise InputError(
            f"{where}: the chosen {len(wanted)} files have {total:,} bytes, more than weights.max_bytes {weights.max_bytes:,}; "
            "raise it, or choose fewer files with weights.include and weights.exclude"
        )


def _names(files: list[HubFile]) -> str:
    return _short([f.path for f in files])


def _short(paths: list[str], limit: int = 4) -> str:
    rest = len(paths) - limit
    return ", ".join(paths[:limit]) + (f" and {rest} more" if rest > 0 else "")
