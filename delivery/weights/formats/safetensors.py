"""The header of a safetensors file: its length, then JSON that names each tensor's dtype, shape and place.

The rules are those of the format's own reader (huggingface/safetensors, README "Format", and `Metadata::validate` in
safetensors/src/tensor.rs): a header of at most 100,000,000 bytes, no key twice, metadata of strings alone, offsets without holes or overlaps,
sizes that 64 bits hold, and a buffer that ends with the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from delivery.weights.formats.header import HeaderCheck

_LENGTH_BYTES = 8
_MAX_HEADER_BYTES = 100_000_000
_MAX_SIZE = 2**64 - 1
_LONGEST_SHOWN = 100
_DTYPE_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64,
    "F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
}  # fmt: skip


class SafetensorsHeader(HeaderCheck):
    """The header of one safetensors file."""

    format_name = "safetensors"

    @property
    def first_bytes(self) -> int:
        """The header's length: 8 bytes, little endian."""
        return _LENGTH_BYTES

    def parse(self, header: memoryview) -> int:
        """Check the length, then the JSON behind it; see `HeaderCheck.parse`."""
        if len(header) < _LENGTH_BYTES:
            raise self.refusal(f"it has {len(header)} bytes, and the length of its header alone takes {_LENGTH_BYTES}")
        length = int.from_bytes(header[:_LENGTH_BYTES], "little")
        if length > _MAX_HEADER_BYTES:
            raise self.refusal(f"its header says that it has {length:,} bytes, and {_MAX_HEADER_BYTES:,} are the most")
        needed = _LENGTH_BYTES + length
        if needed <= len(header):
            self._check(bytes(header[_LENGTH_BYTES:needed]), self.size_bytes - needed)
        return needed

    def _check(self, body: bytes, buffer_bytes: int) -> None:
        try:
            tensors = json.loads(body, object_pairs_hook=_unique)
        except (ValueError, RecursionError) as error:
            raise self.refusal(f"its header is not JSON ({type(error).__name__}: {error!s:.200})") from None
        if not body.startswith(b"{") or not isinstance(tensors, dict):
            raise self.refusal("its header is not a JSON object")
        self._check_metadata(tensors.pop("__metadata__", None))
        end = 0
        for begin, tensor_end, name in sorted(self._place(name, tensor) for name, tensor in tensors.items()):
            if begin != end:
                raise self.refusal(
                    f"the tensor {name[:_LONGEST_SHOWN]!r} begins at {begin:,}, and the one before it ends at {end:,}"
                )
            end = tensor_end
        if end != buffer_bytes:
            raise self.refusal(f"its tensors have {end:,} bytes, and {buffer_bytes:,} follow the header")

    def _check_metadata(self, metadata: Any) -> None:
        """Refuse metadata that are not text by text; there may be none."""
        if metadata is None:
            return
        if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
            raise self.refusal("its __metadata__ is not an object of strings")

    def _place(self, name: str, tensor: Any) -> tuple[int, int, str]:
        """Return where a tensor begins and ends, and its name."""
        try:
            name.encode()
            bits, shape, (begin, end) = _DTYPE_BITS[tensor["dtype"]], tensor["shape"], tensor["data_offsets"]
            if not all(type(number) is int and 0 <= number <= _MAX_SIZE for number in [*shape, begin, end]):
                raise ValueError(f"shape {_shown(shape)} and data_offsets {_shown([begin, end])} are no whole numbers of 64 bits")
            size, rest = divmod(_size_bits(shape, bits), 8)
        except (KeyError, TypeError, ValueError) as error:
            raise self.refusal(f"the tensor {name[:_LONGEST_SHOWN]!r} is not described as a tensor is ({error!r:.300})") from None
        if rest or end - begin != size:
            raise self.refusal(
                f"the tensor {name[:_LONGEST_SHOWN]!r} of dtype {tensor['dtype']} and shape {_shown(shape)} has {end - begin:,} bytes"
            )
        return begin, end, name


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a JSON object of its members, of which no two may have one name."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the name {name[:_LONGEST_SHOWN]!r} stands twice")
        found[name] = value
    return found


def _size_bits(shape: Iterable[int], bits: int) -> int:
    """Return how many bits a tensor has; ValueError beyond 64 bits on the way, where the format's reader stops, too: a product of many large
    numbers would take hours."""
    size = 1
    for number in shape:
        size *= number
        if size > _MAX_SIZE:
            raise ValueError("its size is more than 64 bits hold")
    return size * bits


def _shown(numbers: Any) -> str:
    """Return the beginning of a list, as it is written, however long it is."""
    return str(numbers) if len(numbers) <= 8 else f"{str(numbers[:8])[:-1]}, … ({len(numbers):,} in all)"
