"""A full disk: work that is done is recorded once there is room, a request is told at once, and nothing is left half written."""

from __future__ import annotations

import errno
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from moto.core.base_backend import BackendDict

from sagemaker_local.errors import DiskFull
from sagemaker_local.logs.log_store import LogStore
from sagemaker_local.s3.objects import ObjectFile
from sagemaker_local.state.snapshot import Snapshots
from sagemaker_local.state.store import Store, hurried
from tests.support.waiting import wait_until

LARGE = "x" * 100_000


def allow(database: Any, more_pages: int) -> None:
    """Let a SQLite file grow by so many pages; beyond that it says what it says on a full disk."""
    pages = database.execute("PRAGMA page_count").fetchone()[0]
    database.execute(f"PRAGMA max_page_count = {pages + more_pages}")


def test_a_thread_waits_for_room_and_a_request_does_not(tmp_path: Path) -> None:
    store = Store(tmp_path / "state.sqlite")
    allow(store._database, 1)
    with hurried(), pytest.raises(DiskFull, match=f"The disk of {tmp_path} is full"):
        store.put("kind", "request", LARGE)
    thread = threading.Thread(target=store.put, args=("kind", "step", LARGE))
    thread.start()
    time.sleep(0.1)
    assert (thread.is_alive(), store.get("kind", "step")) == (True, None)
    store.put("kind", "small", 1)  # others go on
    allow(store._database, 1000)
    wait_until(lambda: store.get("kind", "step"), "the record is kept")
    thread.join()
    assert [key for key, _ in store.list("kind")] == ["small", "step"]


def test_what_is_hurried_inside_of_what_is_hurried_leaves_it_so(tmp_path: Path) -> None:
    """A request that stops a job records the end of its process, too."""
    store = Store(tmp_path / "state.sqlite")
    allow(store._database, 1)
    with hurried():
        with hurried():
            store.delete("kind", "process")
        with pytest.raises(DiskFull):
            store.put("kind", "request", LARGE)


def test_a_snapshot_that_had_no_room_is_written_when_there_is_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []

    def write(service: str, _backends: Any) -> None:
        written.append(service)
        if len(written) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(BackendDict, "_instances", [SimpleNamespace(service_name="s3")])
    snapshots = Snapshots(tmp_path)
    monkeypatch.setattr(snapshots, "_write_service", write)
    snapshots.start()
    snapshots.changed()
    wait_until(lambda: written == ["s3", "s3"], "it is tried again")
    snapshots.close()


def test_logs_go_on_after_a_full_disk(tmp_path: Path) -> None:
    logs = LogStore(tmp_path / "logs.sqlite")
    stream = logs.ensure_stream("us-east-1", "group", "stream")
    allow(logs._database, 1)
    with pytest.raises(Exception, match="full"):
        logs.put(stream, [(1, LARGE)])
    allow(logs._database, 1000)
    logs.put(stream, [(2, "after")])
    assert [row["message"] for row in logs.events(stream, 0, 10, 0, 10)] == ["after"]


def test_a_piece_of_an_object_takes_no_room(tmp_path: Path) -> None:
    path = tmp_path / "object"
    path.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        ObjectFile(path).write(b"x" * 100_000)
    assert not path.is_symlink()
