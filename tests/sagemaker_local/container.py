"""A container for hosting tests: what /ping and /invocations answer is told by its environment and by the request.

Environment: PORT; UNHEALTHY=1 (/ping answers 503), CRASH=1 (exits at once), CRASH_IF_EXISTS (the same
where that file exists), SLOW_START_S, START_GATE (serves once that file is there), NAME (in every answer), METRICS (the text of /metrics),
WHERE (a folder whose entries are in the answer).
Request body (JSON): {"stream": n} for n server-sent events, "gap_s" between them, "break_after" (closes the connection after so
many), "gate" (no second event before that file is there), "status" (that status), "sleep_s" (before the answer), "until"
(no answer before that file is there), "exit" (the process ends).
"""

from __future__ import annotations

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if self.path == "/ping":
            self._answer(503 if os.environ.get("UNHEALTHY") else 200, b"")
        elif self.path == "/metrics" and "METRICS" in os.environ:
            self._answer(200, os.environ["METRICS"].encode(), "text/plain; version=0.0.4")
        elif self.path == "/v1/models":
            self._answer(200, json.dumps({"data": [{"id": os.environ.get("NAME", "model")}]}).encode())
        else:
            self._answer(404, b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        order: dict[str, Any] = json.loads(body) if body.startswith(b"{") else {}
        time.sleep(order.get("sleep_s", 0))
        while "until" in order and not Path(order["until"]).exists():
            time.sleep(0.01)
        if order.get("exit"):
            os._exit(3)
        if order.get("stream"):
            self._stream(order["stream"], order.get("gap_s", 0.0), order.get("break_after"), order.get("gate"))
            return
        files = {
            str(file.relative_to("model")): file.stat().st_size for file in sorted(Path("model").rglob("*")) if file.is_file()
        }
        answer = {
            "name": os.environ.get("NAME"), "pid": os.getpid(), "path": self.path, "body": body.decode(errors="replace"),
            "headers": {name.lower(): value for name, value in self.headers.items()}, "files": files,
            "environment": dict(os.environ), "instance_type": sys.argv[1],
            "there": sorted(entry.name for entry in Path(os.environ["WHERE"]).iterdir()) if "WHERE" in os.environ else None,
        }  # fmt: skip
        self._answer(order.get("status", 200), json.dumps(answer).encode())

    def _stream(self, count: int, gap_s: float, break_after: int | None, gate: str | None) -> None:
        chat = self.path.startswith("/v1/")
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for index in range(count):
            if break_after is not None and index >= break_after:
                self.close_connection = True
                return
            delta = {
                "choices": [{"index": 0, "delta": {"role": "assistant", "content": f"token{index} "}, "finish_reason": None}]
            }
            data = (
                {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", **delta} if chat else {"index": index}
            )
            self._chunk(f"data: {json.dumps(data)}\n\n".encode())
            while gate and not Path(gate).exists():
                time.sleep(0.01)
            time.sleep(gap_s)
        self._chunk(b"data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _answer(self, status: int, body: bytes, content_type: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True


if __name__ == "__main__":
    sys.stdout.write(f"container {os.environ.get('NAME')} starts\n")
    if os.environ.get("CRASH") or Path(os.environ.get("CRASH_IF_EXISTS", "/nonexistent")).exists():
        sys.stdout.write("cannot load the model\n")
        sys.exit(7)
    time.sleep(float(os.environ.get("SLOW_START_S", "0")))
    while "START_GATE" in os.environ and not Path(os.environ["START_GATE"]).exists():
        time.sleep(0.01)
    Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
