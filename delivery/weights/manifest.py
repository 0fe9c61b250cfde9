"""The manifest of a weights prefix: what a finished one holds. Written last and never again; a prefix without one is an unfinished fetch."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from config.base import Strict
from config.weights import Weights
from delivery.aws import s3
from delivery.errors import DeliveryError
from delivery.names import MANIFEST_FILE

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ManifestFile(Strict):
    """One file: its path below the prefix, its size in bytes and its digests."""

    path: str = Field(min_length=1)
    size: int = Field(ge=0)
    sha256: Sha256
    """Of the bytes that were streamed; equal to the Hub's own where the Hub knows one."""
    git_blob_sha1: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None
    """The Hub's digest of a file that is not in LFS; the bytes were checked against it."""
    crc64nvme: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{11}=$")]
    """The CRC64NVME of the whole object, base64 as S3 writes it, computed from the streamed bytes."""
    crc64nvme_confirmed_by_s3: bool
    """Whether S3 reported the same for the stored object. False only for an S3 that keeps no full-object checksums."""


class FileChoice(Strict):
    """The model file's words that chose the files."""

    include: list[str]
    exclude: list[str]
    unsafe: list[Literal["pickle", "remote_code"]]

    @classmethod
    def of(cls, weights: Weights) -> Self:
        """Return what a model file says."""
        return cls.model_validate(weights.choice)


class Manifest(Strict):
    """manifest.json: the same bytes for the same files."""

    schema_version: Literal[1] = 1
    """The format of this file."""
    repository: str
    """ORGANISATION/NAME on the Hub."""
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    """The commit."""
    choice: FileChoice
    """How the files were chosen."""
    files: list[ManifestFile] = Field(min_length=1)
    """Sorted by path."""
    total_bytes: int
    """The sum of the files' sizes."""

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        paths = [f.path for f in self.files]
        if paths != sorted(set(paths)):
            raise ValueError("files are not sorted by path, each once")
        total = sum(f.size for f in self.files)
        if total != self.total_bytes:
            raise ValueError(f"total_bytes {self.total_bytes} is not the files' sum {total}")
        return self

    @classmethod
    def of(cls, weights: Weights, files: list[ManifestFile]) -> Self:
        """Make the manifest of these files, in any order."""
        return cls(
            repository=weights.repository,
            revision=weights.revision,
            choice=FileChoice.of(weights),
            files=sorted(files, key=lambda f: f.path),
            total_bytes=sum(f.size for f in files),
        )

    def to_json(self) -> bytes:
        """Return the file's bytes."""
        return (self.model_dump_json(indent=2) + "\n").encode()

    @property
    def sha256(self) -> str:
        """The digest of `to_json`: what is registered with a model package."""
        return digest(self.to_json())


def digest(body: bytes) -> str:
    """Return the SHA-256 of a manifest's bytes, hexadecimal: what is registered with a model package.

    Example:
        >>> digest(b"{}")[:8]
        '44136fa3'
    """
    return hashlib.sha256(body).hexdigest()


def read(client: S3Client, prefix: s3.S3Uri) -> tuple[Manifest, str] | None:
    """Read the manifest under a prefix.

    Args:
        client: The client of the bucket's region.
        prefix: The weights prefix.

    Returns:
        The manifest and its SHA-256; None when there is none: the fetch is unfinished.

    Raises:
        DeliveryError: It is not a manifest, or S3 refused.
    """
    body = s3.read(client, prefix / MANIFEST_FILE)
    if body is None:
        return None
    try:
        return Manifest.model_validate_json(body), digest(body)
    except ValidationError as error:
        raise DeliveryError(
            f"{prefix / MANIFEST_FILE} is not a manifest: {error}; if nothing else writes there, delete it and start again: the weights are "
            "checked and only what is missing is fetched"
        ) from error


def write(client: S3Client, prefix: s3.S3Uri, manifest: Manifest, **options: str) -> str:
    """Write the manifest unless one is there. Idempotent: of two fetches of the same files, both get the digest.

    Args:
        client: The client of the bucket's region.
        prefix: The weights prefix.
        manifest: What to write.
        options: Further parameters of PutObject.

    Returns:
        Its SHA-256.

    Raises:
        DeliveryError: The one that is there lists other files, or S3 refused.
    """
    for _ in range(3):  # a conflicting write in progress shows as "is there", and may still come to nothing
        if s3.write_json(client, prefix / MANIFEST_FILE, manifest.to_json(), only_if_absent=True, **options):
            return manifest.sha256
        there = read(client, prefix)
        if there is None:
            continue
        if there[0].files == manifest.files:
            return there[1]
        raise DeliveryError(
            f"{prefix / MANIFEST_FILE} was written by somebody else meanwhile and lists other files than this fetch, of the same commit and the same "
            "choice; something else writes there: find it, delete the prefix once no endpoint uses it, and start the step again"
        )
    raise DeliveryError(
        f"could not write {prefix / MANIFEST_FILE}: it is neither there nor can it be created; start the step again"
    )
