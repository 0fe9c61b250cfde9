"""Files that are named by somebody else, an S3 key or a member of an archive: written below one folder, or not at all.

A key may be anything: ``/etc/passwd``, ``../../.ssh/authorized_keys``, ``a`` beside ``a/b``, or twice the same name to a file system that knows
neither case nor Unicode's two ways to write ``é``. What writes here is refused instead of written elsewhere or over another file.
"""

from __future__ import annotations

import errno
import posixpath
import tarfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from sagemaker_local.errors import UnsafeNameError

if TYPE_CHECKING:
    from collections.abc import Iterator

_NOT_A_NAME_HERE = {
    errno.ENOTDIR: "one part of it is a file already",
    errno.EEXIST: "one part of it is a file already",
    errno.EISDIR: "there is a folder of that name already",
    errno.ENAMETOOLONG: "it is longer than this machine's file names may be",
    errno.EILSEQ: "this machine's file names cannot have its characters",
    errno.ELOOP: "it leads through a link to itself",
}


@dataclass
class ReceivedFiles:
    """The files that one source brings to a folder.

    >>> with ReceivedFiles(Path("/tmp/weights")).writing("../escaped") as path:
    ...     path.write_text("not written")
    Traceback (most recent call last):
        ...
    sagemaker_local.errors.UnsafeNameError: '../escaped' is not written: it has '..'
    """

    root: Path
    _written: dict[tuple[int, int], str] = field(default_factory=dict)
    """Names by what they are to the file system, which alone knows which names are one."""

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Yield where to write the file of that name; its folders are there.

        Args:
            name: relative to the folder, with slashes.

        Raises:
            UnsafeNameError: it would be outside of the folder, over another file of this source, or is no name on this machine.
        """
        check_name(name)
        path = self.root / name
        try:
            if not path.resolve().is_relative_to(self.root.resolve()):
                raise UnsafeNameError(name, "a link leads it out of its folder")
            path.parent.mkdir(parents=True, exist_ok=True)
            self._refuse_second(path, name)
            yield path
            if path.exists():  # an archive is not, once it is unpacked
                self._written[_identity(path)] = name
        except OSError as error:
            if error.errno not in _NOT_A_NAME_HERE:
                raise
            raise UnsafeNameError(name, _NOT_A_NAME_HERE[error.errno]) from error

    def _refuse_second(self, path: Path, name: str) -> None:
        other = self._written.get(_identity(path)) if path.exists() else None
        if other is not None:
            raise UnsafeNameError(name, f"{other!r} is the same file on this machine")


def check_name(name: str) -> None:
    """Refuse a name that is none of a file below a folder.

    Raises:
        UnsafeNameError: it is empty, absolute, has ``..`` or a NUL, or is not Unicode.
    """
    if name.startswith("/"):
        raise UnsafeNameError(name, "it is absolute")
    if ".." in name.split("/"):
        raise UnsafeNameError(name, "it has '..'")
    if "\0" in name:
        raise UnsafeNameError(name, "it has a NUL")
    if not PurePosixPath(name).name:
        raise UnsafeNameError(name, "it is empty")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise UnsafeNameError(name, "it is not Unicode") from None


def extract(archive: Path, folder: Path) -> None:
    """Extract a tar archive, compressed or not, into a folder.

    Python's own filter refuses devices, and names and links that lead out. Names are looked at before it, as it makes absolute ones relative;
    and nothing is written through a link of the archive's own: that is where such filters have failed.

    Raises:
        UnsafeNameError: a member would be outside of the folder.
        tarfile.TarError: it is no archive, or a member is refused by the filter.
        OSError: it cannot be read or written.
    """
    with tarfile.open(archive, "r:*") as tar:
        links: set[str] = set()
        for member in tar:
            name = posixpath.normpath(member.name)
            leads_to = [member.name]
            if member.issym():
                leads_to.append(posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname)))
            elif member.islnk():
                leads_to.append(posixpath.normpath(member.linkname))
            for one in leads_to:
                if posixpath.normpath(one) != ".":
                    check_name(one)
            if not links.isdisjoint(_above(name)):
                raise UnsafeNameError(member.name, "it lies behind a link of the archive")
            if member.issym():
                links.add(name)
            tar.extract(member, folder, filter="data")


def _above(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:length]) for length in range(1, len(parts))]


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino
