"""How far a fetch is: bytes of each leg, files done, time left."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

_WINDOW_S = 10.0


@dataclass(frozen=True)
class _Sample:
    at: float
    downloaded: int
    uploaded: int


class FetchProgress:
    """Counters that workers add to, and the line that they amount to. `clock` tells seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.total_bytes = 0
        self.total_files = 0
        self.downloaded = 0
        self.uploaded = 0
        self.files = 0
        self._lock = threading.Lock()
        self._samples: deque[_Sample] = deque([_Sample(clock(), 0, 0)])

    def expect(self, *, files: int, total_bytes: int) -> None:
        """Set what there is to do."""
        self.total_files, self.total_bytes = files, total_bytes

    def add(self, *, downloaded: int = 0, uploaded: int = 0, files: int = 0) -> None:
        """Count bytes and files."""
        with self._lock:
            self.downloaded += downloaded
            self.uploaded += uploaded
            self.files += files

    def line(self) -> str:
        """Format how far it is: `45.2 MB of 98.4 MB, Hub 120 MB/s, S3 118 MB/s, 3 of 12 files, 1 s left`; rates over the last ten seconds."""
        now = self._clock()
        with self._lock:
            self._samples.append(_Sample(now, self.downloaded, self.uploaded))
            while len(self._samples) > 2 and now - self._samples[0].at > _WINDOW_S:
                self._samples.popleft()
            first, last = self._samples[0], self._samples[-1]
        seconds = max(last.at - first.at, 1e-3)
        down, up = (last.downloaded - first.downloaded) / seconds, (last.uploaded - first.uploaded) / seconds
        to_go = (
            2 * self.total_bytes - last.downloaded - last.uploaded
        )  # over both legs: one alone misleads while buffers fill and drain
        left = f", {duration(to_go / (down + up))} left" if down + up > 0 else ""
        return (
            f"{size(last.uploaded)} of {size(self.total_bytes)}, Hub {size(down)}/s, S3 {size(up)}/s, "
            f"{self.files} of {self.total_files} files{left}"
        )


def size(count: float) -> str:
    """Format bytes for a reader: 98.4 MB (powers of 1000)."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} TB"


def duration(seconds: float) -> str:
    """Format seconds for a reader: 42 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
