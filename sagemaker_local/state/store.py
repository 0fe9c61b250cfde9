"""What must survive a restart: JSON values by kind and key, in one SQLite file.

While the disk is full, a thread that runs a step or a job waits with its record until there is room: its work is done and must not be
lost. Requests, and what runs on the event loop, are told at once (``DiskFull``).
"""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from sagemaker_local.errors import DiskFull

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

T = TypeVar("T")

_RETRY_S = 0.5
_LOGGER = logging.getLogger(__name__)
_hurry = threading.local()
_stopping = threading.Event()
_PUT = "INSERT INTO entries (kind, key, value) VALUES (?, ?, ?) ON CONFLICT (kind, key) DO UPDATE SET value = excluded.value"
_CACHE_KIB = 256  # SQLite's own default, 2 MiB a file, would fill while a server runs


def open_database(path: Path) -> sqlite3.Connection:
    """Return a SQLite file for many threads that take turns; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    # WAL without a sync per write: a killed process loses nothing, only a power cut may lose the last moments.
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=OFF")
    database.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
    return database


@contextmanager
def hurried() -> Iterator[None]:
    """While this lasts, this thread does not wait for a full disk."""
    before = getattr(_hurry, "active", False)
    _hurry.active = True
    try:
        yield
    finally:
        _hurry.active = before


def stop_waiting() -> None:
    """Let nobody wait for a full disk any more, as the server stops."""
    _stopping.set()


def _may_wait() -> bool:
    """Return whether this thread has nothing else to do than to wait."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return not getattr(_hurry, "active", False)
    return False


class Store:
    """A thread-safe map of (kind, key) to a JSON value. ``list`` keeps the order in which keys were first put.

    Who must know whether a key was free, or write what depends on what is there, uses ``add`` and ``change``: they are atomic, while a
    ``get`` followed by a ``put`` loses what another thread writes between the two.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._database = open_database(path)
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS entries "
            "(sequence INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT, key TEXT, value TEXT, UNIQUE (kind, key))"
        )

    def put(self, kind: str, key: str, value: Any) -> None:
        """Store a JSON value under a kind and key, replacing what was there."""
        self._write(_PUT, (kind, key, json.dumps(value)))

    def add(self, kind: str, key: str, value: Any) -> bool:
        """Store a JSON value under a kind and key where there is none yet; False where there is one, which stays."""
        return (
            self._write("INSERT OR IGNORE INTO entries (kind, key, value) VALUES (?, ?, ?)", (kind, key, json.dumps(value))) == 1
        )

    def change(self, kind: str, key: str, change: Callable[[Any], Any]) -> Any:
        """Replace a value by what ``change`` makes of it, with no write of another thread between.

        Args:
            kind: of the value.
            key: of the value.
            change: gets a fresh copy of the value, None where there is none; what it raises leaves the value as it is.

        Returns:
            What ``change`` returned, which is stored.
        """

        def work() -> Any:
            value = change(self.get(kind, key))
            self._database.execute(_PUT, (kind, key, json.dumps(value)))
            return value

        return self._with_room(work, (kind, key))

    def get(self, kind: str, key: str) -> Any:
        """Return the value under a kind and key, a fresh copy each time; None when there is none."""
        with self._lock:
            row = self._database.execute("SELECT value FROM entries WHERE kind = ? AND key = ?", (kind, key)).fetchone()
        return json.loads(row[0]) if row else None

    def list(self, kind: str) -> list[tuple[str, Any]]:
        """Return every (key, value) of a kind, oldest key first."""
        with self._lock:
            rows = self._database.execute("SELECT key, value FROM entries WHERE kind = ? ORDER BY sequence", (kind,)).fetchall()
        return [(key, json.loads(text)) for key, text in rows]

    def delete(self, kind: str, key: str) -> bool:
        """Remove a value; False when there is none."""
        return self._write("DELETE FROM entries WHERE kind = ? AND key = ?", (kind, key)) == 1

    def close(self) -> None:
        """Close the file. The store cannot be used afterwards."""
        with self._lock:
            self._database.close()

    def _write(self, statement: str, values: tuple[str, ...]) -> int:
        """Run a statement; returns how many entries it has written or removed."""
        return self._with_room(lambda: self._database.execute(statement, values).rowcount, values[:2])

    def _with_room(self, work: Callable[[], T], what: tuple[str, ...]) -> T:
        """Do what writes, alone, when there is room on the disk.

        Raises:
            DiskFull: there is none, and this thread must not wait.
        """
        told = False
        while True:
            try:
                with self._lock:
                    return work()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
                    raise
                if not told:
                    _LOGGER.error("no room for %s: %s", self._path, what)
                told = True
                if not _may_wait() or _stopping.wait(_RETRY_S):
                    raise DiskFull(self._path.parent) from error
