"""Log lines of containers, from their files into CloudWatch Logs, a quarter of a second behind at most."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from sagemaker_local.logs.log_store import LogStore
    from sagemaker_local.moto_bridge.bridge import Moto

INTERVAL_S = 0.25
_READ_BYTES = 1 << 20
_MAX_LINE_BYTES = 256 * 1024  # CloudWatch Logs' limit for one event
_LOGGER = logging.getLogger(__name__)


@dataclass
class LogTail:
    """A file that one container writes to, and the log stream that its lines go to."""

    path: Path
    stream: int
    """Its number in the log store."""
    offset: int = 0
    partial: bytes = b""
    lock: threading.Lock = field(default_factory=threading.Lock)


class LogSink:
    """Follows files and puts their lines into log streams, with one thread for all of them."""

    def __init__(self, moto: Moto, store: LogStore) -> None:
        self._moto = moto
        self.store = store
        self._tails: list[LogTail] = []
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def follow(self, path: Path, group: str, stream: str, region: str) -> LogTail:
        """Start putting a file's lines into a log stream, which is created now."""
        tail = LogTail(path, self._stream(group, stream, region))
        with self._lock:
            self._tails.append(tail)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log-sink", daemon=True)
                self._thread.start()
        return tail

    def finish(self, tail: LogTail) -> None:
        """Put what a file still holds, an unfinished last line too, and stop following it."""
        with self._lock:
            if tail in self._tails:
                self._tails.remove(tail)
        self._drain(tail, last=True)

    def _stream(self, group: str, stream: str, region: str) -> int:
        """Return a log stream's number; the group and the stream are created when they are missing."""
        backend = self._moto.backend("logs", region)
        if group not in backend.groups:
            backend.create_log_group(group, {})
        return self.store.ensure_stream(region, group, stream)

    def close(self) -> None:
        """Stop following. What was written until now is put first."""
        self._stopped.set()
        with self._lock:
            tails = list(self._tails)
        for tail in tails:
            self.finish(tail)
        self.store.close()

    def _run(self) -> None:
        while not self._stopped.wait(INTERVAL_S):
            with self._lock:
                tails = list(self._tails)
            for tail in tails:
                try:
                    self._drain(tail, last=False)
                except Exception:
                    _LOGGER.exception("the log %s", tail.path)

    def _drain(self, tail: LogTail, *, last: bool) -> None:
        with tail.lock:
            lines = []
            for block in iter(lambda: _read(tail), b""):
                *whole, tail.partial = (tail.partial + block).split(b"\n")
                lines += whole
                if len(tail.partial) > _MAX_LINE_BYTES:
                    lines.append(tail.partial)
                    tail.partial = b""
            if last and tail.partial:
                lines.append(tail.partial)
                tail.partial = b""
            texts = [line[:_MAX_LINE_BYTES].decode(errors="replace").rstrip("\r") for line in lines if line.strip()]
            now_ms = int(time.time() * 1000)
            self.store.put(tail.stream, [(now_ms, text) for text in texts])


def _read(tail: LogTail) -> bytes:
    try:
        with tail.path.open("rb") as file:
            file.seek(tail.offset)
            block = file.read(_READ_BYTES)
    except FileNotFoundError:
        return b""
    tail.offset += len(block)
    return block
