"""The lease of a production endpoint: who may change it now. `s3://BUCKET/leases/ENDPOINT.json`, written conditionally.

It is taken with `If-None-Match: *` (nobody ever had it) or `If-Match` (it is released, has expired, or is an earlier try's of the same
execution), so that of many who try one succeeds. A thread renews it; a renewal that S3 refuses means that somebody else has it now.
"Now" is S3's clock, the `Date` of its answers: hosts whose clocks differ agree on what has expired. Giving it back is writing that it is
free; the object stays and says who had it last.

Each time it is taken it has a new token. A fencing token would be checked by what the lease protects, and SageMaker checks none: instead
`confirm` asks S3 right before each call that changes the endpoint. (docs/decisions has why S3, and what is given up.)
"""

from __future__ import annotations

import math
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import ClientError
from pydantic import ValidationError

from config.base import Strict
from delivery.aws import s3
from delivery.aws.clock import ServiceClock
from delivery.errors import DeliveryError, LeaseHeld, LeaseLost

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

_DATE_S = 1.0  # HTTP's dates are whole seconds: others may see the lease expire so much earlier
_RENEWALS = 4  # in the time for which it is good: three may fail
_POLL_S = (0.5, 5.0)
_CONFLICTS = {"PreconditionFailed", "ConditionalRequestConflict", "412", "NoSuchKey", "404"}


class LeaseRecord(Strict):
    """The lease's object."""

    schema_version: Literal[1] = 1
    """The format of this file."""
    owner: str
    """Who has it: the ARN or host of a process, for people."""
    execution: str
    """The pipeline execution."""
    token: str
    """Drawn anew each time it is taken: tells two owners of the same execution apart."""
    taken_at: str
    """ISO 8601 UTC."""
    expires_at: str
    """Until when it is good unless renewed, ISO 8601 UTC. S3's clock."""
    released: bool = False
    """Whether it was given back."""
    work: str = ""
    """What it is held for: the intent and the version's ARN, as in `promotion arn:…`."""

    def is_held(self, now: datetime) -> bool:
        """Tell whether somebody has it.

        Args:
            now: S3's clock.

        Example:
            >>> minute = "2026-01-01T00:0{}:00+00:00".format
            >>> record = LeaseRecord(owner="me", execution="e1", token="t", taken_at=minute(0), expires_at=minute(2))
            >>> record.is_held(datetime.fromisoformat(minute(1))), record.is_held(datetime.fromisoformat(minute(2)))
            (True, False)
        """
        return not self.released and now < datetime.fromisoformat(self.expires_at)

    def __str__(self) -> str:
        return f"{self.execution} ({self.owner}) has it until {self.expires_at} or longer"


OnWait = Callable[[LeaseRecord, bool], None]
"""Told who has the lease, and whether that one was seen to live."""


def read(client: S3Client, bucket: str, endpoint: str) -> tuple[LeaseRecord, bool] | None:
    """Read the lease of an endpoint.

    Args:
        client: The client of the bucket's region.
        bucket: Where leases are.
        endpoint: The production endpoint's name.

    Returns:
        The lease, and whether it is held now by S3's clock; None when nobody ever had it.

    Raises:
        DeliveryError: S3 refused, or what is there is no lease.
    """
    stored = _LeaseObject(client, bucket, endpoint)
    found = stored.read()
    return None if found is None else (found.record, found.record.is_held(stored.clock.at))


@contextmanager
def held(
    client: S3Client,
    bucket: str,
    endpoint: str,
    *,
    owner: str,
    execution: str,
    wait_s: float,
    expires_s: float,
    work: str = "",
    on_wait: OnWait = lambda _holder, _lives: None,
) -> Iterator[Lease]:
    """Hold the lease for the time of the `with` block.

    It is renewed in a thread, and expires `expires_s` after the last renewal when this process dies.

    Args:
        client: The client of the bucket's region.
        bucket: Where leases are.
        endpoint: The production endpoint's name.
        owner: This process, for people.
        execution: The pipeline execution. Its own lease it takes over at once: that is the step, started again after it was killed.
        wait_s: How long to wait while another execution has it. One that has it for the same work is waited for until it is seen to live, or
            its lease has expired, however short that is: a dead one's work would be left to nobody.
        expires_s: How long it is good without a renewal.
        work: What it is held for; others see it.
        on_wait: Told at each look who has it, and whether that one lives: whether it renewed the lease since the first look. What it raises
            ends the wait.

    Yields:
        The lease. `check` and `confirm` it before what only its holder may do.

    Raises:
        LeaseHeld: It was not free in time.
        DeliveryError: S3 refused.

    Example:
        with lease.held(s3, "release", "chat", owner="me", execution="e1", wait_s=60, expires_s=120) as held:
            held.confirm()
            sagemaker.update_endpoint(...)
    """
    lease = Lease(_LeaseObject(client, bucket, endpoint), owner, execution, expires_s, work)
    lease.take(wait_s, on_wait)
    try:
        yield lease
    finally:
        lease.release()


class Lease:
    """A lease that this process has, or had."""

    def __init__(self, stored: _LeaseObject, owner: str, execution: str, expires_s: float, work: str = "") -> None:
        self._stored, self._owner, self._execution, self._expires_s, self._work = stored, owner, execution, expires_s, work
        self._token = secrets.token_hex(16)
        self._taken_at = ""
        self._etag = ""
        self._good_until = 0.0  # time.monotonic()
        self._lost = ""
        self._writing = threading.Lock()
        self._done = threading.Event()
        self._renewer = threading.Thread(target=self._renew_until_done, name="lease", daemon=True)

    def take(self, wait_s: float, on_wait: OnWait) -> None:
        """Take it and begin to renew it; see `held`."""
        deadline = time.monotonic() + wait_s
        pause = _POLL_S[0]
        first_seen: LeaseRecord | None = None
        while True:
            found = self._stored.read()
            if found is None or not found.record.is_held(self._stored.clock.at) or found.record.execution == self._execution:
                self._taken_at = self._stored.clock.at.isoformat(timespec="seconds")
                if self._write(found.etag if found else None):
                    break
                continue  # somebody was faster: look again who
            if first_seen is None or first_seen.token != found.record.token:
                first_seen = found.record
            lives = found.record.expires_at != first_seen.expires_at
            on_wait(found.record, lives)
            is_awaited = self._work != "" and found.record.work == self._work and not lives
            if time.monotonic() >= deadline and not is_awaited:
                raise LeaseHeld(
                    f"another promotion works on {self._stored.endpoint}: {found.record}; production.lease.wait_s is {wait_s:g}: "
                    "start again when it is over"
                )
            left_s = math.inf if is_awaited else max(0.0, deadline - time.monotonic())
            time.sleep(min(pause * random.uniform(0.5, 1.5), left_s))  # noqa: S311
            pause = min(_POLL_S[1], pause * 1.5)
        self._renewer.start()

    def check(self) -> None:
        """Raise LeaseLost when it is not ours any more, as far as is known here: cheap, for every turn of a loop."""
        if self._lost:
            raise LeaseLost(f"{self._lost}; nothing more is done here")
        if time.monotonic() > self._good_until:
            raise LeaseLost(f"the lease of {self._stored.endpoint} could not be renewed in time; nothing more is done here")

    def confirm(self) -> None:
        """Renew it now, by asking S3: right before something that only its holder may do. LeaseLost when it is not ours any more."""
        self.check()
        self._renew()
        self.check()

    def release(self) -> None:
        """Give it back. One that is not ours any more is left alone; one that cannot be given back expires."""
        self._done.set()
        self._renewer.join()
        if self._lost:
            return
        try:
            with self._writing:
                self._write(self._etag, released=True)
        except DeliveryError:
            return  # what the block did is done or has failed already; the lease expires by itself

    def _renew_until_done(self) -> None:
        while not self._done.wait(self._expires_s / _RENEWALS):
            try:
                self._renew()
            except DeliveryError:
                continue  # S3 could not be asked: `check` says so once the lease has run out
            if self._lost:
                return

    def _renew(self) -> None:
        with self._writing:
            if self._lost:
                return
            found = self._stored.read()
            if found is None or found.record.token != self._token:
                who = f"{found.record.execution} ({found.record.owner})" if found else "somebody, who deleted it,"
                self._lost = f"{who} took the lease of {self._stored.endpoint} over"
            elif not self._write(found.etag):
                self._lost = f"somebody took the lease of {self._stored.endpoint} over just now"

    def _write(self, etag: str | None, *, released: bool = False) -> bool:
        """Write the record if the object still has this ETag (None: if there is none); False when it has not.

        It is good for us no longer than it is for others, who go by what is written: from the answer that told the time, however long this
        process stood still since.
        """
        good_until = self._stored.clock.asked_at + self._expires_s - _DATE_S
        record = LeaseRecord(
            owner=self._owner,
            execution=self._execution,
            token=self._token,
            taken_at=self._taken_at,
            expires_at=(self._stored.clock.at + timedelta(seconds=self._expires_s)).isoformat(timespec="milliseconds"),
            released=released,
            work=self._work,
        )
        written = self._stored.write(record, etag)
        if written is None:
            return False
        self._etag = written
        self._good_until = good_until
        return True


@dataclass(frozen=True)
class _StoredLease:
    """What was read."""

    record: LeaseRecord
    etag: str


class _LeaseObject:
    """The lease's object in S3."""

    def __init__(self, client: S3Client, bucket: str, endpoint: str) -> None:
        self._s3, self.endpoint = client, endpoint
        self._uri = s3.S3Uri(bucket, f"leases/{endpoint}.json")
        self.clock = ServiceClock()
        """S3's."""

    def read(self) -> _StoredLease | None:
        asked_at = time.monotonic()
        with s3.translate_client_errors(f"read the lease {self._uri}"):
            try:
                answer = self._s3.get_object(Bucket=self._uri.bucket, Key=self._uri.key)
                body = answer["Body"].read()
            except ClientError as error:
                self.clock.note(error.response, asked_at)
                if s3.error_code(error) == "NoSuchKey":
                    return None
                raise
        self.clock.note(answer, asked_at)
        try:
            return _StoredLease(LeaseRecord.model_validate_json(body), answer["ETag"])
        except ValidationError as error:
            raise DeliveryError(f"{self._uri} is not a lease: {error}; delete it if nothing else writes there") from error

    def write(self, record: LeaseRecord, etag: str | None) -> str | None:
        """Write it if the object there has this ETag (None: if there is none); the new ETag, None when the condition does not hold."""
        body = (record.model_dump_json(indent=2) + "\n").encode()
        condition: dict[str, Any] = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}
        asked_at = time.monotonic()
        with s3.translate_client_errors(f"write the lease {self._uri}"):
            try:
                answer = self._s3.put_object(
                    Bucket=self._uri.bucket, Key=self._uri.key, Body=body, ContentType="application/json", **condition
                )
            except ClientError as error:
                if s3.error_code(error) not in _CONFLICTS:
                    raise
                # Refused, but ours: boto3 sends a request again whose answer got lost.
                found = self.read()
                return found.etag if found is not None and found.record == record else None
        self.clock.note(answer, asked_at)
        return str(answer["ETag"])
