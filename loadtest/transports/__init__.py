"""The ways to an endpoint, one file each: how a request is addressed and authorised, and how the model's bytes come out of its answer."""

from __future__ import annotations

from typing import Any, Protocol


class Decoder(Protocol):
    """Turns one answer's body back into what the container wrote."""

    def feed(self, data: bytes) -> bytes:
        """Take a piece of the body; returns the container's bytes that are complete now. StreamError for an error in the stream."""


class Transport(Protocol):
    """One way to one endpoint."""

    @property
    def server(self) -> str:
        """Scheme, host and port."""

    @property
    def fields(self) -> dict[str, Any]:
        """What a chat completions body must have besides messages and limits."""

    def head(self, body: bytes) -> bytes:
        """The request line and headers of a POST of `body`, authorised, up to and with the empty line."""

    def decoder(self) -> Decoder:
        """A decoder for one answer."""


class StreamError(Exception):
    """An error inside a stream that began well. `kind` is its error class."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def render(path: str, headers: dict[str, str]) -> bytes:
    """The head of a POST."""
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1")
