"""Several instances share one job: who they are, and that they live.

Each host writes a heartbeat every few seconds (`PREFIX.hosts/EXECUTION/HOST.json` in S3), and sees there which of the others has failed or
fallen silent.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Protocol, Self

from pydantic import ValidationError

from config.base import Strict
from delivery.aws import s3
from delivery.errors import DeliveryError, InputError

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

logger = logging.getLogger(__name__)


class HostTiming(Protocol):
    """How quickly hosts are heard of, and missed. Seconds."""

    @property
    def heartbeat_s(self) -> float:
        """How often a host says that it lives."""

    @property
    def host_silence_s(self) -> float:
        """A host that has said nothing for so long is dead."""

    @property
    def host_start_s(self) -> float:
        """How much later than this one another host may start."""

    @property
    def stop_grace_s(self) -> float:
        """How long a beat under way may take at the end."""


@dataclass(frozen=True)
class JobHosts:
    """The instances of one job and which of them this is."""

    names: tuple[str, ...] = ("algo-1",)
    current: str = "algo-1"

    @property
    def index(self) -> int:
        """This host's place among them, the same on every host."""
        return self.names.index(self.current)


def read_hosts(path: Path, expected: int, setting: str = "weights.hosts") -> JobHosts:
    """Read the hosts that share this job out of SageMaker's resourceconfig.json.

    Args:
        path: The file.
        expected: How many the model file says.
        setting: Which of its keys says so, for the error.

    Returns:
        The hosts; one where there is no such file and no more are expected.

    Raises:
        InputError: The file is not there although more are expected, or is no resourceconfig.json.
    """
    if not path.exists():
        if expected > 1:
            raise InputError(
                f"{setting} is {expected}, but {path}, which says what host this is, does not exist; "
                "pass --resource-config /opt/ml/config/resourceconfig.json"
            )
        return JobHosts()
    try:
        config = json.loads(path.read_bytes())
        hosts = JobHosts(tuple(sorted(config["hosts"])), str(config["current_host"]))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not SageMaker's resourceconfig.json: {error!r}") from error
    if hosts.current not in hosts.names:
        raise InputError(f"{path}: current_host {hosts.current!r} is not among hosts {', '.join(hosts.names)}")
    return hosts


def read_job_name(path: Path) -> str | None:
    """Read the processing job's name out of SageMaker's processingjobconfig.json: the same on every host, another at each try.

    Args:
        path: The file.

    Returns:
        The name; None when there is no such file.

    Raises:
        InputError: The file is no processingjobconfig.json.
    """
    if not path.exists():
        return None
    try:
        return str(json.loads(path.read_bytes())["ProcessingJobArn"]).rsplit("/", 1)[-1]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not SageMaker's processingjobconfig.json: {error!r}") from error


class Heartbeat(Strict):
    """What a host says of itself."""

    schema_version: Literal[1] = 1
    """The format of this file."""
    number: int
    """Grows with each; a beat that does not change is not one."""
    state: Literal["running", "done", "failed"]
    """`done`: its own share is finished."""
    detail: str
    """How far it is, or why it failed."""


@dataclass
class _Seen:
    """What is known of another host."""

    etag: str
    changed_at: float
    beat: Heartbeat | None = None


class HostRegistry:
    """This host's own beats, as a context manager, and an eye on the others'."""

    def __init__(
        self,
        client: S3Client,
        prefix: s3.S3Uri,
        execution: str,
        hosts: JobHosts,
        settings: HostTiming,
        detail: Callable[[], str],
    ) -> None:
        self._client = client
        self._folder = s3.S3Uri(prefix.bucket, f"{prefix.key.removesuffix('/')}.hosts/{execution}/")
        self._hosts = hosts
        self._settings = settings
        self._detail = detail
        self._number = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._started_at = time.monotonic()
        self._seen: dict[str, _Seen] = {}

    def __enter__(self) -> Self:
        for name, listed in s3.list_objects(self._client, self._folder).items():
            self._seen[name.removesuffix(".json")] = _Seen(
                listed.etag, self._started_at
            )  # of an earlier try of the same execution
        self._write("running", "starting")
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join(self._settings.stop_grace_s)
        try:
            self._write("failed" if error else "done", str(error or "")[:500])
        except DeliveryError as unsaid:
            logger.warning(f"could not tell the other hosts: {unsaid}; they will notice the silence")

    @property
    def folder(self) -> s3.S3Uri:
        """Where the hosts of this execution write."""
        return self._folder

    def heard(self, name: str) -> None:
        """Note that another host showed by something else than a heartbeat that it lives."""
        seen = self._seen.setdefault(name, _Seen("", self._started_at))
        seen.changed_at = time.monotonic()
        seen.beat = seen.beat or Heartbeat(number=0, state="running", detail="started")

    def check(self, names: Collection[str] | None = None) -> str | None:
        """Look at the others' heartbeats.

        Args:
            names: Which of them; None: all.

        Returns:
            The name and story of one that has failed or fallen silent; None when all live or are done.

        Raises:
            DeliveryError: S3 refused.
        """
        now = time.monotonic()
        listed = s3.list_objects(self._client, self._folder)
        for name in self._hosts.names:
            if name == self._hosts.current or (names is not None and name not in names):
                continue
            seen = self._seen.setdefault(name, _Seen("", self._started_at))
            current = listed.get(f"{name}.json")
            if current is not None and current.etag != seen.etag:
                seen.etag, seen.changed_at, seen.beat = current.etag, now, self._read(name)
            if trouble := self._trouble(seen, now):
                return f"{name} {trouble}"
        return None

    def _trouble(self, seen: _Seen, now: float) -> str | None:
        if seen.beat is None:
            limit_s = self._settings.host_start_s
            return f"has not started within {limit_s:.0f} s" if now - seen.changed_at > limit_s else None
        if seen.beat.state == "failed":
            return f"failed: {seen.beat.detail}"
        silent = seen.beat.state == "running" and now - seen.changed_at > self._settings.host_silence_s
        return f"has been silent for {now - seen.changed_at:.0f} s (it had {seen.beat.detail})" if silent else None

    def _read(self, name: str) -> Heartbeat | None:
        body = s3.read(self._client, self._folder / f"{name}.json")
        try:
            return Heartbeat.model_validate_json(body) if body else None
        except ValidationError as error:
            raise DeliveryError(f"{self._folder}{name}.json is not a host's beat of this version: {error}") from error

    def _beat(self) -> None:
        while not self._over.wait(self._settings.heartbeat_s):
            try:
                self._write("running", self._detail())
            except DeliveryError as error:
                logger.warning(f"could not tell the other hosts that this one lives: {error}")

    def _write(self, state: Literal["running", "done", "failed"], detail: str) -> None:
        self._number += 1
        beat = Heartbeat(number=self._number, state=state, detail=detail)
        s3.write_json(self._client, self._folder / f"{self._hosts.current}.json", beat.model_dump_json().encode())
