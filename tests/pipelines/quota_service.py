"""AWS services that moto has not: Service Quotas, and the training plans of SageMaker. Answers are given by the test, by operation."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@contextmanager
def answering(answers: dict[str, dict[str, Any]]) -> Iterator[str]:
    """A server that answers AWS's JSON protocol: operation → its answer. Yields its URL; what is not in `answers` is refused by name."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            operation = self.headers["X-Amz-Target"].rsplit(".", 1)[-1]
            known = answers.get(operation)
            body = json.dumps(known if known is not None else {"__type": "AccessDeniedException", "message": operation}).encode()
            self.send_response(200 if known is not None else 400)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: the test's output is its own."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def listed_quotas(**values: float) -> dict[str, Any]:
    """The answer of ListServiceQuotas: instance type (dots as underscores, without `ml.`) → endpoints; `job_…` → processing jobs."""
    quotas = []
    for number, (key, value) in enumerate(values.items(), start=1):
        use = "processing job" if key.startswith("job_") else "endpoint"
        instance_type = "ml." + key.removeprefix("job_").replace("_", ".")
        quotas.append({"QuotaName": f"{instance_type} for {use} usage", "QuotaCode": f"L-{number:08}", "Value": value})
    return {"Quotas": quotas}
