"""What must survive a restart: JSON values by kind and key, in one SQLite file."""

from __future__ import annotations

import json
import sqlite3
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


_CACHE_KIB = 256  # SQLite's own default, 2 MiB a file, would fill while a server runs


def open_database(path: Path) -> sqlite3.Connection:
    """A SQLite file for many threads that take turns; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    # WAL without a sync per write: a killed process loses nothing, only a power cut may lose the last moments.
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=OFF")
    database.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
    return database


class Store:
    """A thread-safe map of (kind, key) to a JSON value. ``list`` keeps the order in which keys were first put."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._database = open_database(path)
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS entries "
            "(sequence INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT, key TEXT, value TEXT, UNIQUE (kind, key))"
        )

    def put(self, kind: str, key: str, value: Any) -> None:
        """Store a JSON value under a kind and key, replacing what was there."""
        text = json.dumps(value)
        with self._lock:
            self._database.execute(
                "INSERT INTO entries (kind, key, value) VALUES (?, ?, ?) ON CONFLICT (kind, key) DO UPDATE SET value = excluded.value",
                (kind, key, text),
            )

    def get(self, kind: str, key: str) -> Any:
        """The value under a kind and key, a fresh copy each time; None when there is none."""
        with self._lock:
            row = self._database.execute("SELECT value FROM entries WHERE kind = ? AND key = ?", (kind, key)).fetchone()
        return json.loads(row[0]) if row else None

    def list(self, kind: str) -> list[tuple[str, Any]]:
        """Every (key, value) of a kind, oldest key first."""
        with self._lock:
            rows = self._database.execute("SELECT key, value FROM entries WHERE kind = ? ORDER BY sequence", (kind,)).fetchall()
        return [(key, json.loads(text)) for key, text in rows]

    def delete(self, kind: str, key: str) -> None:
        """Remove a value; nothing happens when there is none."""
        with self._lock:
            self._database.execute("DELETE FROM entries WHERE kind = ? AND key = ?", (kind, key))

    def close(self) -> None:
        """Close the file. The store cannot be used afterwards."""
        with self._lock:
            self._database.close()
