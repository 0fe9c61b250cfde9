"""Errors of the local Hub."""

from __future__ import annotations

__all__ = ["HubHttpError", "LocalHubError", "RootError"]


class LocalHubError(Exception):
    """Base of everything that `local_hub` raises on purpose."""


class RootError(LocalHubError):
    """The folder of repositories is missing or cannot be read."""


class HubHttpError(LocalHubError):
    """An error answer in the Hub's own form: status, `X-Error-Code` and `X-Error-Message`.

    huggingface_hub chooses its exception by the code: `RepoNotFound`, `RevisionNotFound`, `EntryNotFound`, `GatedRepo`.
    """

    def __init__(self, status: int, code: str | None, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}
