"""Requests of web pages, refused: a page that the user visits must not reach a server that runs programs as the user.

A page of any site can send requests to this machine's ports: forms and images without asking, ``fetch`` where the server allows it, and as
this server's own origin when the page's name is made to lead here (DNS rebinding). What shows such a request:

- ``Origin``: on every cross-origin ``fetch``, POST form and WebSocket, ``null`` from a sandboxed frame (Fetch standard, "Origin header").
- ``Sec-Fetch-Site``: on every request of a browser to loopback; ``none`` is what a person typed, and no page can send it (Fetch Metadata).
- ``Referer`` or a browser's ``User-Agent``: browsers without Fetch Metadata leave ``Origin`` out of images and GET forms.
- ``Host``: a name that is not this machine's. A page cannot choose it.

AWS's SDKs and command line send none of these; ``fetch`` in Node sends ``Sec-Fetch-Mode`` alone. ``BUCKET.localhost`` is how they name a
bucket with virtual-hosted addresses; nobody can make a name below ``localhost`` lead elsewhere (RFC 6761).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
_HOST = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(?::\d*)?")
_LOOKING = ("GET", "HEAD")
_TO_LOOK_AT = ("", "s3")
"""What an address may be signed for that a person opens: of other services one can name any action, and a mail can have it as a link."""
_LONGEST_SHOWN = 100
_ANY_ADDRESS = {"", "0.0.0.0", "::"}  # noqa: S104 -- compared, not bound


@dataclass(frozen=True)
class BrowserGuard:
    """Says which requests come from a page.

    >>> BrowserGuard.of().refusal("GET", [(b"host", b"127.0.0.1:4566")]) is None
    True
    >>> BrowserGuard.of().refusal("GET", [(b"host", b"127.0.0.1:4566"), (b"origin", b"https://example.com")])[:44]
    'a page in a browser sent this (Origin: https'
    """

    hosts: frozenset[str]
    """The names and addresses that clients may call this server by, in lower case."""

    @classmethod
    def of(cls, *names: str) -> BrowserGuard:
        """Return a guard that knows loopback, and these names or addresses besides; one that stands for all addresses is none."""
        known = {name.lower() for name in names} - _ANY_ADDRESS
        return cls(LOOPBACK | {f"[{name}]" if ":" in name and not name.startswith("[") else name for name in known})

    def refusal(self, method: str, headers: Sequence[tuple[bytes, bytes]], service: str = "") -> str | None:
        """Return why a request is refused; None where it is not.

        Args:
            method: in capitals.
            headers: as ASGI has them: names in lower case, each as often as it came.
            service: the service that it is signed for; empty where it is not signed.
        """
        hosts = _values(headers, b"host")
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            known = ", ".join(sorted(self.hosts))
            return (
                f"the request's Host is {_shown(', '.join(hosts))}, and this server answers to {known} alone, so that no web page reaches it "
                "by a name of its own; start it with --allowed-host NAME if a client of yours calls it so"
            )
        sign = _sign_of_page(method, headers)
        if sign is None and _values(headers, b"sec-fetch-site") and (method not in _LOOKING or service not in _TO_LOOK_AT):
            sign = "opened from a link, it asks for more than to look at an object"
        if sign is None:
            return None
        return f"a page in a browser sent this ({_shown(sign)}), and this server answers programs alone"

    def _is_ours(self, host: str) -> bool:
        found = _HOST.fullmatch(host.strip().lower())
        return found is not None and (found[1] in self.hosts or found[1].endswith(".localhost"))


def _sign_of_page(method: str, headers: Sequence[tuple[bytes, bytes]]) -> str | None:
    """Return what of a request shows that a page sent it."""
    for name in (b"origin", b"referer"):
        for value in _values(headers, name):
            return f"{name.decode().title()}: {value}"
    sites = _values(headers, b"sec-fetch-site")
    for value in sites:
        if value != "none":
            return f"Sec-Fetch-Site: {value}"
    if method == "OPTIONS":
        return "method OPTIONS, a preflight"
    agent = ", ".join(_values(headers, b"user-agent"))
    return f"User-Agent: {agent}" if agent.startswith("Mozilla/") and not sites else None


def _values(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> list[str]:
    return [value.decode("latin-1") for name, value in headers if name == wanted]


def _shown(value: str) -> str:
    return value if len(value) <= _LONGEST_SHOWN else f"{value[:_LONGEST_SHOWN]}…"
