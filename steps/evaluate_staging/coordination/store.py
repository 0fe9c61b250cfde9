"""What the first host of an evaluation tells the others, and what they give back: documents in S3 below the folder of `delivery.job.host_registry`.

    orders/N.json           a load, or that there will be no more
    ready/N/HOST.json       that host has prepared its share of it
    begin/N.json            when all begin
    results/N/HOST.parquet  every request of that host, and then
    results/N/HOST.json     how its client processes fared
    files/SHA256            what a load reads: tokenizer, prompts

No credentials are among them: each host makes its own.
"""

from __future__ import annotations

import hashlib
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from config.base import Strict
from delivery.aws import s3
from delivery.errors import DeliveryError
from loadtest.generator.arrivals import PrefixBlocks, ScheduledRequest
from loadtest.generator.load import Load
from loadtest.lengths import TokenLengths
from loadtest.transports import Transport
from loadtest.transports.openai import OpenAITransport
from loadtest.transports.sagemaker import SageMakerTransport

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

D = TypeVar("D", bound=Strict)
_FILES = ("tokenizer_file", "prompts_file")
_LENGTHS = ("prompt_tokens", "output_tokens")
_OTHERWISE = {"transport", "schedule", *_LENGTHS, *_FILES}
"""The fields of a load that are no plain numbers."""


class LoadOrder(Strict):
    """What to do next."""

    kind: Literal["measure", "end"]
    """`end`: there is nothing more to do."""
    transport: dict[str, str] = {}
    """How the endpoint is reached."""
    load: dict[str, Any] = {}
    """The load's numbers, for all hosts together."""
    lengths: dict[str, TokenLengths] = {}
    """How long prompts and answers are: field of the load → tokens."""
    schedule: list[tuple[float, int, int, tuple[list[int], int, int] | None]] = []
    """The members of each `ScheduledRequest`, and of its `PrefixBlocks`, in order, for all hosts together: names would take more room than they."""
    files: dict[str, str] = {}
    """Which of the load's files is which of `files/`."""


class HostReady(Strict):
    """A host is prepared, or cannot be."""

    error: str = ""
    """Why not; empty when it is."""


class LoadStart(Strict):
    """When all begin. The hosts' clocks are set by the same service (Amazon Time Sync), to a millisecond or so."""

    at_ns: int
    """Nanoseconds since 1970."""


class ClientProcess(Strict):
    """How one client process fared."""

    cpu_share: float
    """Which share of a core it used."""
    lag_ns: list[int]
    """How late it was, again and again."""
    prompts_to: int = 0
    """Where the recorded prompts that it asked end."""
    prompts_repeated: int = 0
    """How many of them it asked again."""


class HostReport(Strict):
    """A host has measured its share, or could not."""

    error: str = ""
    """Why not; empty when it has."""
    processes: list[ClientProcess] = []
    """Its client processes."""


class CoordinationStore:
    """The documents of one job."""

    def __init__(self, client: S3Client, folder: s3.S3Uri) -> None:
        self._client, self._folder = client, folder

    def put(self, path: str, document: Strict) -> None:
        """Write a document."""
        s3.write_json(self._client, self._folder / path, document.model_dump_json().encode())

    def get(self, path: str, kind: type[D]) -> D | None:
        """Read a document; None while there is none."""
        body = self.get_bytes(path)
        return None if body is None else kind.model_validate_json(body)

    def get_bytes(self, path: str) -> bytes | None:
        """Read the bytes at a path; None while there are none."""
        return s3.read(self._client, self._folder / path)

    def put_bytes(self, path: str, body: bytes) -> None:
        """Write bytes."""
        with s3.translate_client_errors(f"write {self._folder / path}"):
            self._client.put_object(Bucket=self._folder.bucket, Key=(self._folder / path).key, Body=body)

    def put_load_files(self, load: Load) -> LoadOrder:
        """Upload the files of a load and make the order for it."""
        numbers = {field.name: getattr(load, field.name) for field in fields(load) if field.name not in _OTHERWISE}
        files = {}
        for name in _FILES:
            path = getattr(load, name)
            if path is not None:
                content = path.read_bytes()
                files[name] = f"{hashlib.sha256(content).hexdigest()}/{path.name}"
                self.put_bytes(f"files/{files[name]}", content)
        schedule = [(due.at_s, due.prompt_tokens, due.output_tokens, _members(due.blocks)) for due in load.schedule]
        lengths = {name: getattr(load, name) for name in _LENGTHS}
        transport = _described(load.transport)
        return LoadOrder(kind="measure", transport=transport, load=numbers, lengths=lengths, schedule=schedule, files=files)

    def read_load(self, order: LoadOrder, folder: Path) -> Load:
        """Read the load of an order; its files are kept in `folder`."""
        files: dict[str, Any] = {}
        for name, path in order.files.items():
            files[name] = folder / path.replace("/", "-")
            if not files[name].exists():
                content = self.get_bytes(f"files/{path}")
                if content is None:
                    raise DeliveryError(f"{self._folder}files/{path}, which the first host stored, is gone")
                files[name].write_bytes(content)
        schedule = tuple(
            ScheduledRequest(at_s, prompt, output, blocks and PrefixBlocks(tuple(blocks[0]), *blocks[1:]))
            for at_s, prompt, output, blocks in order.schedule
        )
        known: dict[str, Any] = {**order.load, **order.lengths, **files}
        return Load(transport=_restored(order.transport), schedule=schedule, **known)


def _members(blocks: PrefixBlocks | None) -> tuple[list[int], int, int] | None:
    return None if blocks is None else (list(blocks.ids), blocks.tokens_each, blocks.known)


def _described(transport: Transport) -> dict[str, str]:
    match transport:
        case SageMakerTransport(endpoint, region, url):
            return {"kind": "sagemaker", "endpoint": endpoint, "region": region, "url": url}
        case OpenAITransport(url, _, model, region):
            return {"kind": "openai", "url": url, "model": model, "region": region}
    raise DeliveryError(f"hosts cannot be told of a {type(transport).__name__}")


def _restored(described: dict[str, str]) -> Transport:
    if described["kind"] == "sagemaker":
        return SageMakerTransport(described["endpoint"], described["region"], described["url"])
    return OpenAITransport(described["url"], model=described["model"], region=described["region"])
