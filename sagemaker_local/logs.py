"""Log lines of containers, from their files into CloudWatch Logs (moto's), a quarter of a second behind at most."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from sagemaker_local.moto import Moto

INTERVAL_S = 0.25
_READ_BYTES = 1 << 20
_MAX_LINE_BYTES = 256 * 1024  # CloudWatch Logs' limit for one event
_LOGGER = logging.getLogger(__name__)


@dataclass
class LogTail:
    """A file that one container writes to, and the log stream that its lines go to."""

    path: Path
    group: str
    stream: str
    region: str
    offset: int = 0
    partial: bytes = b""
    lock: threading.Lock = field(default_factory=threading.Lock)


class LogSink:
    """Follows files and puts their lines into log streams, with one thread for all of them."""

    def __init__(self, moto: Moto) -> None:
        self._moto = moto
        self._tails: list[LogTail] = []
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def follow(self, path: Path, group: str, stream: str, region: str) -> LogTail:
        """Start putting a file's lines into a log stream, which is created now."""
        tail = LogTail(path, group, stream, region)
        self.write(group, stream, region, [])
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

    def write(self, group: str, stream: str, region: str, lines: list[str]) -> None:
        """Put lines into a log stream, creating the group and the stream when they are missing."""
        backend = self._moto.backend("logs", region)
        if group not in backend.groups:
            backend.create_log_group(group, {})
        backend.ensure_log_stream(group, stream)
        if lines:
            now_ms = int(time.time() * 1000)
            events = [{"timestamp": now_ms, "message": line} for line in lines]
            backend.put_log_events(group, stream, events)

    def close(self) -> None:
        """Stop following. What was written until now is put first."""
        self._stopped.set()
        with self._lock:
            tails = list(self._tails)
        for tail in tails:
            self.finish(tail)

    def _run(self) -> None:
        while not self._stopped.wait(INTERVAL_S):
            with self._lock:
                tails = list(self._tails)
            for tail in tails:
                try:
                    self._drain(tail, last=False)
                except Exception:
                    _LOGGER.exception("log stream %s of %s", tail.stream, tail.group)

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
            if texts:
                self.write(tail.group, tail.stream, tail.region, texts)


def _read(tail: LogTail) -> bytes:
    try:
        with tail.path.open("rb") as file:
            file.seek(tail.offset)
            block = file.read(_READ_BYTES)
    except FileNotFoundError:
        return b""
    tail.offset += len(block)
    return block
