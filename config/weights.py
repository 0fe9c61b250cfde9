"""The section `weights` of a model file: which Hugging Face repository, at which commit, fetched how."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Literal

from pydantic import Field, field_validator

from config.base import Strict

_COMMIT = re.compile(r"[0-9a-f]{40}")
_INSIDE_URL = re.compile(r"^(?:https?://[^/]+/|hf://)?(?:models/)?([\w.-]+/[\w.-]+)(?:/|$)")
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


class Weights(Strict):
    """Which weights: a Hugging Face repository at one commit."""

    hub: Literal["local", "huggingface.co"] = "huggingface.co"
    """`huggingface.co`, or `local`: the Hub that this project runs on loopback."""
    repository: str
    """ORGANISATION/NAME on the Hub."""
    revision: str
    """The commit: 40 hexadecimal digits. A branch or tag is refused, since it can move after it was evaluated."""
    include: list[str] = []
    """Only files matching one of these patterns (fnmatch on the whole path); empty means all."""
    exclude: list[str] = []
    """Never files matching one of these."""
    unsafe: list[Literal["pickle", "remote_code"]] = []
    """Formats that execute code when loaded, allowed by name. Empty: safetensors and GGUF only, no remote code."""
    max_bytes: int | None = Field(default=None, gt=0)
    """Refuse a repository whose chosen files are larger than this in total."""
    memory_bytes: int = Field(default=512 * 1024**2, ge=64 * 1024**2)
    """How much of a fetch may be in memory at a time, whatever the model's size."""
    xet: bool = False
    """Whether what the Hub keeps in Xet storage is read by hf_xet: faster on some networks, but it takes gigabytes of memory beyond
    `memory_bytes`, and may stall. False: over HTTP, as everything else."""
    hosts: int = Field(default=1, ge=1, le=20)
    """How many instances share the fetch."""
    storage_class: Literal["STANDARD", "INTELLIGENT_TIERING", "STANDARD_IA", "ONEZONE_IA", "GLACIER_IR"] = "STANDARD"
    """What S3 keeps the weights in: a class that is read at once, as every start of an endpoint reads all of them. For what is fetched
    from now on; objects that are there stay as they are."""

    @property
    def choice(self) -> dict[str, list[str]]:
        """The words that choose the files, in an order of their own: two model files that mean the same say the same here."""
        return {name: sorted(set(getattr(self, name))) for name in ("include", "exclude", "unsafe")}

    @property
    def folder(self) -> str:
        """`ORGANISATION/NAME/REVISION`; with include, exclude or unsafe `…/REVISION-DIGEST`, so that each choice of files has its own.

        Everything under a folder is served: two choices in one would be neither.
        """
        base = f"{self.repository}/{self.revision}"
        if not any(self.choice.values()):
            return base
        return f"{base}-{hashlib.sha256(json.dumps(self.choice).encode()).hexdigest()[:12]}"

    @field_validator("repository")
    @classmethod
    def _repository_has_owner(cls, value: str) -> str:
        if not _REPOSITORY.fullmatch(value):
            inside = _INSIDE_URL.search(value)
            hint = f"; write {inside[1]}" if inside else ", as in Qwen/Qwen3-32B"
            raise ValueError(f"{value!r} is not ORGANISATION/NAME{hint}")
        return value

    @field_validator("revision")
    @classmethod
    def _revision_is_a_commit(cls, value: str) -> str:
        if not _COMMIT.fullmatch(value):
            raise ValueError(
                f"{value!r} is a branch, a tag or a short id, and those can move after they were evaluated; expected the "
                "full commit: 40 hexadecimal digits, from the repository's page under Files and versions → History"
            )
        return value
