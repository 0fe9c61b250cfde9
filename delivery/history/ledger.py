"""The ledger of a model: an audit of what happened to its versions, `s3://BUCKET/releases/MODEL/00000001.json` and so on.

It is append-only and tamper-evident: each event holds the SHA-256 of the bytes of the one before. An event's number alone is its key, and
it is written with `If-None-Match: *`: of two writers who both saw event 7 as the last, one gets 8, the other is refused, reads again and
gets 9. (S3 user guide, "How to prevent object overwrites with conditional writes".) Writing is idempotent: a write whose answer got lost
finds its own event, and `append_once` writes an execution's event once, however often its step runs.

What the chain shows: that an event with another behind it was changed, or one was taken out. What it cannot show: that the last event was
changed, or that events were cut off at the end. On AWS the bucket's policy keeps anybody from either (infra/delivery.yaml): an event is
written without that condition, or deleted, by nobody who did not change the policy first, and CloudTrail has that. On this machine
nothing does.

Reading costs the same however long the ledger is: what this process has verified before it does not read again, and a process that begins
takes the checkpoint (`delivery.history.checkpoint`). Both are verified from the first event on and hold as long as their last event is what
its own object says: by the chain, all events before it are then what they were, too. Whether each one's object still is, `audit` looks.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, JsonValue, ValidationError

from config.base import Strict
from delivery.aws import s3
from delivery.errors import DeliveryError, LedgerBroken
from delivery.history import checkpoint

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

logger = logging.getLogger(__name__)

EventKind = Literal[
    "fetched",
    "registered",
    "evaluated",
    "approved",
    "rejected",
    "changing",
    "promoted",
    "rolled_back",
    "retired",
    "settled",
    "refused",
]
"""What happened. `changing`: production is about to be changed (`delivery.history.changes`). `retired`: its endpoint was taken out of service.
`settled`: what a change of production had left unfinished is done. `refused`: a version was to be promoted and was not; production serves what
it did before."""

_KEY = re.compile(r"(\d{8})\.json")
_TRIES = 50  # of a number: as many writers at once would have to be faster each time
_READERS = 16
_CHECKPOINT_EVERY = 8  # events: how many a process that begins may have to read one by one
_BLOCK_DIGITS = 4  # events are listed by the digits before these: release files' folders, called by a digest, begin otherwise


class Event(Strict):
    """One thing that happened to a version of a model."""

    schema_version: Literal[1] = 1
    """The format of this file."""
    sequence: Annotated[int, Field(ge=1)]
    """Its place in the ledger, counted from 1; also its key."""
    at: str
    """When, ISO 8601 UTC."""
    kind: EventKind
    """What happened."""
    version: int | None = None
    """To which version of the model package group; None before it has a number."""
    model_package: str | None = None
    """That version's ARN."""
    by: str
    """Who: the pipeline execution, or the ARN of a person."""
    details: dict[str, JsonValue] = {}
    """What else is known, by kind. A `promoted` or `rolled_back` one has `deployment`: all that is needed to serve the version again."""
    previous_sha256: str | None = None
    """SHA-256 of the bytes of the event before, hexadecimal; None for the first."""

    def to_json(self) -> bytes:
        """Return the object's bytes."""
        return (self.model_dump_json(indent=2) + "\n").encode()


@dataclass(frozen=True)
class _Chain:
    """Events from the first one on, verified."""

    events: tuple[Event, ...] = ()
    bodies: tuple[bytes, ...] = ()
    """Their bytes."""
    etag: str = ""
    """The entity tag of the last one's object."""
    in_checkpoint: int = 0
    """How many of them the checkpoint has."""


_verified: dict[str, _Chain] = {}
"""What this process has read of each ledger: good as long as the last event's object has that entity tag."""


class Ledger:
    """The ledger of one model."""

    def __init__(self, client: S3Client, bucket: str, model: str, **options: Any) -> None:
        """`client` is a boto3 S3 client; `options` go to every PutObject (ServerSideEncryption and the like)."""
        self._s3 = client
        self._prefix = s3.S3Uri(bucket, f"releases/{model}/")
        self._options = options

    def append(
        self,
        kind: EventKind,
        *,
        by: str,
        version: int | None = None,
        model_package: str | None = None,
        details: Mapping[str, JsonValue] | None = None,
        check: Callable[[list[Event]], None] | None = None,
    ) -> Event:
        """Write an event behind the last one.

        Args:
            kind: What happened.
            by: Who did it: the pipeline execution, or the ARN of a person.
            version: To which version; None before it has a number.
            model_package: That version's ARN.
            details: What else is known.
            check: Called with every event before the new one, right before it is written, and again after each time that another writer
                was faster; what it raises keeps the event from being written. So a decision is compared and set.

        Returns:
            The event, as it was written.

        Raises:
            DeliveryError: S3 refused, or others were faster 50 times in a row.
            LedgerBroken: The chain does not hold.
        """
        for _ in range(_TRIES):
            chain = self._read_chain()
            if check is not None:
                check(list(chain.events))
            event = Event(
                sequence=len(chain.events) + 1,
                at=datetime.now(UTC).isoformat(timespec="milliseconds"),
                kind=kind,
                version=version,
                model_package=model_package,
                by=by,
                details=dict(details or {}),
                previous_sha256=_sha256(chain.bodies),
            )
            body = event.to_json()
            written = s3.write_json(self._s3, self._uri(event.sequence), body, only_if_absent=True, **self._options)
            # Refused, but ours: boto3 sends a request again whose answer got lost.
            if written or s3.read(self._s3, self._uri(event.sequence)) == body:
                self._write_checkpoint(chain)
                return event
        raise DeliveryError(f"could not write to the ledger {self._prefix}: others were faster {_TRIES} times; start again")

    def append_once(
        self,
        kind: EventKind,
        *,
        by: str,
        version: int | None = None,
        model_package: str | None = None,
        details: Mapping[str, JsonValue] | None = None,
    ) -> Event:
        """Write an event unless the same execution wrote this kind of event for this version before: idempotent.

        For a step that may have been killed between its work and its end, and runs again. Arguments as of `append`.

        Returns:
            The event, the one written before or the new one.

        Raises:
            DeliveryError: S3 refused.
            LedgerBroken: The chain does not hold.
        """
        for event in reversed(self.events()):
            if (event.kind, event.by, event.version) == (kind, by, version):
                return event
        return self.append(kind, by=by, version=version, model_package=model_package, details=details)

    def events(self) -> list[Event]:
        """Return every event, oldest first, as the chain that ends in the last one's object holds them.

        Raises:
            LedgerBroken: The chain does not hold; the message names the first bad event.
            DeliveryError: S3 refused.
        """
        return list(self._read_chain().events)

    def audit(self) -> list[Event]:
        """Read and verify each event's own object, oldest first: one request an event. Errors as of `events`."""
        return list(self._extended(_Chain(), self._list(1)).events)

    def _read_chain(self) -> _Chain:
        """Read what is new since this process, or whoever wrote the checkpoint, read the ledger."""
        known = _verified.get(str(self._prefix), _Chain())
        listed = self._list(len(known.events)) if known.events else {}
        if not known.events or listed.get(len(known.events)) != known.etag:
            known, listed = self._from_checkpoint()
        chain = self._extended(known, listed)
        _verified[str(self._prefix)] = chain
        return chain

    def _from_checkpoint(self) -> tuple[_Chain, dict[int, str]]:
        """Return the events of the checkpoint, and the listing from its last one on; no event when that one's object is another, or none."""
        bodies = checkpoint.read(self._s3, self._prefix)
        listed = self._list(len(bodies))
        if not bodies:
            return _Chain(), listed
        try:
            chain = self._followed(_Chain(), bodies)
            if len(bodies) not in listed:
                raise LedgerBroken(f"{self._uri(len(bodies))}, its last event, is not there")
            if self._read(len(bodies)) != bodies[-1]:
                raise LedgerBroken(f"{self._uri(len(bodies))}, its last event, is another one")
        except LedgerBroken as error:
            flaw = str(error).removeprefix(_BROKEN_AT).removesuffix(f"; {_WHAT_NEXT}")  # it is the copy's, not the ledger's
            logger.warning(f"the checkpoint of {self._prefix} is not used, and each event is read: {flaw}")
            return _Chain(), self._list(1)
        return replace(chain, etag=listed[len(bodies)], in_checkpoint=len(bodies)), listed

    def _extended(self, chain: _Chain, listed: Mapping[int, str]) -> _Chain:
        """Read the events behind those of a chain, and verify that they follow it."""
        numbers = [number for number in listed if number > len(chain.events)]
        with ThreadPoolExecutor(_READERS) as readers:
            bodies = list(readers.map(self._read, numbers))
        for place, number in enumerate(numbers, start=len(chain.events) + 1):
            if number != place:
                raise LedgerBroken(f"{_BROKEN_AT}{self._uri(place)}: it is gone, but later events are there; {_WHAT_NEXT}")
        return replace(self._followed(chain, bodies), etag=listed[numbers[-1]]) if numbers else chain

    def _followed(self, chain: _Chain, bodies: Sequence[bytes]) -> _Chain:
        """Put events behind a chain, each of which must hold the digest of the one before it."""
        events, previous = list(chain.events), _sha256(chain.bodies)
        for body in bodies:
            events.append(self._checked(len(events) + 1, body, previous))
            previous = _sha256([body])
        return replace(chain, events=tuple(events), bodies=(*chain.bodies, *bodies))

    def _write_checkpoint(self, chain: _Chain) -> None:
        """Write the checkpoint when it is far enough behind."""
        if len(chain.events) - chain.in_checkpoint < _CHECKPOINT_EVERY:
            return
        if checkpoint.write(self._s3, self._prefix, chain.bodies, **self._options):
            _verified[str(self._prefix)] = replace(chain, in_checkpoint=len(chain.events))

    def _checked(self, number: int, body: bytes, previous: str | None) -> Event:
        place = self._uri(number)
        try:
            event = Event.model_validate_json(body)
        except ValidationError as error:
            raise LedgerBroken(f"{_BROKEN_AT}{place}: it is not an event: {error}; {_WHAT_NEXT}") from error
        if event.sequence != number:
            raise LedgerBroken(f"{_BROKEN_AT}{place}: it says that it is event {event.sequence}; {_WHAT_NEXT}")
        if event.previous_sha256 != previous:
            raise LedgerBroken(
                f"{_BROKEN_AT}{place}: it follows an event of sha256 {event.previous_sha256}, but the one before it has "
                f"{previous}: one of the two was changed; {_WHAT_NEXT}"
            )
        return event

    def _list(self, first: int) -> dict[int, str]:
        """List the events from this number on, ascending, each with its entity tag."""
        found: dict[int, str] = {}
        size = 10**_BLOCK_DIGITS
        block = first // size
        with s3.translate_client_errors(f"list {self._prefix}"):
            while True:
                pages = self._s3.get_paginator("list_objects_v2").paginate(
                    Bucket=self._prefix.bucket,
                    Prefix=self._prefix.key + f"{block * size:08d}"[:-_BLOCK_DIGITS],
                    Delimiter="/",
                    StartAfter=self._uri(max(first, 1) - 1).key,
                )
                for item in (item for page in pages for item in page.get("Contents", [])):
                    if match := _KEY.fullmatch(item["Key"].removeprefix(self._prefix.key)):
                        found[int(match[1])] = item["ETag"]
                block += 1
                if block * size - 1 not in found:
                    return found

    def _read(self, number: int) -> bytes:
        body = s3.read(self._s3, self._uri(number))
        if body is None:
            raise LedgerBroken(f"{_BROKEN_AT}{self._uri(number)}: it went away while it was read; {_WHAT_NEXT}")
        return body

    def _uri(self, number: int) -> s3.S3Uri:
        return self._prefix / f"{number:08d}.json"


def _sha256(bodies: Sequence[bytes]) -> str | None:
    """Return the digest of the last of these events, hexadecimal; None when there is none."""
    return hashlib.sha256(bodies[-1]).hexdigest() if bodies else None


_BROKEN_AT = "the ledger is broken at "
_WHAT_NEXT = (
    "the bucket's versions of it have the original: delete what is in front of that one, for which whoever may has to take the statement "
    "LedgerStays out of the bucket's policy; CloudTrail says who changed the policy before"
)


def newest(events: Iterable[Event], *kinds: EventKind) -> Event | None:
    """Return the last event of one of these kinds; None when there is none."""
    return next((event for event in reversed(list(events)) if event.kind in kinds), None)
