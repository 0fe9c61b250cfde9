"""The planner, for every size there can be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delivery.errors import InputError
from delivery.hub.fetch_settings import MAX_OBJECT_BYTES, MAX_PART_BYTES, MAX_PARTS, MIB, MIN_PART_BYTES
from delivery.hub.selection import HubFile
from steps.fetch_weights import transfer_plan

sizes = st.integers(0, 3 * 1024**3) | st.integers(0, MAX_OBJECT_BYTES)
preferred = st.integers(1, 64).map(lambda n: n * MIB)


def file(size: int, name: str = "a") -> HubFile:
    return HubFile(name, size, "0" * 40)


@given(sizes, preferred)
def test_parts_are_what_s3_takes(size: int, part_bytes: int) -> None:
    step = transfer_plan.part_bytes(size, part_bytes)
    assert MIN_PART_BYTES <= step <= MAX_PART_BYTES
    assert -(-size // step) <= MAX_PARTS


@given(st.lists(st.integers(0, 300 * MIB), min_size=1, max_size=8), preferred, st.integers(1, 5))
def test_every_byte_exactly_once_and_each_file_in_its_own_order(file_sizes: list[int], part_bytes: int, width: int) -> None:
    files = [file(size, f"f{n}") for n, size in enumerate(file_sizes)]
    ends = {f.path: 0 for f in files}
    numbers = {f.path: 0 for f in files}
    begun: list[str] = []
    for part in transfer_plan.order(files, part_bytes, width):
        path = part.file.path
        if part.number == 1:
            begun.append(path)
        assert part.offset == ends[path]
        assert part.number == numbers[path] + 1
        ends[path], numbers[path] = part.offset + part.size, part.number
        assert part.size >= MIN_PART_BYTES or ends[path] == part.file.size
        assert sum(ends[p] < next(f for f in files if f.path == p).size for p in begun) <= width
    assert ends == {f.path: f.size for f in files}
    assert all(numbers.values())  # an empty file is one empty part


@given(st.lists(sizes, max_size=30), st.integers(1, 20))
def test_shares_are_a_partition_and_balanced(file_sizes: list[int], hosts: int) -> None:
    files = [file(size, f"f{n:02}") for n, size in enumerate(file_sizes)]
    shares = transfer_plan.shares(files, hosts)
    assert sorted(f.path for share in shares for f in share) == [f.path for f in files]
    loads = [sum(f.size for f in share) for share in shares]
    assert max(loads) - min(loads) <= max(file_sizes, default=0)


def test_too_large_a_file_is_refused() -> None:
    with pytest.raises(InputError, match="more than an S3 object"):
        transfer_plan.part_bytes(MAX_OBJECT_BYTES + 1, 16 * MIB)


def test_memory_that_cannot_hold_two_parts_is_refused_with_what_would() -> None:
    with pytest.raises(InputError, match="set it to 209715200 or more"):
        transfer_plan.buffer_bytes([file(1_000_000 * MIB)], 16 * MIB, 128 * MIB)
