"""Server-sent events out of the bytes of one answer, as the HTML standard has them (WHATWG, "Server-sent events": parsing an event stream).

Lines end with CRLF, LF or CR; an empty one ends an event; a BOM may come first; `data` may stand in several lines, with or without a space after
its colon; comments and fields that are not known are skipped. In one thing this is kinder than a browser: an event that the end of the answer
ends, without its empty line, counts. A browser drops it since it cannot tell it from one that was cut; here HTTP has said that the answer is whole.

Nearly every piece of nearly every stream is `data: …`, LF, LF. That way is the short one: a load client reads a million of them.
"""

from __future__ import annotations

from collections.abc import Iterator

from loadtest.errors import StreamError

_BOM = b"\xef\xbb\xbf"
_LONGEST = 4 * 1024 * 1024
"""Of an event without an end. Bytes."""
_STRAY_LIMIT = 65_536
"""How much is kept of what is no event. Bytes."""
Event = tuple[bytes, bytes]
"""Its type, empty for none, and its data."""


class EventStream:
    """The events of one answer."""

    __slots__ = ("_after_cr", "_begun", "_rest", "events", "stray")

    def __init__(self) -> None:
        self._rest = b""
        self._after_cr = self._begun = False
        self.events = 0
        """How many there were."""
        self.stray = b""
        """What came that belongs to no event: all of an answer that is no event stream."""

    def feed(self, data: bytes) -> list[Event]:
        """Take a piece of the answer and return the events that are complete now.

        Raises:
            StreamError: an event has no end.
        """
        if self._after_cr or b"\r" in data:
            data = self._with_line_feeds(data)
        if self._rest:
            if len(self._rest) > _LONGEST:
                raise StreamError("malformed", f"an event of more than {_LONGEST} bytes")
            data = self._rest + data
        *blocks, self._rest = data.split(b"\n\n")
        events: list[Event] = []
        for block in blocks:
            if block.startswith(b"data: ") and b"\n" not in block:
                events.append((b"", block[6:]))
            else:
                self._begun = self._begun or bool(events)
                events += self._read(block)
        if events:
            self._begun = True
            self.events += len(events)
        return events

    def end(self) -> list[Event]:
        """Return the event that the end of the answer ends, if any."""
        rest, self._rest = self._rest, b""
        events = list(self._read(rest))
        self.events += len(events)
        return events

    def _with_line_feeds(self, data: bytes) -> bytes:
        """Return the piece with LF for each line's end; an LF at its beginning belongs to the CR that the last one ended with."""
        if self._after_cr and data:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        if data:
            self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _read(self, block: bytes) -> Iterator[Event]:
        """Yield the event that lines make, if they make one."""
        if not self._begun:
            block = block.removeprefix(_BOM)
        kind, data = b"", list[bytes]()
        for line in block.split(b"\n"):
            field, _, value = line.partition(b":")
            if field == b"data":
                data.append(value.removeprefix(b" "))
            elif field == b"event":
                kind = value.removeprefix(b" ")
            elif field not in {b"", b"id", b"retry"} and len(self.stray) < _STRAY_LIMIT:
                self.stray += line + b"\n"
            self._begun = self._begun or bool(line)
        if any(data):
            yield kind, b"\n".join(data)
