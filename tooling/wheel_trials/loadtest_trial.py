"""A load test of a server with OpenAI's streaming API, by the command that the wheel installs."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TOKENS = 8
PROFILE = {
    "kind": "closed_loop",
    "concurrency": 2,
    "prompt_tokens": 16,
    "output_tokens": TOKENS,
    "warmup_s": 0.5,
    "duration_s": 2,
    "objectives": {"error_rate": {"at_most": 0}, "requests_per_s": {"at_least": 1}},
}


class _Model(BaseHTTPRequestHandler):
    """Answers every chat request with the same tokens, streamed."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Stream one answer."""
        self.rfile.read(int(self.headers["Content-Length"]))
        words: list[dict[str, Any]] = [
            {"choices": [{"index": 0, "delta": {"content": f"word{n} "}, "finish_reason": None}]} for n in range(TOKENS)
        ]
        end: dict[str, Any] = {"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]}
        usage: dict[str, Any] = {
            "choices": [],
            "usage": {"prompt_tokens": 16, "completion_tokens": TOKENS, "total_tokens": 16 + TOKENS},
        }
        events = [json.dumps({"id": "1", "object": "chat.completion.chunk", **event}) for event in (*words, end, usage)]
        body = "".join(f"data: {event}\n\n" for event in (*events, "[DONE]")).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def main() -> None:
    """Measure the server and read the report."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Model) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command = [str(Path(sys.executable).with_name("loadtest")), "--url", f"http://127.0.0.1:{server.server_port}/v1"]
        command += ["--model", "tiny", "--profile", json.dumps(PROFILE), "--out", "results", "--quiet"]
        print(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])
        server.shutdown()
    report = json.loads(Path("results", "report.json").read_text())
    assert report["verdict"] == "passed", report["verdict"]
    assert Path("results", "requests.parquet").stat().st_size > 0


if __name__ == "__main__":
    main()
