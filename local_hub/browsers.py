"""Requests of web pages, refused: no page that the user visits may read private weights here, or plan faults.

A page shows itself by `Origin`, `Referer` or `Sec-Fetch-Site`, by a browser's `User-Agent` where it leaves these out, or by a `Host` that is
not this machine's (DNS rebinding). Clients of the Hub send none of these; a person who types an address sends `Sec-Fetch-Site: none`.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from email.message import Message
from urllib.parse import urlsplit

__all__ = ["LOOPBACK", "refusal"]

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
_HOST = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(?::\d*)?")
_LONGEST_SHOWN = 100


def _from_elsewhere(referer: str | None, host: str, hosts: Collection[str]) -> str | None:
    """Return a Referer, unless it is this server's own address: that is a redirect to its CDN, which Go's clients follow so; it serves no pages."""
    try:
        parts = urlsplit(referer or "")
        is_own = parts.port is not None and host.endswith(f":{parts.port}") and _HOST.fullmatch(parts.netloc.lower())
    except ValueError:
        return referer
    return None if is_own and is_own[1] in hosts else referer


def refusal(headers: Message, hosts: Collection[str]) -> str | None:
    """Return why a request with these headers is refused, None where it is not; `hosts` are the names of this server, in lower case."""
    named = headers.get_all("host", [])
    found = _HOST.fullmatch(named[0].strip().lower()) if len(named) == 1 else None
    if found is None or found[1] not in hosts:
        return (
            f"the request's Host is {', '.join(named)[:_LONGEST_SHOWN]}, and this Hub answers to {', '.join(sorted(hosts))} alone; start it with "
            "--allowed-host NAME if a client of yours calls it so"
        )
    site = headers.get("sec-fetch-site")
    agent = headers.get("user-agent", "")
    signs = {
        "Origin": headers.get("origin"),
        "Referer": _from_elsewhere(headers.get("referer"), named[0], hosts),
        "Sec-Fetch-Site": site if site != "none" else None,
        "User-Agent": agent if agent.startswith("Mozilla/") and site is None else None,
    }
    for name, value in signs.items():
        if value is not None:
            return f"a page in a browser sent this ({name}: {value[:_LONGEST_SHOWN]}), and this Hub answers programs alone"
    return None
