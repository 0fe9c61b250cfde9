"""All jobs of one kind: their records in the store, and the running ones."""

from __future__ import annotations

import logging
import shutil
import threading
import time
import uuid
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from sagemaker_local.errors import AwsError, JobError, ResourceInUse, ResourceNotFound, ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sagemaker_local.context import Context

TERMINAL = frozenset({"Completed", "Failed", "Stopped"})
INTERNAL_ERROR = "InternalServerError: We encountered an internal error. Please try again."
INTERRUPTED = "InternalServerError: sagemaker_local was stopped while the job ran."
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobEnding:
    """How a job ended: a terminal status, and the members that its record gets besides."""

    status: str
    changes: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def failed(cls, reason: str, **changes: Any) -> JobEnding:
        """Return a failure for this reason (of which the API shows 1,024 characters)."""
        return cls("Failed", {"FailureReason": reason[:1024], **changes})


class RunningJob(Protocol):
    """A job while it runs."""

    def run(self) -> JobEnding:
        """Run it to its end.

        Raises:
            JobError: it fails for this reason.
            AwsError: it fails because of what an action answered.
        """
        ...

    def failed(self, reason: str) -> JobEnding:
        """Return its end when ``run`` raised."""
        ...

    def stop(self) -> None:
        """Ask it to stop; returns at once, from any thread."""
        ...


@dataclass(frozen=True)
class JobContext:
    """Where a job runs, and how it tells what becomes of it."""

    context: Context
    region: str
    arn: str
    role_arn: str | None
    """Whose credentials it works with."""
    sandbox: Path
    update: Callable[..., None]
    """Set members of the job's record."""


@dataclass(frozen=True)
class JobKind:
    """What jobs of one kind call their members."""

    resource: str
    """In ARNs, and in the store: ``processing-job``."""
    prefix: str
    """Of NAMEName, NAMEArn and NAMEStatus: ``ProcessingJob``."""
    ended_member: str
    event: str
    """The detail-type of its EventBridge events."""


@dataclass
class JobTable(ABC):
    """Creates, describes, stops and awaits jobs of one kind. A record is the answer of the kind's Describe action."""

    context: Context
    _running: dict[str, tuple[RunningJob, threading.Thread]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _closing: bool = False

    kind: ClassVar[JobKind]

    @abstractmethod
    def check(self, request: dict[str, Any]) -> None:
        """Refuse, by name, what the request asks for and is not emulated (NotImplementedHere)."""

    @abstractmethod
    def new_record(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the members of a new job's record that come from its request."""

    @abstractmethod
    def job(self, place: JobContext, request: dict[str, Any]) -> RunningJob:
        """Return the job that a request asks for, not yet running."""

    def role_of(self, region: str, request: dict[str, Any]) -> str | None:
        """Return the role that the job that a request asks for works with."""
        return request.get("RoleArn")

    def __post_init__(self) -> None:
        self.context.closers.append(self._close)
        shutil.rmtree(self._sandboxes, ignore_errors=True)  # of jobs that a killed server left
        for key, record in self.context.store.list(self.kind.resource):
            if record[self._status] not in TERMINAL:
                self.context.store.put(self.kind.resource, key, self._with_ending(record, JobEnding.failed(INTERRUPTED)))

    def create(self, region: str, account_id: str, request: dict[str, Any]) -> str:
        """Start the job that this Create request asks for; returns its ARN.

        Raises:
            ResourceInUse: the name is taken.
            NotImplementedHere: the request asks for something that is not emulated.
        """
        name = request[f"{self.kind.prefix}Name"]
        self.check(request)
        arn = f"arn:aws:sagemaker:{region}:{account_id}:{self.kind.resource}/{name}"
        key = f"{region}/{name}"
        sandbox = self._sandboxes / f"{name}-{uuid.uuid4().hex[:8]}"
        place = JobContext(
            self.context, region, arn, self.role_of(region, request), sandbox, lambda **changes: self._update(key, changes)
        )
        job = self.job(place, request)
        thread = threading.Thread(target=self._run, args=(key, job, sandbox), name=f"{self.kind.resource} {name}", daemon=True)
        now = time.time()
        record = {
            **self.new_record(request),
            f"{self.kind.prefix}Arn": arn,
            self._status: "InProgress",
            "CreationTime": now,
            "LastModifiedTime": now,
        }
        with self._lock:
            if self.context.store.get(self.kind.resource, key) is not None:
                raise ResourceInUse(
                    f"Job name must be unique within an AWS account and region, and a job with this name already exists ({arn})"
                )
            self.context.store.put(self.kind.resource, key, record)
            self._running[key] = (job, thread)
        self._announce(key)
        thread.start()
        return arn

    def describe(self, region: str, name: str) -> dict[str, Any]:
        """Return the record of a job; ValidationError when there is no such job, as the service answers."""
        record: dict[str, Any] | None = self.context.store.get(self.kind.resource, f"{region}/{name}")
        if record is None:
            raise ValidationError("Could not find requested job with name: " + name)
        return record

    def all_in(self, region: str) -> list[dict[str, Any]]:
        """Return the record of every job of a region."""
        return [record for key, record in self.context.store.list(self.kind.resource) if key.startswith(f"{region}/")]

    def stop(self, region: str, name: str) -> None:
        """Stop a job: it becomes Stopping now and Stopped when its processes have ended.

        Raises:
            ResourceNotFound: there is no such job.
            ValidationError: it has already ended.
        """
        key = f"{region}/{name}"
        record = self.context.store.get(self.kind.resource, key)
        if record is None:
            raise ResourceNotFound("Could not find requested job with name: " + name)
        status = record[self._status]
        if status in TERMINAL:
            raise ValidationError(f"The request was rejected because the {self.kind.resource} is in status {status}.")
        with self._lock:
            running = self._running.get(key)
        if running is not None and status != "Stopping":
            self._update(key, {self._status: "Stopping"})
            self._announce(key)
            running[0].stop()

    def wait(self, region: str, name: str) -> dict[str, Any]:
        """Block until a job has ended; returns its record."""
        with self._lock:
            running = self._running.get(f"{region}/{name}")
        if running is not None:
            running[1].join()
        return self.describe(region, name)

    def delete(self, region: str, name: str) -> None:
        """Forget a job that has ended; ValidationError while it runs."""
        with self._lock:  # of two that delete it one is told that there is none
            if self.describe(region, name)[self._status] not in TERMINAL:
                raise ValidationError(f"The {self.kind.resource} {name} cannot be deleted while it runs: stop it first.")
            self.context.store.delete(self.kind.resource, f"{region}/{name}")

    @property
    def _sandboxes(self) -> Path:
        return self.context.state_dir / f"{self.kind.resource}s"

    @property
    def _status(self) -> str:
        return f"{self.kind.prefix}Status"

    def _run(self, key: str, job: RunningJob, sandbox: Path) -> None:
        """Run a job in its thread. Its sandbox is gone afterwards; its logs stay."""
        ended = JobEnding.failed(INTERNAL_ERROR)
        try:
            ended = job.run()
        except JobError as error:
            ended = job.failed(str(error))
        except AwsError as error:
            ended = job.failed(f"ClientError: {error.message}")
        except Exception:
            _LOGGER.exception("%s %s", self.kind.resource, key)
        finally:
            shutil.rmtree(sandbox, ignore_errors=True)
            if not self._closing:
                with self._lock:
                    record = self.context.store.get(self.kind.resource, key)
                    self.context.store.put(self.kind.resource, key, self._with_ending(record, ended))
                    self._running.pop(key, None)
                self._announce(key)

    def _close(self) -> None:
        """Record nothing any more, as the server stops: what ends now ends because of that, and is recorded so at the next start."""
        self._closing = True

    def _update(self, key: str, changes: dict[str, Any]) -> None:
        with self._lock:
            record = self.context.store.get(self.kind.resource, key)
            if record[self._status] not in TERMINAL:
                self.context.store.put(self.kind.resource, key, {**record, **changes, "LastModifiedTime": time.time()})

    def _with_ending(self, record: dict[str, Any], ended: JobEnding) -> dict[str, Any]:
        now = time.time()
        return {**record, self.kind.ended_member: now, "LastModifiedTime": now, **ended.changes, self._status: ended.status}

    def _announce(self, key: str) -> None:
        """Send the job's state as an EventBridge event, whose detail is the Describe action's answer."""
        record = self.context.store.get(self.kind.resource, key)
        region = key.partition("/")[0]
        self.context.events.put(region, self.kind.event, [record[f"{self.kind.prefix}Arn"]], record)
