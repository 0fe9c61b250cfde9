"""Which paths of a repository may become object keys and file names: a listing comes from outside and is untrusted.

A path is refused when it would leave its folder, when no terminal or file system shows it as it is, or when two of them are one file on
some machine (by case, by Unicode normalization) or one is a file and the other its folder.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from delivery.errors import InputError
from delivery.names import MANIFEST_FILE

MAX_KEY_BYTES = 1024
"""The longest object key, in UTF-8 ("Naming Amazon S3 objects", S3 user guide)."""
_MAX_NAME_BYTES = 255
"""The longest file name of Linux's file systems."""
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Control and format characters (joiners, byte order marks, directions: HFS+ ignores some of them in names), surrogates, separators of lines."""


def refuse_unsafe(paths: Iterable[str], where: str) -> None:
    """Refuse paths that leave their folder or cannot be shown.

    Args:
        paths: Paths of files, as the Hub lists them.
        where: The repository and its revision, for the message.

    Raises:
        InputError: One of them is unsafe; the message shows it escaped.
    """
    for path in paths:
        if reason := _why_unsafe(path):
            raise InputError(
                f"{where} lists the file {ascii(path)[:300]}, {reason}: nothing of it is fetched; choose another repository or revision"
            )


def refuse_collisions(paths: Iterable[str], prefix: str, where: str) -> None:
    """Refuse chosen files of which two would be one object or file somewhere, or one is too long for a key.

    Args:
        paths: Paths of the files that are to be fetched.
        prefix: What stands before each in its object key.
        where: The repository and its revision, for the message.

    Raises:
        InputError: Two of them collide, or a key has more than 1,024 bytes.
    """
    seen: dict[str, str] = {_identity(MANIFEST_FILE): MANIFEST_FILE}  # which is written beside them
    folders: dict[str, str] = {}
    for path in paths:
        if len((prefix + path).encode()) > MAX_KEY_BYTES:
            raise InputError(
                f"{where}: {path[:100]}… would be an object key of more than {MAX_KEY_BYTES:,} bytes; leave it out with weights.exclude"
            )
        same = _identity(path)
        twin = seen.setdefault(same, path)
        if twin != path:
            raise InputError(
                f"{where}: {twin!a} and {path!a} are one file where case or Unicode normalization does not count; leave one "
                "out with weights.exclude"
            )
        parts = same.split("/")
        folders.update({"/".join(parts[:depth]): path for depth in range(1, len(parts))})
    for same, path in seen.items():
        if same in folders:
            raise InputError(
                f"{where}: {path!a} is a file and, for {folders[same]!a}, a folder; leave one out with weights.exclude"
            )


def _identity(path: str) -> str:
    """Return the form in which two paths are equal if some file system takes them for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def _why_unsafe(path: str) -> str:
    """Return why the path is unsafe; empty if it is not."""
    names = path.split("/")
    if path.startswith("/"):
        return "which is absolute"
    if {"", ".", ".."} & set(names):
        return "which has an empty part, `.` or `..` in it"
    if "\\" in path:
        return "which has a backslash in it"
    if any(unicodedata.category(character) in _UNPRINTABLE for character in path):
        return "which has a character in it that cannot be shown"
    if any(len(name.encode()) > _MAX_NAME_BYTES for name in names):
        return f"which has a part of more than {_MAX_NAME_BYTES} bytes"
    return ""
