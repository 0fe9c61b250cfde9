"""Health checks of containers: ``GET /ping``."""

from __future__ import annotations

import aiohttp


class HealthClient:
    """The HTTP client for health checks: a connection for each, since containers close those that are idle. Of one event loop."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True))

    async def ping(self, url: str, timeout_s: float) -> bool:
        """Return whether ``GET /ping`` of the container at ``url`` answers 200 within ``timeout_s`` seconds."""
        try:
            async with self._session.get(f"{url}/ping", timeout=aiohttp.ClientTimeout(total=timeout_s)) as response:
                await response.read()
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False
