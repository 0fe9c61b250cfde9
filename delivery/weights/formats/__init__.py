"""Formats of weight files, read as their bytes stream by: a file that no engine could load is refused before it is stored.

check = header_check("model.safetensors", size_bytes)
if check is not None:
    check.update(b"...")   # in the file's order; raises InputError as soon as the header cannot be right
"""

from __future__ import annotations

from pathlib import PurePosixPath

from delivery.weights.formats.gguf import GgufHeader
from delivery.weights.formats.header import HeaderCheck
from delivery.weights.formats.safetensors import SafetensorsHeader

_FORMATS: dict[str, type[HeaderCheck]] = {".safetensors": SafetensorsHeader, ".gguf": GgufHeader}


def header_check(path: str, size_bytes: int) -> HeaderCheck | None:
    """Return a check for the file's header, chosen by its name.

    Args:
        path: The file's path in its repository.
        size_bytes: How long the file is.

    Returns:
        A check to be fed with the file's bytes in order; None for files whose format has no header that could be checked.
    """
    kind = _FORMATS.get(PurePosixPath(path).suffix.lower())
    return kind(path, size_bytes) if kind else None
