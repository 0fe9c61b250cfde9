"""The little of HTTP that the front door needs: an ASGI request as a value, bodies on disk, and AWS-shaped answers."""

from __future__ import annotations

import json
import tempfile
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from functools import cached_property
from typing import IO, Any
from urllib.parse import parse_qsl

from sagemaker_local.errors import AwsError, ClientDisconnected
from sagemaker_local.moto_bridge.bridge import DEFAULT_REGION

AsgiScope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

JSON_TYPE = "application/x-amz-json-1.1"
_MEMORY_BYTES = 1 << 20  # a body above this goes to disk


@dataclass(frozen=True)
class HttpRequest:
    """An HTTP request as ASGI gives it."""

    scope: AsgiScope
    receive: Receive
    send: Send

    @property
    def method(self) -> str:
        """The HTTP method, in capitals."""
        return str(self.scope["method"])

    @property
    def path(self) -> str:
        """The path, percent-decoded."""
        return str(self.scope["path"])

    @cached_property
    def headers(self) -> dict[str, str]:
        """The headers by lower-case name; of a repeated one, the first."""
        headers: dict[str, str] = {}
        for name, value in self.scope["headers"]:
            headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))
        return headers

    @cached_property
    def query(self) -> dict[str, str]:
        """The query's parameters; those without a value are empty strings."""
        return dict(parse_qsl(self.scope["query_string"].decode("latin-1"), keep_blank_values=True))

    @cached_property
    def _credential(self) -> list[str]:
        """The parts of its signature's credential: key, date, region, service, ``aws4_request``; empty when it is not signed."""
        header = self.headers.get("authorization", "")
        credential = header.partition("Credential=")[2].partition(",")[0] if header.startswith("AWS4") else ""
        parts = (credential or self.query.get("X-Amz-Credential", "")).strip().split("/")
        return parts if len(parts) >= 5 else []

    @property
    def access_key_id(self) -> str:
        """The access key that the request is signed with; empty when it is not signed."""
        return self._credential[0] if self._credential else ""

    @property
    def credential_scope(self) -> tuple[str, str]:
        """(region, service) that the request is signed for; ("us-east-1", "") when it is not signed."""
        return (self._credential[-3], self._credential[-2].lower()) if self._credential else (DEFAULT_REGION, "")

    async def blocks(self) -> Any:
        """Return the body, block by block.

        Raises:
            ClientDisconnected: the client went away first.
        """
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnected
            if message.get("body"):
                yield message["body"]
            if not message.get("more_body"):
                return

    async def body(self) -> bytes:
        """Return the whole body, in memory."""
        return b"".join([block async for block in self.blocks()])

    async def spooled_body(self) -> IO[bytes]:
        """Return the whole body in a file that is in memory while it is small, rewound. The caller closes it."""
        file = tempfile.SpooledTemporaryFile(_MEMORY_BYTES)  # noqa: SIM115 -- the caller's to close
        async for block in self.blocks():
            file.write(block)
        file.seek(0)
        return file

    async def respond(self, status: int, headers: Headers, body: bytes = b"") -> None:
        """Send a whole answer."""
        headers = [*headers, (b"content-length", str(len(body)).encode())]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})

    async def respond_json(self, data: dict[str, Any], status: int = 200, content_type: str = JSON_TYPE) -> None:
        """Send a JSON answer as AWS's JSON services do."""
        await self.respond(status, _json_headers(content_type), json.dumps(data).encode())

    async def respond_error(self, error: AwsError, content_type: str = JSON_TYPE, **more: Any) -> None:
        """Send an error in the shape of AWS's JSON services."""
        headers = [*_json_headers(content_type), (b"x-amzn-errortype", error.code.encode())]
        body = {"__type": error.code, "message": error.message, **more}
        await self.respond(error.status, headers, json.dumps(body).encode())


def _json_headers(content_type: str) -> Headers:
    return [(b"content-type", content_type.encode()), (b"x-amzn-requestid", str(uuid.uuid4()).encode())]
