"""Which files of a repository are fetched: pure functions from a listing to a selection, refusing what must not be served.

Weights that run code when they are loaded (pickles, `*.py`) are fetched only when the model file allows them by name. A format is
fetched once: safetensors (or GGUF) wins over everything that repeats it.
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
from delivery.hub import paths
from delivery.hub.fetch_settings import MAX_OBJECT_BYTES
from delivery.names import MANIFEST_FILE
from delivery.weights.manifest import ManifestFile

_SAFE_WEIGHTS = frozenset({".safetensors", ".gguf"})
_PICKLES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib"})
_OTHER_COPIES = frozenset({".h5", ".keras", ".msgpack", ".onnx", ".onnx_data", ".ot", ".tflite", ".mlmodel", ".npz"})
_INDEX_SUFFIX = ".safetensors.index.json"
_CONFIG = "config.json"
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
        """The small files that `select` has to read: config.json and the safetensors indexes."""
        return [f.path for f in self.files if f.path == _CONFIG or f.path.endswith(_INDEX_SUFFIX)]


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

    @property
    def total_bytes(self) -> int:
        """The size of all of it."""
        return sum(f.size for f in self.files)


def select(listing: Listing, documents: Mapping[str, bytes], weights: Weights) -> Selection:
    """Choose the files.

    Args:
        listing: What the repository has.
        documents: The contents of those of `listing.documents` that exist.
        weights: The model file's section.

    Returns:
        The files, and what was left out.

    Raises:
        InputError: The repository cannot or must not be served.
    """
    where = f"{listing.repository} at {listing.revision}"
    notes: list[str] = []
    paths.refuse_unsafe((f.path for f in listing.files), where)
    wanted = [f for f in listing.files if _is_wanted(f.path, weights)]
    if not wanted:
        raise InputError(f"{where}: no file matches weights.include {weights.include} without weights.exclude {weights.exclude}")
    wanted = _without_copies(wanted, weights, where, notes)
    config = _config(documents.get(_CONFIG), where)
    wanted = _without_code(wanted, config, weights, where, notes)
    indexed = _check_indexes(wanted, documents, where)
    notes += _unindexed(wanted, indexed)
    _check_sizes(wanted, weights, where)
    paths.refuse_collisions((f.path for f in wanted), f"weights/{weights.folder}/", where)
    chosen = tuple(sorted(wanted, key=lambda f: f.path))
    return Selection(listing.repository, listing.revision, chosen, _architectures(config), notes)


def _is_wanted(path: str, weights: Weights) -> bool:
    if PurePosixPath(path).name in _IGNORED_NAMES or path == MANIFEST_FILE:
        return False
    included = not weights.include or any(fnmatchcase(path, pattern) for pattern in weights.include)
    return included and not any(fnmatchcase(path, pattern) for pattern in weights.exclude)


def _suffix(path: str) -> str:
    return PurePosixPath(path).suffix.lower()


def _without_copies(wanted: list[HubFile], weights: Weights, where: str, notes: list[str]) -> list[HubFile]:
    pickles = [f for f in wanted if _suffix(f.path) in _PICKLES]
    if any(_suffix(f.path) in _SAFE_WEIGHTS for f in wanted):
        dropped = [f for f in wanted if _suffix(f.path) in _PICKLES | _OTHER_COPIES]
        if dropped:
            notes.append(f"left out, since safetensors or GGUF files hold the weights: {_names(dropped)}")
        return [f for f in wanted if f not in dropped]
    if pickles and "pickle" in weights.unsafe:
        notes.append(f"pickles, allowed by weights.unsafe, run code when they are loaded: {_names(pickles)}")
        return wanted
    if pickles:
        raise InputError(
            f"{where} has its weights as pickles only ({_names(pickles)}), and those run code when they are loaded; expected safetensors "
            "or GGUF. Choose a repository that has them, or allow it in the model file: weights.unsafe: [pickle]"
        )
    raise InputError(
        f"{where} has no *.safetensors and no *.gguf among the chosen files ({_names(wanted)}); "
        "check weights.repository, weights.include and weights.exclude"
    )


def _config(body: bytes | None, where: str) -> Mapping[str, Any]:
    if body is None:  # GGUF repositories often have none
        return {}
    return _json_object(body, f"config.json of {where}")


def _json_object(body: bytes, what: str) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{what} is not JSON ({error}); the repository is broken at this revision: choose another") from error
    if not isinstance(value, dict):
        raise InputError(f"{what} is a JSON {type(value).__name__}, expected an object; choose another revision")
    return value


def _architectures(config: Mapping[str, Any]) -> tuple[str, ...]:
    names = config.get("architectures") or []
    return tuple(str(name) for name in names) if isinstance(names, list) else ()


def _without_code(
    wanted: list[HubFile], config: Mapping[str, Any], weights: Weights, where: str, notes: list[str]
) -> list[HubFile]:
    code = [f for f in wanted if _suffix(f.path) in {".py", ".so"}]
    if not code or "remote_code" in weights.unsafe:
        return wanted
    if config.get("auto_map"):
        raise InputError(
            f"{where} brings its own code ({_names(code)}; config.json names it in auto_map), which would run with the server's rights. "
            "Read it, then allow it in the model file: weights.unsafe: [remote_code]; or, where SGLang knows the architecture itself "
            '(DeepSeek, Qwen), leave the code behind: weights.exclude: ["*.py"]'
        )
    notes.append(f"left out, since nothing may run code from a repository (weights.unsafe): {_names(code)}")
    return [f for f in wanted if f not in code]


def _check_indexes(wanted: list[HubFile], documents: Mapping[str, bytes], where: str) -> set[str]:
    """Return the shards that the safetensors indexes name; InputError when one of them is not there."""
    present = {f.path for f in wanted}
    indexed: set[str] = set()
    for path in sorted(present):
        if not path.endswith(_INDEX_SUFFIX) or path not in documents:
            continue
        weight_map = _json_object(documents[path], f"{path} of {where}").get("weight_map")
        if not isinstance(weight_map, dict):
            raise InputError(f"{path} of {where} has no weight_map; the repository is broken at this revision: choose another")
        folder = PurePosixPath(path).parent
        named = {str(folder / str(shard)) for shard in weight_map.values()}
        indexed |= named
        absent = sorted(named - present)
        if absent:
            raise InputError(
                f"{path} of {where} names shards that are not among the chosen files: {_short(absent)}; "
                "check weights.include and weights.exclude, or choose a complete revision"
            )
    return indexed


def _unindexed(wanted: list[HubFile], indexed: set[str]) -> list[str]:
    """Note weights that no index names.

    They are often all weights once more, in the form of another engine (`consolidated.safetensors`, `original/`), but not always, so they
    are fetched.
    """
    extra = [f for f in wanted if indexed and f.path not in indexed and _suffix(f.path) == ".safetensors"]
    if not extra:
        return []
    return [
        f"no index names {_names(extra)}: {sum(f.size for f in extra):,} of {sum(f.size for f in wanted):,} bytes, fetched and copied to "
        "every instance; if they repeat the others, leave them out with weights.exclude"
    ]


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
