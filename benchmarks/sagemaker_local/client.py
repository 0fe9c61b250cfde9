"""The client of the gateway's benchmark, a process of its own: many streams at once, the age of every event when it arrives.

``python -m benchmarks.sagemaker_local.client URL PATH AUTHORIZATION STREAMS EVENTS GAP_S`` prints the ages in seconds, as a JSON list.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from urllib.parse import urlsplit

_SENT = re.compile(rb'"sent": ([0-9.]+)}')
_LONGEST_EVENT_BYTES = 64


class Stream(asyncio.Protocol):
    """One request; the ages of the events of its answer. It looks for events in the bytes, however they are framed."""

    def __init__(self, request: bytes, events: int) -> None:
        self.ages: list[float] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request, self._events = request, events
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the request."""
        transport.write(self._request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        """Take the events that have come."""
        now = time.monotonic()
        data = self._rest + data
        end = 0
        for found in _SENT.finditer(data):
            self.ages.append(now - float(found[1]))
            end = found.end()
        self._rest = data[end:][-_LONGEST_EVENT_BYTES:]
        if len(self.ages) == self._events and not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        """Fail when it is too early."""
        if not self.done.done():
            self.done.set_exception(error or ConnectionError(f"closed after {len(self.ages)} events: {self._rest[:200]!r}"))


async def ages(url: str, path: str, authorization: str, streams: int, events: int, gap_s: float) -> list[float]:
    """Return the age of each event of so many streams, whose events are spread over the gap."""
    place = urlsplit(url)
    lines = [f"POST {path} HTTP/1.1", f"Host: {place.netloc}", "Content-Type: application/json"]
    lines += [f"Authorization: {authorization}"] if authorization else []
    loop = asyncio.get_running_loop()

    async def one(number: int) -> list[float]:
        body = json.dumps({"events": events, "gap_s": gap_s, "offset_s": gap_s * number / streams})
        request = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", body]).encode()
        transport, stream = await loop.create_connection(
            lambda: Stream(request, events), place.hostname or "127.0.0.1", place.port or 80
        )
        await stream.done
        transport.close()
        return stream.ages

    return [age for found in await asyncio.gather(*(one(number) for number in range(streams))) for age in found]


if __name__ == "__main__":
    url, path, authorization, streams, events, gap_s = sys.argv[1:]
    print(json.dumps(asyncio.run(ages(url, path, authorization, int(streams), int(events), float(gap_s)))))
