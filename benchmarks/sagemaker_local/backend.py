"""The container of the gateway's benchmark: streams of events, each stamped with the moment at which it is sent.

``GET /ping`` answers 200. A POST answers with server-sent events ``data: {"sent": SECONDS}``, on the machine's monotonic clock. The
request's body says how many, how far apart, and at which moment of each gap: ``{"events": 100, "gap_s": 0.03, "offset_s": 0.01}``, so that
streams stay spread over a gap however their requests arrived. A protocol of its own, without a framework: what it costs is in every
figure.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import time

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_PONG = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_LENGTH = b"content-length:"


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one connection until it is closed."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"GET"):
                writer.write(_PONG)
                continue
            lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(_LENGTH)]
            order = json.loads(await reader.readexactly(int(lengths[0].removeprefix(_LENGTH))))
            writer.write(_HEAD)
            await stream(writer, order["events"], order["gap_s"], order["offset_s"])
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def stream(writer: asyncio.StreamWriter, events: int, gap_s: float, offset_s: float) -> None:
    """Send events, each at its time: a late one does not make the next ones later."""
    began = math.ceil((time.monotonic() - offset_s) / gap_s) * gap_s + offset_s
    for index in range(events):
        await asyncio.sleep(max(0.0, began + index * gap_s - time.monotonic()))
        data = b'data: {"sent": %.6f}\n\n' % time.monotonic()
        writer.write(b"%x\r\n%s\r\n" % (len(data), data))
    writer.write(b"0\r\n\r\n")


async def main() -> None:
    """Listen on PORT until ended."""
    server = await asyncio.start_server(answer, "127.0.0.1", int(os.environ["PORT"]), backlog=512)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
