"""Chromium without a screen, over its DevTools protocol: what a page asks of the network and writes to its console, and how it looks."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-background-networking",
)
_SETTLE_S = 0.3


@dataclass
class Visit:
    """What opening a page showed."""

    requests: list[str] = field(default_factory=list)
    """Every address that the page asked for, its own included."""
    console: list[str] = field(default_factory=list)
    """Every warning, error and uncaught exception."""
    answers: dict[str, Any] = field(default_factory=dict)
    """JavaScript expression → its value."""
    screenshots: dict[str, bytes] = field(default_factory=dict)
    """Colour scheme → PNG of the whole page."""


def visit(
    page: Path | str,
    expressions: tuple[str, ...] = (),
    schemes: tuple[str, ...] = (),
    width: int = 1280,
    flags: tuple[str, ...] = (),
) -> Visit:
    """Open a file or an address in Chromium (`PROGRAM` must not be None), wait until it is loaded, evaluate the expressions (of a promise, what
    it resolves to), take screenshots. `width` is the window's, in pixels; `flags` are Chromium's."""
    url = page if isinstance(page, str) else page.as_uri()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [str(PROGRAM), *_FLAGS, *flags, f"--user-data-dir={profile}", "--remote-debugging-port=0", "about:blank"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True)
        try:
            assert process.stderr is not None
            line = next(line for line in process.stderr if line.startswith("DevTools listening on "))
            host = line.removeprefix("DevTools listening on ws://").split("/", 1)[0]
            return asyncio.run(_visit(host, url, expressions, schemes, width))
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # with its helpers, which write into the profile
            process.wait()


async def _visit(host: str, url: str, expressions: tuple[str, ...], schemes: tuple[str, ...], width: int) -> Visit:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://{host}/json/list") as response:
            target = next(one for one in await response.json() if one["type"] == "page")
        async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
            tab = _Tab(socket)
            for domain in ("Network", "Log", "Runtime", "Page"):
                await tab.call(f"{domain}.enable")
            await tab.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
            await tab.call("Page.navigate", url=url)
            await tab.until("Page.loadEventFired")
            await asyncio.sleep(_SETTLE_S)  # for requests that a page makes when it is loaded
            for expression in expressions:
                answer = await tab.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
                tab.seen.answers[expression] = answer["result"].get("value")
            for scheme in schemes:
                await tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
                shot = await tab.call("Page.captureScreenshot", captureBeyondViewport=True)
                tab.seen.screenshots[scheme] = base64.b64decode(shot["data"])
            return tab.seen


class _Tab:
    """One tab: calls, and what happens meanwhile."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.seen = Visit()
        self._socket = socket
        self._calls = 0
        self._happened: set[str] = set()

    async def call(self, method: str, **parameters: Any) -> Any:
        self._calls += 1
        await self._socket.send_str(json.dumps({"id": self._calls, "method": method, "params": parameters}))
        while True:
            message = await self._message()
            if message.get("id") == self._calls:
                return message["result"]

    async def until(self, event: str) -> None:
        while event not in self._happened:
            await self._message()

    async def _message(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads((await self._socket.receive()).data)
        parameters = message.get("params", {})
        match message.get("method"):
            case "Network.requestWillBeSent":
                self.seen.requests.append(parameters["request"]["url"])
            case "Log.entryAdded":
                self.seen.console.append(parameters["entry"]["text"])
            case "Runtime.consoleAPICalled" if parameters["type"] in {"error", "warning", "assert"}:
                self.seen.console.append(str(parameters["args"]))
            case "Runtime.exceptionThrown":
                self.seen.console.append(str(parameters["exceptionDetails"]))
        self._happened.add(message.get("method", ""))
        return message
