"""Writes of S3 objects, one at a time for each key, and only where their conditions hold.

"How to prevent object overwrites with conditional writes" in S3's user guide: ``If-None-Match: *`` writes only where there is no
object, ``If-Match: ETAG`` only over that one; of several conditional writes at once the first to finish succeeds and the others get
412; 404 is the answer to an ``If-Match`` where there is nothing, and 409 where a delete came between a conditional write's beginning
and its end. moto looks and then writes, so that of many at once several succeed, and knows no conditions of CopyObject.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from sagemaker_local.errors import AwsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from sagemaker_local.moto_bridge.bridge import Moto

Key = tuple[str, str]
"""Bucket and key."""


@dataclass(eq=False)
class ObjectWrite:
    """A write under way: which object, on which conditions, and whether that object was deleted meanwhile."""

    key: Key
    if_match: str | None = None
    if_none_match: str | None = None
    overtaken: bool = False

    @classmethod
    def of(cls, key: Key, headers: Mapping[str, str]) -> ObjectWrite:
        """Return the write that a request's headers ask for."""
        return cls(key, headers.get("if-match"), headers.get("if-none-match"))

    @property
    def conditional(self) -> bool:
        """Whether it has a condition at all."""
        return self.if_match is not None or self.if_none_match is not None

    def check(self, etag: str | None) -> None:
        """Refuse the write where its condition does not hold. ``etag`` is the present object's, None where there is none.

        Raises:
            AwsError: ``ConditionalRequestConflict`` (409), ``NoSuchKey`` (404) or ``PreconditionFailed`` (412); ``NotImplemented``
                (501) for an ``If-None-Match`` with an ETag, which S3 does not have for writes.
        """
        if self.if_none_match not in (None, "*"):
            raise AwsError("NotImplemented", "A header you provided implies functionality that is not implemented", 501)
        if self.conditional and self.overtaken:
            message = "The conditional request cannot succeed due to a conflicting operation against this resource."
            raise AwsError("ConditionalRequestConflict", message, 409)
        if self.if_match is not None and etag is None:
            raise AwsError("NoSuchKey", "The specified key does not exist.", 404)
        unmatched = self.if_match is not None and etag is not None and self.if_match.strip('"') != etag.strip('"')
        if unmatched or (self.if_none_match is not None and etag is not None):
            raise AwsError("PreconditionFailed", "At least one of the pre-conditions you specified did not hold", 412)


@dataclass
class ObjectWrites:
    """The writes under way. Lives on the server's event loop."""

    moto: Moto
    _locks: WeakValueDictionary[Key, asyncio.Lock] = field(default_factory=WeakValueDictionary)
    _under_way: dict[Key, set[ObjectWrite]] = field(default_factory=dict)

    @asynccontextmanager
    async def begun(self, write: ObjectWrite) -> AsyncIterator[ObjectWrite]:
        """For the time in which a write's bytes come and it is made."""
        self._under_way.setdefault(write.key, set()).add(write)
        try:
            yield write
        finally:
            others = self._under_way[write.key]
            others.discard(write)
            if not others:
                del self._under_way[write.key]

    @asynccontextmanager
    async def turn(self, write: ObjectWrite) -> AsyncIterator[None]:
        """Wait until the write is alone on its key, and check its condition.

        Raises:
            AwsError: the condition does not hold.
        """
        lock = self._locks.setdefault(write.key, asyncio.Lock())
        async with lock:
            write.check(self._etag(write.key) if write.conditional else None)
            yield

    def deleted(self, key: Key) -> None:
        """Note that an object was deleted: conditional writes of it that have begun before are too late."""
        for write in self._under_way.get(key, ()):
            write.overtaken = True

    def _etag(self, key: Key) -> str | None:
        found = self.moto.backend("s3", "aws").get_object(*key)
        return None if found is None else str(found.etag)
