"""InvokeEndpointWithResponseStream: SigV4, and an event stream around the container's bytes."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cached_property
from struct import Struct
from typing import Any
from urllib.parse import quote, urlsplit

import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from loadtest.errors import StreamError
from loadtest.transports import render

_SERVICE = "sagemaker"  # the signing name of sagemaker-runtime
_PRELUDE = Struct("!III")  # total length, headers length, checksum of these
_CHECKSUM = Struct("!I")
_LONGEST = 24 * 1024 * 1024  # of a message, as botocore's own limit


@dataclass(frozen=True)
class SageMakerTransport:
    """The endpoint as every AWS client sees it. Credentials are found as boto3 finds them."""

    endpoint: str
    region: str
    url: str
    """The address of sagemaker-runtime."""

    @property
    def server(self) -> str:
        """Scheme, host and port."""
        return self.url

    @property
    def body_fields(self) -> dict[str, Any]:
        """Nothing: the endpoint is in the path."""
        return {}

    @cached_property
    def _credentials(self) -> Any:
        return botocore.session.get_session().get_credentials()

    @cached_property
    def _path(self) -> str:
        return f"{urlsplit(self.url).path.rstrip('/')}/endpoints/{quote(self.endpoint)}/invocations-response-stream"

    def request_head(self, body: bytes) -> bytes:
        """Return the request line and headers, signed for this body and this minute."""
        parts = urlsplit(self.url)
        headers = {"Host": parts.netloc, "Content-Type": "application/json", "Content-Length": str(len(body))}
        request = AWSRequest("POST", f"{parts.scheme}://{parts.netloc}{self._path}", data=body, headers=headers)
        SigV4Auth(self._credentials.get_frozen_credentials(), _SERVICE, self.region).add_auth(request)
        return render(self._path, dict(request.headers.items()))

    def decoder(self) -> EventStreamDecoder:
        """Return an event stream decoder."""
        return EventStreamDecoder()


class EventStreamDecoder:
    """application/vnd.amazon.eventstream, checksums verified. Format: the Smithy specification "Amazon Event Stream".

    botocore's decoder slices and copies its buffer for every field; under load it costs more than all else that a token needs.
    """

    _known: dict[bytes, dict[str, str]] = {}  # every PayloadPart of every stream has the same headers

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """Return the payloads of the messages that are complete now."""
        if self._rest:
            data = self._rest + data
        position, size, payloads = 0, len(data), []
        while size - position >= 16:
            total, headers_length, checksum = _PRELUDE.unpack_from(data, position)
            if zlib.crc32(data[position : position + 8]) != checksum or not 16 + headers_length <= total <= _LONGEST:
                raise StreamError("corrupt_stream", "the checksum of an event's head is wrong")
            end = position + total
            if end > size:
                break
            if zlib.crc32(data[position : end - 4]) != _CHECKSUM.unpack_from(data, end - 4)[0]:
                raise StreamError("corrupt_stream", "the checksum of an event is wrong")
            headers_end = position + 12 + headers_length
            payloads.append(self._payload(data[position + 12 : headers_end], data[headers_end : end - 4]))
            position = end
        self._rest = data[position:]
        return payloads[0] if len(payloads) == 1 else b"".join(payloads)

    def _payload(self, raw: bytes, payload: bytes) -> bytes:
        headers = self._known.get(raw)
        if headers is None:
            headers = _headers(raw)
            if len(self._known) < 64:
                self._known[raw] = headers
        if headers.get(":message-type") != "event":
            kind = headers.get(":exception-type") or headers.get(":error-code") or "stream_error"
            raise StreamError(kind, payload.decode(errors="replace") or headers.get(":error-message", ""))
        return payload


def _headers(raw: bytes) -> dict[str, str]:
    """Return the string headers (type 7), the only ones that SageMaker sends."""
    found: dict[str, str] = {}
    position = 0
    while position < len(raw):
        name_end = position + 1 + raw[position]
        name = raw[position + 1 : name_end].decode()
        if raw[name_end] != 7:
            raise StreamError("corrupt_stream", f"the event header {name} is of type {raw[name_end]}, not a string")
        value_end = name_end + 3 + int.from_bytes(raw[name_end + 1 : name_end + 3], "big")
        found[name] = raw[name_end + 3 : value_end].decode()
        position = value_end
    return found
