"""A folder as a Hub repository: its files, their git and LFS identities, and the one revision they make.

The revision is computed from content alone, the way git would: blobs, trees, and a commit whose author and date are
fixed. The same files give the same 40 hex digits on every machine, and any change gives others. As on the Hub, large and
binary files are LFS files: git sees a small pointer to them, and their identity is their sha256.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from local_hub.errors import RootError

__all__ = ["HashCache", "HubFile", "Repository", "RepositorySnapshot", "folder_repositories", "is_lfs"]

SETTINGS_FILE = ".hub.json"
_CACHE_FILE = ".local_hub_cache.json"
_LFS_BYTES = 10 * 1024 * 1024
_LFS_PATTERNS = (
    "*.7z", "*.bin", "*.ckpt", "*.gguf", "*.gz", "*.h5", "*.model", "*.msgpack", "*.npy", "*.npz", "*.onnx", "*.parquet",
    "*.pickle", "*.pkl", "*.pt", "*.pth", "*.safetensors", "*.tar", "*.zip", "*.zst",
)  # fmt: skip
_IGNORED = {".git", ".cache", "__pycache__", ".DS_Store", SETTINGS_FILE}


@dataclasses.dataclass(frozen=True, slots=True)
class HubFile:
    """One file at one revision. `sha256` is set for LFS files only; `source` is where its bytes are."""

    path: str
    size: int
    blob_id: str
    sha256: str | None
    source: Path | bytes

    @property
    def etag(self) -> str:
        """What the Hub names the content by: the sha256 of an LFS file, else the git blob's sha1."""
        return self.sha256 or self.blob_id

    @property
    def pointer_size(self) -> int:
        """Bytes of the LFS pointer that git holds in the file's place."""
        return len(_pointer(self.sha256 or "", self.size))


@dataclasses.dataclass(frozen=True, slots=True)
class RepositorySnapshot:
    """Everything in a repository at `revision`: files by path, and the git tree of every folder (`""` is the root)."""

    revision: str
    files: Mapping[str, HubFile]
    trees: Mapping[str, str]


class HashCache:
    """sha256 of files on disk, remembered by path, size, modification time and inode; kept in `path` when writable."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._known: dict[str, str] = {}
        if path is not None and path.exists():
            try:
                self._known = json.loads(path.read_text(encoding="utf-8"))
            except ValueError:
                # Cut short by a kill while it was written; every entry can be computed again.
                self._known = {}

    def sha256(self, path: Path) -> str:
        """Return the sha256 of `path`, hex. About 0.7 GB/s the first time, nothing after that."""
        status = path.stat()
        key = f"{path}|{status.st_size}|{status.st_mtime_ns}|{status.st_ino}"
        found = self._known.get(key)
        if found is None:
            with path.open("rb") as handle:
                found = hashlib.file_digest(handle, "sha256").hexdigest()
            with self._lock:
                self._known[key] = found
                self._save()
        return found

    def _save(self) -> None:
        if self._path is None or not os.access(self._path.parent, os.W_OK):
            return
        temporary = self._path.with_suffix(".tmp")
        temporary.write_text(json.dumps(self._known), encoding="utf-8")
        temporary.replace(self._path)


class Repository:
    """A repository: `id`, access, and the files, either of `folder` or given as `files` (path to file or bytes)."""

    def __init__(
        self,
        identifier: str,
        cache: HashCache,
        *,
        folder: Path | None = None,
        files: Mapping[str, Path | bytes] | None = None,
        gated: bool = False,
        private: bool = False,
    ) -> None:
        self.id = identifier
        self.gated = gated
        self.private = private
        self._cache = cache
        self._folder = folder
        self._files = files or {}
        self._lock = threading.Lock()
        self._signature: object = None
        self._snapshot: RepositorySnapshot | None = None

    def snapshot(self) -> RepositorySnapshot:
        """Return the repository as it is now; computed anew only when a file was added, removed or changed."""
        with self._lock:
            sources = dict(sorted(self._sources()))
            signature = tuple((path, _stamp(source)) for path, source in sources.items())
            if self._snapshot is None or signature != self._signature:
                self._snapshot = _snapshot({path: self._file(path, source) for path, source in sources.items()})
                self._signature = signature
            return self._snapshot

    def _sources(self) -> Iterator[tuple[str, Path | bytes]]:
        yield from self._files.items()
        if self._folder is None:
            return
        for directory, folders, names in os.walk(self._folder, followlinks=True):
            folders[:] = [name for name in folders if name not in _IGNORED]
            for name in names:
                if name not in _IGNORED:
                    path = Path(directory, name)
                    yield path.relative_to(self._folder).as_posix(), path

    def _file(self, path: str, source: Path | bytes) -> HubFile:
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        if is_lfs(path, size):
            sha256 = hashlib.sha256(source).hexdigest() if isinstance(source, bytes) else self._cache.sha256(source)
            return HubFile(path, size, _git_hash("blob", _pointer(sha256, size)), sha256, source)
        content = source if isinstance(source, bytes) else source.read_bytes()
        return HubFile(path, size, _git_hash("blob", content), None, source)


def is_lfs(path: str, size: int) -> bool:
    """Return whether the Hub would keep the file as LFS: by the patterns of its default `.gitattributes`, or by size."""
    name = path.rsplit("/", 1)[-1]
    return size >= _LFS_BYTES or any(fnmatch.fnmatchcase(name, pattern) for pattern in _LFS_PATTERNS)


def folder_repositories(root: Path, cache: HashCache) -> dict[str, Repository]:
    """Return every `root/ORG/NAME/` as a repository. `.hub.json` inside one may say `{"gated": true}` or `{"private": true}`.

    Raises `RootError` when `root` is no folder or such a file is malformed.
    """
    if not root.is_dir():
        raise RootError(f"{root} is not a folder; make it, with repositories as {root}/ORG/NAME/")
    found = {}
    for folder in sorted(path for path in root.glob("*/*") if path.is_dir() and not path.parent.name.startswith(".")):
        identifier = f"{folder.parent.name}/{folder.name}"
        settings = _settings(folder / SETTINGS_FILE)
        gated, private = settings.get("gated", False), settings.get("private", False)
        found[identifier] = Repository(identifier, cache, folder=folder, gated=gated, private=private)
    return found


def cache_for(root: Path | None) -> HashCache:
    """Return the hash cache of a root folder; one in memory alone without a root."""
    return HashCache(root / _CACHE_FILE if root is not None else None)


def _settings(path: Path) -> dict[str, bool]:
    if not path.exists():
        return {}
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        unknown = set(settings) - {"gated", "private"}
    except (ValueError, TypeError) as error:
        raise RootError(f"{path} is not a JSON object: {error}") from error
    if unknown:
        raise RootError(f"{path}: unknown key {sorted(unknown)[0]!r}; known are gated and private")
    return {name: bool(value) for name, value in settings.items()}


def _stamp(source: Path | bytes) -> object:
    if isinstance(source, bytes):
        return source
    status = source.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino


def _pointer(sha256: str, size: int) -> bytes:
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def _git_hash(kind: str, content: bytes) -> str:
    # sha1 is git's, and names content here; it secures nothing.
    return hashlib.sha1(f"{kind} {len(content)}\0".encode() + content, usedforsecurity=False).hexdigest()


def _snapshot(files: Mapping[str, HubFile]) -> RepositorySnapshot:
    trees: dict[str, str] = {}
    root = _tree("", files, trees)
    who = "local_hub <local_hub@localhost> 0 +0000"
    commit = f"tree {root}\nauthor {who}\ncommitter {who}\n\nlocal_hub\n".encode()
    return RepositorySnapshot(_git_hash("commit", commit), files, trees)


def _tree(folder: str, files: Mapping[str, HubFile], trees: dict[str, str]) -> str:
    """Return the git tree of `folder`, putting it and those below it into `trees`."""
    prefix = f"{folder}/" if folder else ""
    below = [path.removeprefix(prefix) for path in files if path.startswith(prefix)]
    entries: dict[str, tuple[str, str]] = {}
    for name in {path.split("/", 1)[0] for path in below}:
        full = prefix + name
        if full in files:
            entries[name] = ("100644", files[full].blob_id)
        else:
            # git sorts a folder as if its name ended in a slash.
            entries[name + "/"] = ("40000", _tree(full, files, trees))
    content = b"".join(
        f"{mode} {name.rstrip('/')}\0".encode() + bytes.fromhex(digest) for name, (mode, digest) in sorted(entries.items())
    )
    trees[folder] = _git_hash("tree", content)
    return trees[folder]
