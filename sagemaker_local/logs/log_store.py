"""Log events of containers on disk, so that neither their number nor a restart matters.

moto keeps every event in memory, as an object. The log groups stay moto's (their retention, tags and listing); in those that containers
write to, streams and events are here; ``logs_api`` answers CloudWatch Logs' actions on them.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Any

from sagemaker_local.state.store import open_database

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

MOST_EVENTS = 10_000  # GetLogEvents and FilterLogEvents: "up to 10,000 log events"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS streams (
    id INTEGER PRIMARY KEY, region TEXT, log_group TEXT, name TEXT, created_ms INTEGER, first_ms INTEGER, last_ms INTEGER,
    bytes INTEGER DEFAULT 0, UNIQUE (region, log_group, name));
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY, stream INTEGER, at_ms INTEGER, came_ms INTEGER, message TEXT);
CREATE INDEX IF NOT EXISTS events_of_stream ON events (stream, at_ms, id);
"""


class LogStore:
    """Streams and events in a SQLite file. Safe to use from any thread."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._database = open_database(path)
        self._database.row_factory = sqlite3.Row
        self._database.executescript(_SCHEMA)

    def has_group(self, region: str, group: str) -> bool:
        """Return whether a container has ever written to this group."""
        return bool(self._rows("SELECT 1 FROM streams WHERE region = ? AND log_group = ? LIMIT 1", region, group))

    def stream(self, region: str, group: str, name: str) -> int | None:
        """Return a stream's number; None when there is no such stream."""
        rows = self._rows("SELECT id FROM streams WHERE region = ? AND log_group = ? AND name = ?", region, group, name)
        return int(rows[0]["id"]) if rows else None

    def create_stream(self, region: str, group: str, name: str) -> bool:
        """Make a stream; False where there is one of that name."""
        row = (region, group, name, int(time.time() * 1000))
        return self._write("INSERT OR IGNORE INTO streams (region, log_group, name, created_ms) VALUES (?, ?, ?, ?)", [row]) == 1

    def ensure_stream(self, region: str, group: str, name: str) -> int:
        """Return a stream's number, of a new stream where there is none."""
        self.create_stream(region, group, name)
        found = self.stream(region, group, name)
        assert found is not None  # noqa: S101 -- it has just been made
        return found

    def put(self, stream: int, events: Sequence[tuple[int, str]]) -> None:
        """Add events (milliseconds since the epoch, message) to a stream."""
        if not events:
            return
        now = int(time.time() * 1000)
        self._write(
            "INSERT INTO events (stream, at_ms, came_ms, message) VALUES (?, ?, ?, ?)",
            [(stream, at, now, message) for at, message in events],
        )
        first, last = min(at for at, _ in events), max(at for at, _ in events)
        size = sum(len(message.encode()) + 26 for _, message in events)  # as CloudWatch counts a stream's bytes
        self._write(
            "UPDATE streams SET first_ms = min(coalesce(first_ms, ?1), ?1), last_ms = max(coalesce(last_ms, ?2), ?2), "
            "bytes = bytes + ?3 WHERE id = ?4",
            [(first, last, size, stream)],
        )

    def streams(
        self, region: str, group: str, prefix: str = "", *, by_time: bool = False, descending: bool = False
    ) -> list[sqlite3.Row]:
        """Return the streams of a group, by name or by their last event."""
        order = "coalesce(last_ms, created_ms)" if by_time else "name"
        query = f"SELECT * FROM streams WHERE region = ? AND log_group = ? AND substr(name, 1, ?) = ? ORDER BY {order}"  # noqa: S608
        return self._rows(query + (" DESC" if descending else ""), region, group, len(prefix), prefix)

    def count(self, stream: int, start_ms: int, end_ms: int) -> int:
        """Return how many events of a stream are in a time."""
        rows = self._rows(
            "SELECT count(*) AS n FROM events WHERE stream = ? AND at_ms >= ? AND at_ms < ?", stream, start_ms, end_ms
        )
        return int(rows[0]["n"])

    def events(self, stream: int, start_ms: int, end_ms: int, offset: int, limit: int) -> list[sqlite3.Row]:
        """Return events of a stream in a time, oldest first."""
        query = "SELECT * FROM events WHERE stream = ? AND at_ms >= ? AND at_ms < ? ORDER BY at_ms, id LIMIT ? OFFSET ?"
        return self._rows(query, stream, start_ms, end_ms, limit, offset)

    def events_of(self, streams: Iterable[int], start_ms: int, end_ms: int, offset: int) -> Iterator[sqlite3.Row]:
        """Yield events of several streams in a time, oldest first, from an offset on."""
        numbers = ",".join(str(number) for number in streams)
        query = (
            f"SELECT * FROM events WHERE stream IN ({numbers}) AND at_ms >= ? AND at_ms < ? "  # noqa: S608 -- our own numbers
            "ORDER BY at_ms, id LIMIT ? OFFSET ?"
        )
        while rows := self._rows(query, start_ms, end_ms, MOST_EVENTS, offset):
            yield from rows
            offset += len(rows)

    def delete(self, region: str, group: str, name: str | None = None) -> None:
        """Forget a stream, or all of a group's."""
        wanted = [row["id"] for row in self.streams(region, group) if name is None or row["name"] == name]
        self._write("DELETE FROM events WHERE stream = ?", [(number,) for number in wanted])
        self._write("DELETE FROM streams WHERE id = ?", [(number,) for number in wanted])

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    def _rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock:
            return self._database.execute(query, values).fetchall()

    def _write(self, query: str, rows: list[tuple[Any, ...]]) -> int:
        """Run a statement for each of these rows, all of them or none; returns how many rows it has changed."""
        with self._lock:
            self._database.execute("BEGIN")
            try:
                changed = self._database.executemany(query, rows).rowcount
                self._database.execute("COMMIT")
            except sqlite3.OperationalError:  # the disk is full; the next write must not find this one open
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise
        return changed
