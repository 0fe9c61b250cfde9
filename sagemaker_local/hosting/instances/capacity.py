"""How many instances of a type this machine plays to have: what the images file's ``capacity`` says, for all endpoints together."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sagemaker_local.context import Context

# What DescribeEndpoint's FailureReason says on AWS (quoted in aws/deep-learning-containers, pull request 6673).
NO_CAPACITY = (
    "Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity error. "
    "Please retry using a different ML instance type or after some time."
)


@dataclass
class Capacity:
    """The instances that are taken."""

    context: Context
    _taken: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, instance_type: str) -> bool:
        """Take one instance; False when there is none left."""
        limit = self.context.images.capacity.get(instance_type)
        with self._lock:
            if limit is not None and self._taken[instance_type] >= limit:
                return False
            self._taken[instance_type] += 1
            return True

    def give(self, instance_type: str) -> None:
        """Give one back."""
        with self._lock:
            self._taken[instance_type] -= 1
