"""The memory of a fetch: a fixed number of buffers of one size, lent out and taken back."""

from __future__ import annotations

import threading


class Buffer:
    """Memory for one part, used by several workers; it returns to the pool with its last user."""

    def __init__(self, pool: BufferPool, memory: bytearray) -> None:
        self._pool = pool
        self._memory = memory
        self._users = 1
        self._lock = threading.Lock()
        self.size = len(memory)
        """How many of its bytes are in use."""

    @property
    def view(self) -> memoryview:
        """The bytes in use."""
        return memoryview(self._memory)[: self.size]

    @property
    def body(self) -> bytes | bytearray:
        """The bytes in use as boto3 takes them: the buffer itself where it is full, a copy of a file's short last part."""
        return self._memory if self.size == len(self._memory) else bytes(self.view)

    def share(self) -> None:
        """One more user."""
        with self._lock:
            self._users += 1

    def release(self) -> None:
        """One user less."""
        with self._lock:
            self._users -= 1
            last = self._users == 0
        if last:
            self._pool.give_back(self._memory)


class BufferPool:
    """At most `count` buffers of `size` bytes; the one that came back last is lent first, since it is warm in the cache."""

    def __init__(self, size: int, count: int) -> None:
        self._size = size
        self._unmade = count
        self._idle: list[bytearray] = []
        self._condition = threading.Condition()
        self._closed = False

    def take(self, size: int) -> Buffer | None:
        """A buffer with `size` bytes in use, as soon as there is one; None once the pool is closed."""
        with self._condition:
            while not self._closed and not self._idle and not self._unmade:
                self._condition.wait()
            if self._closed:
                return None
            if self._idle:
                memory = self._idle.pop()
            else:
                self._unmade -= 1
                memory = bytearray(self._size)
        buffer = Buffer(self, memory)
        buffer.size = size
        return buffer

    def give_back(self, memory: bytearray) -> None:
        """Called by a buffer's last user."""
        with self._condition:
            self._idle.append(memory)
            self._condition.notify()

    def close(self) -> None:
        """Nobody waits any longer."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
