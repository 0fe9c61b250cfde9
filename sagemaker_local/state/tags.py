"""Tags of the resources that this package keeps itself. Those of other resources are moto's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sagemaker_local.state.store import Store

_OWN = frozenset({
    "model", "endpoint", "endpoint-config", "model-package", "model-package-group", "pipeline",
    "processing-job", "training-job", "transform-job",
})  # fmt: skip
_KIND = "tags"

TagList = list[dict[str, str]]


@dataclass(frozen=True)
class Tags:
    """The tags of every resource of ours, by ARN."""

    store: Store

    @staticmethod
    def keeps(arn: str) -> bool:
        """Return whether the tags of this resource are kept here."""
        return arn.split(":")[-1].partition("/")[0] in _OWN

    def get(self, arn: str) -> TagList:
        """Return the tags of a resource, in the order in which their keys were first given."""
        found: dict[str, str] = self.store.get(_KIND, arn) or {}
        return [{"Key": key, "Value": value} for key, value in found.items()]

    def add(self, arn: str, tags: Sequence[dict[str, Any]]) -> None:
        """Add tags to a resource; a key that it has gets the new value."""
        if not tags:
            return
        added = {tag["Key"]: tag["Value"] for tag in tags}
        self.store.change(_KIND, arn, lambda found: (found or {}) | added)

    def remove(self, arn: str, keys: Iterable[str]) -> None:
        """Take tags from a resource."""
        gone = set(keys)

        def without(found: dict[str, str] | None) -> dict[str, str]:
            return {key: value for key, value in (found or {}).items() if key not in gone}

        self.store.change(_KIND, arn, without)

    def forget(self, arn: str) -> None:
        """Forget a resource that was deleted."""
        self.store.delete(_KIND, arn)
