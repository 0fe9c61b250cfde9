"""SageMaker resources kept in the store as their Describe answers, one a region and name.

moto keeps these too, but loses members that it does not know and everything when the process ends.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sagemaker_local.state.paging import within

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sagemaker_local.state.store import Store

Record = dict[str, Any]


@dataclass(frozen=True)
class Records:
    """The resources of one kind, such as ``endpoint-config``."""

    store: Store
    kind: str

    def get(self, region: str, name: str) -> Record | None:
        """Return a resource, None when there is none."""
        found: Record | None = self.store.get(self.kind, f"{region}/{name}")
        return found

    def put(self, region: str, name: str, record: Record) -> None:
        """Keep a resource, new or changed."""
        self.store.put(self.kind, f"{region}/{name}", record)

    def add(self, region: str, name: str, record: Record) -> bool:
        """Keep a new resource; False where the name is taken, whoever else makes one of it at this moment."""
        return self.store.add(self.kind, f"{region}/{name}", record)

    def change(self, region: str, name: str, change: Callable[[Record | None], Record]) -> Record:
        """Replace a resource by what ``change`` makes of it, with no other change between; returns it. See ``Store.change``."""
        changed: Record = self.store.change(self.kind, f"{region}/{name}", change)
        return changed

    def delete(self, region: str, name: str) -> bool:
        """Forget a resource; False when there is none."""
        return self.store.delete(self.kind, f"{region}/{name}")

    def everywhere(self) -> list[tuple[str, Record]]:
        """Return every (region, resource), oldest first."""
        return [(key.partition("/")[0], record) for key, record in self.store.list(self.kind)]

    def all_in(self, region: str) -> list[Record]:
        """Return every resource of a region, oldest first."""
        return [record for there, record in self.everywhere() if there == region]


def created(request: Mapping[str, Any], arn_member: str, arn: str) -> Record:
    """Return a resource just made: its request (tags are kept elsewhere), its ARN and its time."""
    kept = {name: value for name, value in request.items() if name not in ("Tags", "ClientToken") and value is not None}
    return {**kept, arn_member: arn, "CreationTime": time.time()}


def picked(record: Mapping[str, Any], members: tuple[str, ...]) -> Record:
    """Return a summary: those of ``members`` that the resource has."""
    return {name: record[name] for name in members if name in record}


def listed(records: list[Record], request: Mapping[str, Any], name_member: str) -> list[Record]:
    """Return the resources that a List action's common filters let through: NameContains and the times."""

    def wanted(record: Record) -> bool:
        modified = float(record.get("LastModifiedTime") or record["CreationTime"])
        return (
            request.get("NameContains", "").lower() in str(record.get(name_member, "")).lower()
            and within(record["CreationTime"], request.get("CreationTimeAfter"), request.get("CreationTimeBefore"))
            and within(modified, request.get("LastModifiedTimeAfter"), request.get("LastModifiedTimeBefore"))
        )

    return [record for record in records if wanted(record)]
