"""How an endpoint's requests are shared between fleets: one in normal life, two while an update shifts them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sagemaker_local.hosting.instances.fleet import Fleet
    from sagemaker_local.hosting.instances.instance import Instance


@dataclass(frozen=True)
class TrafficSplit:
    """Fleets and the share of requests (0 to 1) that each gets. A value: shifting traffic is putting another in its place."""

    shares: tuple[tuple[Fleet, float], ...]

    @classmethod
    def to(cls, fleet: Fleet) -> TrafficSplit:
        """Return all requests to one fleet."""
        return cls(((fleet, 1.0),))

    @classmethod
    def split(cls, new: Fleet, old: Fleet, share: float) -> TrafficSplit:
        """Return this share of the requests to the new fleet, the others to the old one."""
        return cls(((new, share), (old, 1.0 - share)))

    @property
    def fleets(self) -> list[Fleet]:
        """The fleets."""
        return [fleet for fleet, _ in self.shares]

    def choose(self, target_variant: str | None, body: bytes) -> Instance | None:
        """Return the instance for the next request; None when nothing serves.

        Raises:
            KeyError: no fleet has the named variant.
        """
        if len(self.shares) == 1:
            return self.shares[0][0].choose(target_variant, body)
        first = random.choices(self.fleets, [share for _, share in self.shares])[0]  # noqa: S311 -- traffic, not secrets
        others = [fleet for fleet, share in self.shares if fleet is not first and share > 0]
        for fleet in [first, *others]:
            if target_variant and target_variant not in fleet.variants:
                continue
            if (instance := fleet.choose(target_variant, body)) is not None:
                return instance
        if target_variant and not any(target_variant in fleet.variants for fleet in self.fleets):
            raise KeyError(target_variant)
        return None
