"""Routing strategies: which instance of a variant gets a request ("RoutingStrategy" of ProductionVariantRoutingConfig).

SageMaker does not publish how PREFIX_AWARE and KV_AWARE decide. Here PREFIX_AWARE sends equal beginnings of a request's body to the same
instance, and KV_AWARE to the instance that has seen the longest part of the body before, as a prefix cache would hold it. Both give
way to the least busy instance when theirs has many more requests than the others.
"""

from __future__ import annotations

import random
import zlib
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sagemaker_local.hosting.instances.instance import Instance

PREFIX_BYTES = 512
BLOCK_BYTES = 128
_BLOCKS_REMEMBERED = 8192  # an instance; at 128 bytes a block, a megabyte of prompts
_SLACK = 8  # requests that an instance may have more than the least busy one, before affinity gives way


def at_random(instances: Sequence[Instance], body: bytes) -> Instance:
    """Return RANDOM, the default."""
    return random.choice(instances)  # noqa: S311 -- traffic, not secrets


def least_outstanding(instances: Sequence[Instance], body: bytes) -> Instance:
    """Return LEAST_OUTSTANDING_REQUESTS; among equals, at random."""
    fewest = min(instance.in_flight for instance in instances)
    return random.choice([instance for instance in instances if instance.in_flight == fewest])  # noqa: S311


def by_prefix(instances: Sequence[Instance], body: bytes) -> Instance:
    """Return PREFIX_AWARE: rendezvous hashing of the body's beginning, so that few prefixes move when instances come and go."""
    prefix = body[:PREFIX_BYTES]
    best = max(instances, key=lambda instance: zlib.crc32(prefix, zlib.crc32(instance.id.encode())))
    return _unless_busy(best, instances, body)


@dataclass
class KvAware:
    """KV_AWARE: remembers which blocks of bodies went to which instance."""

    _seen: dict[str, OrderedDict[int, None]] = field(default_factory=dict)

    def __call__(self, instances: Sequence[Instance], body: bytes) -> Instance:
        """Return the instance with the longest known beginning; the least busy where nothing is known."""
        blocks = _blocks(body)
        lengths = [self._known(instance.id, blocks) for instance in instances]
        longest = max(lengths)
        candidates = [instance for instance, length in zip(instances, lengths, strict=True) if length == longest]
        chosen = _unless_busy(least_outstanding(candidates, body), instances, body)
        self._remember(chosen.id, blocks)
        for gone in self._seen.keys() - {instance.id for instance in instances}:
            del self._seen[gone]
        return chosen

    def _known(self, instance: str, blocks: list[int]) -> int:
        seen = self._seen.get(instance) or OrderedDict()
        return next((count for count, block in enumerate(blocks) if block not in seen), len(blocks))

    def _remember(self, instance: str, blocks: list[int]) -> None:
        seen = self._seen.setdefault(instance, OrderedDict())
        for block in blocks:
            seen[block] = None
            seen.move_to_end(block)
        while len(seen) > _BLOCKS_REMEMBERED:
            seen.popitem(last=False)


def strategy(name: str) -> Callable[[Sequence[Instance], bytes], Instance]:
    """Return the strategy of that name, with a memory of its own where it has one."""
    if name == "KV_AWARE":
        return KvAware()
    return {"LEAST_OUTSTANDING_REQUESTS": least_outstanding, "PREFIX_AWARE": by_prefix}.get(name, at_random)


def _blocks(body: bytes) -> list[int]:
    """Return a hash of every beginning of the body that is whole blocks long."""
    hashes, value = [], 0
    for start in range(0, len(body) - BLOCK_BYTES + 1, BLOCK_BYTES):
        value = zlib.crc32(body[start : start + BLOCK_BYTES], value)
        hashes.append(value)
    return hashes


def _unless_busy(best: Instance, instances: Sequence[Instance], body: bytes) -> Instance:
    fewest = min(instance.in_flight for instance in instances)
    return best if best.in_flight <= fewest + _SLACK else least_outstanding(instances, body)
