"""The Hub's JSON API over repositories: pure functions from a request's path and query to an answer."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from local_hub.errors import HubHttpError
from local_hub.repository import HubFile, Repository, RepositorySnapshot

__all__ = ["JsonPage", "RepositoryIndex", "Requester", "paths_info"]

TREE_PAGE = 1000
_HEX_40 = re.compile(r"[0-9a-f]{40}")
_TIMESTAMP = "2024-01-01T00:00:00.000Z"


@dataclasses.dataclass(frozen=True, slots=True)
class Requester:
    """Who asks: `token` is the bearer token (None for nobody) and `valid` whether this Hub knows it."""

    token: str | None
    valid: bool


@dataclasses.dataclass(frozen=True, slots=True)
class JsonPage:
    """A JSON answer; `next_query` is the query of the next page of a listing, where there is one."""

    body: Any
    next_query: str | None = None


class RepositoryIndex:
    """The repositories by id, and the questions a client asks of them."""

    def __init__(
        self,
        repositories: dict[str, Repository],
        tree_page: int = TREE_PAGE,
        look_again: Callable[[], Mapping[str, Repository]] = dict,
    ) -> None:
        """`look_again` finds the repositories that may have come since; it is asked when one is not known."""
        self.repositories = repositories
        self._tree_page = tree_page
        self._look_again = look_again

    def repository(self, identifier: str, access: Requester) -> Repository:
        """Return the repository, if `access` may know of it. Raises `HubHttpError` as the Hub does: a private repository does not
        exist for strangers, and strangers are told 401 where those with a token are told 404.
        """
        if access.token is not None and not access.valid:
            raise HubHttpError(401, None, "Invalid credentials in Authorization header")
        if identifier not in self.repositories:
            self.repositories.update({new: one for new, one in self._look_again().items() if new not in self.repositories})
        repository = self.repositories.get(identifier)
        if repository is None or (repository.private and not access.valid):
            if access.valid:
                raise HubHttpError(404, "RepoNotFound", "Repository not found")
            raise HubHttpError(401, "RepoNotFound", "Invalid username or password.")
        return repository

    def check_gate(self, repository: Repository, access: Requester) -> None:
        """Raise `HubHttpError` (401, GatedRepo) when `access` may list the repository but not read its files."""
        if repository.gated and not access.valid:
            raise HubHttpError(
                401,
                "GatedRepo",
                f"Access to model {repository.id} is restricted. You must have access to it and be authenticated to"
                " access it. Please log in.",
            )

    def snapshot(self, repository: Repository, revision: str) -> RepositorySnapshot:
        """Return the files at `revision` (`main`, or the one commit there is). Raises `HubHttpError` (404, RevisionNotFound)."""
        snapshot = repository.snapshot()
        whole = _HEX_40.fullmatch(revision) is not None and revision == snapshot.revision
        if revision in ("main", "refs/heads/main") or whole:
            return snapshot
        raise HubHttpError(404, "RevisionNotFound", f"Invalid rev id: {revision}")

    def file(self, snapshot: RepositorySnapshot, path: str) -> HubFile:
        """Return one file. Raises `HubHttpError` (404, EntryNotFound)."""
        found = snapshot.files.get(path)
        if found is None:
            raise HubHttpError(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": snapshot.revision})
        return found

    def answer(self, path: str, query: Mapping[str, str], access: Requester) -> JsonPage:
        """Return the answer to `GET /api/...`; `path` is what follows `/api/`, still percent-encoded."""
        if path == "models":
            wanted = query.get("search", "").lower()
            return JsonPage(
                [self._info(repository, repository.snapshot(), blobs=False)
                 for identifier, repository in self.repositories.items()
                 if wanted in identifier.lower() and (access.valid or not repository.private)]
            )  # fmt: skip
        words = path.split("/")
        if words[0] != "models" or len(words) < 3:
            raise HubHttpError(404, None, f"no API at /api/{path}")
        repository = self.repository(f"{unquote(words[1])}/{unquote(words[2])}", access)
        what, rest = (words[3], [unquote(word) for word in words[4:]]) if len(words) > 3 else ("revision", ["main"])
        if what == "revision" and rest:
            snapshot = self.snapshot(repository, "/".join(rest))
            return JsonPage(self._info(repository, snapshot, blobs=query.get("blobs", "").lower() == "true"))
        if what == "tree" and rest:
            return self._tree(self.snapshot(repository, rest[0]), "/".join(rest[1:]).strip("/"), query)
        if what == "refs":
            branch = {"name": "main", "ref": "refs/heads/main", "targetCommit": repository.snapshot().revision}
            return JsonPage({"branches": [branch], "tags": [], "converts": []})
        if what == "auth-check":
            self.check_gate(repository, access)
            return JsonPage({})
        raise HubHttpError(404, None, f"no API at /api/{path}")

    def _info(self, repository: Repository, snapshot: RepositorySnapshot, *, blobs: bool) -> dict[str, Any]:
        siblings = [_sibling(file) if blobs else {"rfilename": file.path} for file in snapshot.files.values()]
        return {
            "_id": snapshot.revision[:24],
            "id": repository.id,
            "modelId": repository.id,
            "author": repository.id.split("/")[0],
            "sha": snapshot.revision,
            "lastModified": _TIMESTAMP,
            "createdAt": _TIMESTAMP,
            "private": repository.private,
            "gated": "manual" if repository.gated else False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "siblings": siblings,
            "usedStorage": sum(file.size for file in snapshot.files.values()),
        }

    def _tree(self, snapshot: RepositorySnapshot, folder: str, query: Mapping[str, str]) -> JsonPage:
        if folder not in snapshot.trees:
            raise HubHttpError(404, "EntryNotFound", f"{folder} does not exist on {snapshot.revision}")
        recursive = query.get("recursive", "").lower() in ("true", "1")
        entries = _entries(snapshot, folder, recursive=recursive)
        start = int(query.get("cursor", "0"))
        limit = min(int(query.get("limit", self._tree_page)), self._tree_page)
        following = start + limit
        more = f"recursive={str(recursive).lower()}&limit={limit}&cursor={following}" if following < len(entries) else None
        return JsonPage(entries[start:following], more)


def paths_info(snapshot: RepositorySnapshot, paths: list[str]) -> list[dict[str, Any]]:
    """Return what the Hub says of each of `paths` that exists: the answer to `POST .../paths-info/REVISION`."""
    return [entry for path in paths if (entry := _entry(snapshot, path.strip("/"))) is not None]


def _entries(snapshot: RepositorySnapshot, folder: str, *, recursive: bool) -> list[dict[str, Any]]:
    prefix = f"{folder}/" if folder else ""
    names = [name for name in (*snapshot.trees, *snapshot.files) if name.startswith(prefix) and name != folder]
    wanted = sorted(name for name in names if name and (recursive or "/" not in name.removeprefix(prefix)))
    return [entry for name in wanted if (entry := _entry(snapshot, name)) is not None]


def _entry(snapshot: RepositorySnapshot, path: str) -> dict[str, Any] | None:
    file = snapshot.files.get(path)
    if file is None:
        tree = snapshot.trees.get(path)
        return {"type": "directory", "oid": tree, "size": 0, "path": path} if tree and path else None
    entry: dict[str, Any] = {"type": "file", "oid": file.blob_id, "size": file.size, "path": path}
    if file.sha256:
        entry["lfs"] = {"oid": file.sha256, "size": file.size, "pointerSize": file.pointer_size}
    return entry


def _sibling(file: HubFile) -> dict[str, Any]:
    sibling: dict[str, Any] = {"rfilename": file.path, "size": file.size, "blobId": file.blob_id}
    if file.sha256:
        sibling["lfs"] = {"sha256": file.sha256, "size": file.size, "pointerSize": file.pointer_size}
    return sibling
