"""A server of raw streams in a thread of its own, for tests whose own code may not run in its event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from tests.support.waiting import HANG_S

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextmanager
def served(handle: Handler) -> Iterator[str]:
    """Serve on loopback for the time of the `with` block; yields the address, without a path."""
    loops: list[asyncio.AbstractEventLoop] = []
    addresses: list[str] = []
    over, ready = asyncio.Event(), threading.Event()

    async def serve() -> None:
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        addresses.append(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        loops.append(asyncio.get_running_loop())
        ready.set()
        await over.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    assert ready.wait(HANG_S)
    try:
        yield addresses[0]
    finally:
        loops[0].call_soon_threadsafe(over.set)
        thread.join(HANG_S)
