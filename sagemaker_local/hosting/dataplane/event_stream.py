"""The ``application/vnd.amazon.eventstream`` encoding, as InvokeEndpointWithResponseStream uses it.

A message is: total length, headers length, CRC-32 of those two; headers; payload; CRC-32 of everything before. Lengths and
checksums are big-endian 32-bit numbers, a header is name length (8 bits), name, type 7 (string), value length (16 bits), value.
"""

from __future__ import annotations

import json
import struct
import zlib

CONTENT_TYPE = "application/vnd.amazon.eventstream"


def _header(name: str, value: str) -> bytes:
    raw_name, raw_value = name.encode(), value.encode()
    return struct.pack("!B", len(raw_name)) + raw_name + b"\x07" + struct.pack("!H", len(raw_value)) + raw_value


_PAYLOAD_PART = (
    _header(":event-type", "PayloadPart")
    + _header(":content-type", "application/octet-stream")
    + _header(":message-type", "event")
)


def _message(headers: bytes, payload: bytes) -> bytes:
    prelude = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    prelude += struct.pack("!I", zlib.crc32(prelude))
    checksum = zlib.crc32(payload, zlib.crc32(headers, zlib.crc32(prelude)))
    return b"".join((prelude, headers, payload, struct.pack("!I", checksum)))


def payload_part(data: bytes) -> bytes:
    """Return some bytes of the model's answer, as an event."""
    return _message(_PAYLOAD_PART, data)


def exception(kind: str, message: str, error_code: str | None = None) -> bytes:
    """Return an error after the stream has begun: ``ModelStreamError`` (with its ErrorCode) or ``InternalStreamFailure``."""
    body = {"Message": message} | ({"ErrorCode": error_code} if error_code else {})
    headers = (
        _header(":exception-type", kind) + _header(":content-type", "application/json") + _header(":message-type", "exception")
    )
    return _message(headers, json.dumps(body).encode())
