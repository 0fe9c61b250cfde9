"""Starting `serve` and the engines as real processes, and asking them over HTTP."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.waiting import HANG_S, wait_until

ROOT = Path(__file__).parents[2]
SERVE = ROOT / "container" / "serve"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(**extra: str) -> dict[str, str]:
    """A small environment, as a container has: this Python first on PATH, nothing of the caller's."""
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
    return {"PATH": path, "PYTHONPATH": str(ROOT), "HOME": os.environ.get("HOME", "/tmp"), **extra}


def run_serve(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SERVE), *arguments], env=environment(**variables), capture_output=True, text=True, timeout=HANG_S
    )


class Server:
    """An engine under test: its process, its port, and requests to it."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.port = port

    def request(self, method: str, path: str, body: Any = None, timeout: float = 30) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
            connection.request(method, path, data)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def get_json(self, path: str) -> Any:
        status, body = self.request("GET", path)
        assert status == 200, (status, body)
        return json.loads(body)

    def chat(self, prompt: str = "hello there", **fields: Any) -> tuple[int, Any]:
        body = {"messages": [{"role": "user", "content": prompt}], **fields}
        status, raw = self.request("POST", fields.pop("path", "/v1/chat/completions"), body)
        return status, json.loads(raw)

    def stream(self, prompt: str = "hello there", **fields: Any) -> list[dict[str, Any]]:
        """The events of a streamed answer, without the final `[DONE]` (which must be there)."""
        body = {"messages": [{"role": "user", "content": prompt}], "stream": True, **fields}
        status, raw = self.request("POST", "/invocations", body)
        assert status == 200, raw
        events = [line.removeprefix("data: ") for line in raw.decode().split("\n\n") if line]
        assert events[-1] == "[DONE]"
        return [json.loads(event) for event in events[:-1]]

    @contextlib.contextmanager
    def streaming(self, prompt: str, **fields: Any) -> Iterator[http.client.HTTPResponse]:
        """A streamed answer under way; leaving the block closes the connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=HANG_S)
        body = {"messages": [{"role": "user", "content": prompt}], "stream": True, **fields}
        try:
            connection.request("POST", "/invocations", json.dumps(body))
            answer = connection.getresponse()
            assert answer.status == 200
            yield answer
        finally:
            # The response holds the socket too; both must go for the server to see it.
            connection.close()
            answer.close()

    def wait_healthy(self) -> None:
        def is_healthy() -> bool:
            assert self.process.poll() is None, self.process.communicate()[1]
            with contextlib.suppress(OSError):
                return bool(self.request("GET", "/ping")[0] == 200)
            return False

        wait_until(is_healthy, "the server is healthy")


@contextlib.contextmanager
def engine(name: str, *arguments: str, healthy: bool = True, **variables: str) -> Iterator[Server]:
    port = free_port()
    command = [sys.executable, "-m", f"container.engines.{name}", "--port", str(port), *arguments]
    process = subprocess.Popen(command, env=environment(**variables), stderr=subprocess.PIPE, text=True, cwd=ROOT)
    server = Server(process, port)
    try:
        if healthy:
            server.wait_healthy()
        yield server
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
