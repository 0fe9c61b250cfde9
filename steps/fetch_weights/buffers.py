"""The memory of a fetch: a fixed number of buffers of one size, lent out and taken back."""

from __future__ import annotations

import mmap
import threading


class Buffer:
    """Memory for one part, used by several workers; it returns to the pool with its last user."""

    def __init__(self, pool: BufferPool, slot: int, view: memoryview) -> None:
        self._pool = pool
        self._slot = slot
        self._users = 1
        self._lock = threading.Lock()
        self.view = view
        """The bytes in use."""

    def share(self) -> None:
        """Add one more user."""
        with self._lock:
            self._users += 1

    def release(self) -> None:
        """Take one user away; the last one gives the memory back."""
        with self._lock:
            self._users -= 1
            last = self._users == 0
        if last:
            self._pool.give_back(self._slot)


class BufferPool:
    """At most `count` buffers of `size` bytes, lent last in first out: a fetch that is never held up stays in a warm few.

    One mapping, which becomes real memory only as it is used.
    """

    def __init__(self, size: int, count: int) -> None:
        self._size = size
        self._mapping = mmap.mmap(-1, size * count, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._memory = memoryview(self._mapping)
        self._idle = list(range(count - 1, -1, -1))
        self._condition = threading.Condition()
        self._closed = False

    def take(self, size: int) -> Buffer | None:
        """Lend a buffer of which `size` bytes will be used, as soon as there is one; None once the pool is closed."""
        with self._condition:
            while not self._closed and not self._idle:
                self._condition.wait()
            if self._closed:
                return None
            slot = self._idle.pop()
        start = slot * self._size
        return Buffer(self, slot, self._memory[start : start + size])

    def give_back(self, slot: int) -> None:
        """Take a buffer back; called by its last user."""
        with self._condition:
            self._idle.append(slot)
            self._condition.notify()

    def close(self) -> None:
        """Close the pool: nobody waits any longer."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
