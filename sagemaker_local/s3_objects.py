"""S3 objects as files under the state directory, in place of moto's anonymous temporary files, so that they survive a restart."""

from __future__ import annotations

import os
import threading
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_saving = threading.local()


class ObjectFile:
    """A file with the few methods that moto's FakeKey calls. It is opened for each call, so that objects cost no descriptors."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._position = 0
        self._closed = False
        self.path.touch()

    def seek(self, position: int) -> None:
        """Go to a place, counted from the beginning."""
        self._position = position

    def truncate(self) -> None:
        """Cut the file here."""
        os.truncate(self.path, self._position)

    def write(self, data: bytes) -> None:
        """Write here and go on behind it."""
        with self.path.open("r+b") as file:
            file.seek(self._position)
            file.write(data)
            self._position = file.tell()

    def read(self, length: int = -1) -> bytes:
        """Read from here, to the end by default.

        Raises:
            ValueError: the object was deleted.
        """
        if self._closed:
            raise ValueError("I/O operation on closed file")
        with self.path.open("rb") as file:
            file.seek(self._position)
            data = file.read(length)
            self._position = file.tell()
            return data

    def open(self) -> int:
        """A descriptor for reading, the caller's to close; it stays good when the object is deleted."""
        return os.open(self.path, os.O_RDONLY)

    def close(self) -> None:
        """The object is deleted, and its file with it."""
        self._closed = True
        self.path.unlink(missing_ok=True)


def install(folder: Path) -> None:
    """Let moto keep objects in this folder."""
    from moto.s3 import models

    folder.mkdir(parents=True, exist_ok=True)

    class Temporary:
        """Stands in for the module ``tempfile`` in moto's module."""

        @staticmethod
        def SpooledTemporaryFile(max_size: int = 0) -> ObjectFile:
            """A new object's file."""
            return ObjectFile(folder / uuid.uuid4().hex)

    moto_getstate, moto_setstate = models.FakeKey.__getstate__, models.FakeKey.__setstate__

    def getstate(key: Any) -> dict[str, Any]:
        if not getattr(_saving, "active", False):  # a copy of an object, with bytes of its own
            state: dict[str, Any] = moto_getstate(key)
            return state
        state = {name: value for name, value in key.__dict__.items() if name not in ("_value_buffer", "lock")}
        return {**state, "_object_file": key._value_buffer.path.name}

    def setstate(key: Any, state: dict[str, Any]) -> None:
        if "_object_file" not in state:
            moto_setstate(key, state)
            return
        key.__dict__.update({name: value for name, value in state.items() if name != "_object_file"})
        key._value_buffer = ObjectFile(folder / state["_object_file"])
        key.lock = threading.Lock()

    models.tempfile = Temporary
    models.FakeKey.__getstate__, models.FakeKey.__setstate__ = getstate, setstate


@contextmanager
def by_name() -> Iterator[None]:
    """While this lasts, this thread pickles objects by the names of their files, not with their bytes."""
    _saving.active = True
    try:
        yield
    finally:
        _saving.active = False


def forget_orphans(folder: Path) -> None:
    """Delete the files of objects that moto does not know: they came after the last snapshot of a server that was killed."""
    import gc

    from moto.s3.models import FakeKey

    known = {key._value_buffer.path.name for key in gc.get_objects() if isinstance(key, FakeKey)}
    for file in folder.iterdir():
        if file.name not in known:
            file.unlink(missing_ok=True)
