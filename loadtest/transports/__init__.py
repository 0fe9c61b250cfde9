"""The ways to an endpoint, one file each: how a request is addressed and authorised, and how the model's bytes come out of its answer."""

from __future__ import annotations

from typing import Any, Protocol


class BodyDecoder(Protocol):
    """What turns one answer's body back into what the container wrote."""

    def feed(self, data: bytes) -> bytes:
        """Take a piece of the body and return the container's bytes that are complete now.

        Raises:
            StreamError: the stream itself says that it failed, or is damaged.
        """


class Transport(Protocol):
    """One way to one endpoint."""

    @property
    def server(self) -> str:
        """Scheme, host and port."""

    @property
    def body_fields(self) -> dict[str, Any]:
        """What a chat completions body must have besides messages and limits."""

    def request_head(self, body: bytes) -> bytes:
        """Return the request line and headers of a POST of `body`, authorised, up to and with the empty line."""

    def decoder(self) -> BodyDecoder:
        """Return a decoder for one answer."""


def render(path: str, headers: dict[str, str]) -> bytes:
    """Return the head of a POST, up to and with the empty line."""
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1")
