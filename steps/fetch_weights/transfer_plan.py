"""What is moved in which order: pure functions from files to parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from delivery.errors import InputError
from delivery.hub.fetch_settings import MAX_OBJECT_BYTES, MAX_PARTS, MIB, MIN_PART_BYTES
from delivery.hub.hub_source import FilePart
from delivery.hub.selection import HubFile


def part_bytes(size: int, preferred: int) -> int:
    """Choose the size of a file's parts: `preferred` (5 MiB at least) unless that made more than 10,000; then the least whole MiB that does not."""
    if size > MAX_OBJECT_BYTES:
        raise InputError(f"{size:,} bytes are more than an S3 object may have ({MAX_OBJECT_BYTES:,})")
    preferred = max(preferred, MIN_PART_BYTES)
    if size <= preferred * MAX_PARTS:
        return preferred
    needed = -(-size // MAX_PARTS)
    return -(-needed // MIB) * MIB


def split(file: HubFile, preferred: int) -> list[FilePart]:
    """Split a file into parts: each byte exactly once, in order; an empty file is one empty part."""
    step = part_bytes(file.size, preferred)
    offsets = range(0, max(file.size, 1), step)
    return [FilePart(file, number, offset, min(step, file.size - offset)) for number, offset in enumerate(offsets, 1)]


def order(files: Sequence[HubFile], preferred: int, width: int) -> Iterator[FilePart]:
    """Order all parts as they are downloaded: `width` files abreast, so that as many digests can be computed at once.

    Within a file the order is the file's own: a digest needs it. Largest first, so that no long file is left alone at the end.
    """
    waiting = sorted(files, key=lambda f: (-f.size, f.path))
    lanes: list[Iterator[FilePart]] = []
    while waiting or lanes:
        while waiting and len(lanes) < width:
            lanes.append(iter(split(waiting.pop(0), preferred)))
        for lane in list(lanes):
            part = next(lane, None)
            if part is None:
                lanes.remove(lane)
            else:
                yield part


def shares(files: Sequence[HubFile], hosts: int) -> list[list[HubFile]]:
    """Share files among hosts: the largest file first, each to the host that has the fewest bytes so far."""
    result: list[list[HubFile]] = [[] for _ in range(hosts)]
    loads = [0] * hosts
    for file in sorted(files, key=lambda f: (-f.size, f.path)):
        least = loads.index(min(loads))
        result[least].append(file)
        loads[least] += file.size
    return result


def buffer_bytes(files: Sequence[HubFile], preferred: int, memory_bytes: int) -> int:
    """Choose the size of one buffer: the largest part of the plan. InputError when fewer than two fit into `memory_bytes`."""
    largest = max(files, key=lambda f: f.size)
    size = min(part_bytes(largest.size, preferred), max(largest.size, 1))
    if 2 * size > memory_bytes:
        raise InputError(
            f"{largest.path} has {largest.size:,} bytes, so its parts have {size:,} (S3 takes {MAX_PARTS:,} parts), and weights.memory_bytes "
            f"{memory_bytes:,} cannot hold two of them; set it to {2 * size} or more"
        )
    return size
