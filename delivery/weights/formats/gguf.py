"""The header of a GGUF file: magic, version, counts, metadata, then each tensor's name, shape, type and place.

The layout is that of the format's specification (ggml-org/ggml, docs/gguf.md); block and type sizes are those of ggml's `type_traits`.
"""

from __future__ import annotations

import struct
from math import prod

from delivery.weights.formats.header import HeaderCheck

_FIXED_BYTES = 24  # magic, version, number of tensors, number of metadata entries
_VERSIONS = (2, 3)
_SCALAR_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY = 8, 9
_ALIGNMENT_KEY, _DEFAULT_ALIGNMENT = "general.alignment", 32
_MAX_NAME_BYTES, _MAX_DIMENSIONS, _MAX_NESTING = 65_535, 4, 4
_LEAST_ENTRY_BYTES, _LEAST_TENSOR_BYTES = 13, 24
_GROWTH_BYTES = 1024**2
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36), 10: (256, 84), 11: (256, 110),
    12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292), 16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50),
    20: (32, 18), 21: (256, 110), 22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8),
    29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17), 40: (64, 36),
}  # fmt: skip
"""ggml type → elements of a block, bytes of a block."""


class _TooShort(Exception):
    """More bytes are needed."""


class GgufHeader(HeaderCheck):
    """The header of one GGUF file."""

    format_name = "GGUF"

    @property
    def first_bytes(self) -> int:
        """Magic, version and counts."""
        return _FIXED_BYTES

    def parse(self, header: memoryview) -> int:
        """Read from the beginning as far as the bytes go; see `HeaderCheck.parse`."""
        if len(header) < _FIXED_BYTES:
            raise self.refusal(f"it has {len(header)} bytes, and its header takes {_FIXED_BYTES} or more")
        magic, version, tensors, entries = struct.unpack_from("<4sIQQ", header)
        if magic != b"GGUF":
            raise self.refusal(f"it begins with {bytes(magic)!r}")
        if version not in _VERSIONS:
            raise self.refusal(f"it is of version {version}, and {' and '.join(map(str, _VERSIONS))} are known")
        if tensors * _LEAST_TENSOR_BYTES + entries * _LEAST_ENTRY_BYTES > self.size_bytes:
            raise self.refusal(f"it says that it has {tensors:,} tensors and {entries:,} metadata entries")
        reader = _Reader(header)
        try:
            alignment = self._metadata(reader, entries)
            seen = set[str]()
            places = [self._tensor(reader, alignment, seen) for _ in range(tensors)]
        except _TooShort:
            return min(max(2 * len(header), len(header) + _GROWTH_BYTES), max(self.size_bytes, len(header) + 1))
        data = -(-reader.offset // alignment) * alignment
        for end, name in places:
            if data + end > self.size_bytes:
                raise self.refusal(f"the tensor {name[:100]!r} ends at byte {data + end:,}")
        return reader.offset

    def _metadata(self, reader: _Reader, entries: int) -> int:
        """Read all entries, and return the alignment of the tensors."""
        alignment, seen = _DEFAULT_ALIGNMENT, set[str]()
        for _ in range(entries):
            key = self._name(reader, seen)
            kind = reader.number("<I")
            start = reader.offset
            self._skip_value(reader, kind, 0)
            if key == _ALIGNMENT_KEY and kind == 4:
                alignment = int.from_bytes(reader.view[start : reader.offset], "little")
                if alignment < 8 or alignment % 8:
                    raise self.refusal(f"its alignment is {alignment}, which is no multiple of 8")
        return alignment

    def _skip_value(self, reader: _Reader, kind: int, depth: int) -> None:
        if kind in _SCALAR_BYTES:
            reader.take(_SCALAR_BYTES[kind])
        elif kind == _STRING:
            self._string(reader, self.size_bytes)
        elif kind == _ARRAY and depth < _MAX_NESTING:
            inner, count = reader.number("<I"), reader.number("<Q")
            if count > self.size_bytes:
                raise self.refusal(f"an array of its metadata says that it has {count:,} values")
            if inner in _SCALAR_BYTES:
                reader.take(_SCALAR_BYTES[inner] * count)
                return
            for _ in range(count):
                self._skip_value(reader, inner, depth + 1)
        else:
            raise self.refusal(f"its metadata has a value of type {kind}")

    def _tensor(self, reader: _Reader, alignment: int, seen: set[str]) -> tuple[int, str]:
        """Read one tensor's description; return where it ends in the tensors' part, and its name."""
        name = self._name(reader, seen)
        dimensions = reader.number("<I")
        if dimensions > _MAX_DIMENSIONS:
            raise self.refusal(f"the tensor {name[:100]!r} has {dimensions} dimensions, and {_MAX_DIMENSIONS} are the most")
        shape = [reader.number("<Q") for _ in range(dimensions)]
        kind, offset = reader.number("<I"), reader.number("<Q")
        if kind not in _BLOCKS:
            raise self.refusal(f"the tensor {name[:100]!r} is of ggml type {kind}, which is not known")
        if offset % alignment:
            raise self.refusal(f"the tensor {name[:100]!r} begins at {offset:,}, which is no multiple of {alignment}")
        elements, block_bytes = _BLOCKS[kind]
        if shape and shape[0] % elements:
            raise self.refusal(
                f"the tensor {name[:100]!r} has rows of {shape[0]:,} elements, which are no whole blocks of {elements}"
            )
        return offset + prod(shape) // elements * block_bytes, name

    def _name(self, reader: _Reader, seen: set[str]) -> str:
        """Read the name of an entry or a tensor, which no other may have."""
        body = bytes(self._string(reader, _MAX_NAME_BYTES))
        try:
            name = body.decode()
        except UnicodeDecodeError:
            raise self.refusal(f"the name {body[:100]!r} in its header is not UTF-8") from None
        if name in seen:
            raise self.refusal(f"the name {name[:100]!r} stands twice in its header")
        seen.add(name)
        return name

    def _string(self, reader: _Reader, most_bytes: int) -> memoryview:
        length = reader.number("<Q")
        if length > most_bytes:
            raise self.refusal(f"a string of its header says that it has {length:,} bytes")
        return reader.take(length)


class _Reader:
    """The bytes behind the fixed part."""

    def __init__(self, view: memoryview) -> None:
        self.view = view
        self.offset = _FIXED_BYTES

    def take(self, count: int) -> memoryview:
        if self.offset + count > len(self.view):
            raise _TooShort
        self.offset += count
        return self.view[self.offset - count : self.offset]

    def number(self, kind: str) -> int:
        (found,) = struct.unpack(kind, self.take(struct.calcsize(kind)))
        return int(found)
