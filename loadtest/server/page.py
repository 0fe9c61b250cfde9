"""One metrics page, fetched from a server that nobody vouches for: bounded in size and time, plain text or nothing."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from loadtest.client.connection_pool import ConnectionPool
from loadtest.client.http_client import HttpResponse
from loadtest.errors import HttpError, InvalidInput

PAGE_BYTES = 4 * 1024 * 1024
TIMEOUT_S = 5.0
_TEXT = "text/plain"


class MetricsPage:
    """The page at one address. No key and no cookie goes there, and no redirect is followed."""

    def __init__(self, url: str) -> None:
        """`url` is the page's, as `metrics_address` gives it."""
        parts = urlsplit(url)
        path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~") + (
            f"?{quote(parts.query, safe='/%:@!$&*+,;=~?')}" if parts.query else ""
        )
        self._head = (
            f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAccept: {_TEXT};version=0.0.4\r\nAccept-Encoding: identity\r\n\r\n"
        ).encode("latin-1")
        self._connections = ConnectionPool(url, TIMEOUT_S)

    async def fetch(self) -> str:
        """Fetch it.

        Returns:
            Its text.

        Raises:
            HttpError: there is no such page, it is another kind of page, or it is too large or too slow.
        """
        pieces: list[bytes] = []
        size = 0

        def receive(piece: bytes, _: int) -> None:
            nonlocal size
            size += len(piece)
            if not _is_text(answer):
                raise HttpError("protocol", f"it is {answer.content_type[:60] or 'of no type'!r}, not {_TEXT}")
            if size > PAGE_BYTES:
                raise HttpError("protocol", f"it is larger than {PAGE_BYTES} bytes")
            pieces.append(piece)

        answer = HttpResponse(receive)
        await self._connections.post(self._head, answer, lambda: None)
        if answer.status != 200:
            raise HttpError("protocol", f"it is answered with HTTP status {answer.status}")
        return b"".join(pieces).decode(errors="replace")

    def close(self) -> None:
        """Drop the connection."""
        self._connections.close()


def metrics_address(url: str) -> str:
    """Check the address of a metrics page.

    Args:
        url: as a user gave it.

    Returns:
        The address, without a fragment.

    Raises:
        InvalidInput: it is none that can be asked.
    """
    wrong = InvalidInput(
        f"--metrics-url: {url!r} will not do, expected http://HOST:PORT/metrics; give the page's address, or none"
    )
    try:
        parts = urlsplit(url)
        port_is_known = parts.port is None or parts.port > 0
    except ValueError as error:
        raise wrong from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc or not port_is_known:
        raise wrong
    if not url.isascii() or any(character.isspace() for character in url):
        raise wrong
    return parts._replace(fragment="").geturl()


def metrics_address_beside(url: str) -> str:
    """Return where SGLang and vLLM have their metrics page: at the root of the server whose API is at `url`."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/metrics"


def _is_text(answer: HttpResponse) -> bool:
    return answer.content_type.partition(";")[0].strip() == _TEXT
