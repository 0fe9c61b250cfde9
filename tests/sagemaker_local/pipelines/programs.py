"""What the test image runs: ``python programs.py FUNCTION ARGUMENTS…``. Nothing but the standard library."""

from __future__ import annotations

import http.server
import json
import os
import signal
import sys
import tarfile
import time
from pathlib import Path


def nothing() -> None:
    """Succeed at once."""


def write_report(folder: str, auc: str) -> None:
    """An evaluation report."""
    report = {"metrics": {"auc": float(auc)}, "rows": [{"name": "first"}]}
    (Path(folder) / "report.json").write_text(json.dumps(report))


def look_around(source: str, one: str, target: str) -> None:
    """Write down what the inputs and the environment are."""
    found = sorted(str(path.relative_to(source)) for path in Path(source).rglob("*") if path.is_file())
    seen = {"found": found, "one": (Path(one) / "one.txt").read_text(), "where": os.environ["WHERE"]}
    (Path(target) / "sub").mkdir()
    (Path(target) / "sub" / "seen.json").write_text(json.dumps(seen))


def one_of_many(source: str, target: str, config: str) -> None:
    """Write down this instance's share and what it knows of the others."""
    resources = json.loads((Path(config) / "resourceconfig.json").read_text())
    job = json.loads((Path(config) / "processingjobconfig.json").read_text())
    seen = [sorted(path.name for path in Path(source).iterdir()), resources["hosts"], job["ProcessingJobArn"]]
    (Path(target) / resources["current_host"]).write_text(json.dumps(seen))


def leave_a_message_and_fail(message: str, folder: str) -> None:
    """More text than the message may hold, half an output, exit code 1."""
    Path(message).write_text("é" * 2000)
    (Path(folder) / "partial").write_text("so far")
    sys.exit(1)


def say_goodbye(folder: str) -> None:
    """Wait for SIGTERM, and then end well."""

    def end(*_: object) -> None:
        (Path(folder) / "goodbye").write_text("ended well")
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    (Path(folder) / "ready").write_text("yes")
    time.sleep(60)


def wait_for(gate: str, pid_file: str) -> None:
    """Say which process this is, and wait for a file to appear."""
    written = Path(f"{pid_file}.new")
    written.write_text(str(os.getpid()))
    written.replace(pid_file)  # whole: who sees it reads it at once
    while not Path(gate).exists():
        time.sleep(0.02)


def write_environment(folder: str, *names: str) -> None:
    """These environment variables, as JSON."""
    (Path(folder) / "environment.json").write_text(json.dumps({name: os.environ[name] for name in names}))


def count(counter: str, fail_until: str) -> None:
    """Count the runs in a file outside the sandbox; fail until this many have been."""
    path = Path(counter)
    runs = int(path.read_text()) + 1 if path.exists() else 1
    path.write_text(str(runs))
    if runs < int(fail_until):
        sys.exit(1)


def square(number: str, folder: str) -> None:
    """One part of a fan-out."""
    (Path(folder) / number).write_text(str(int(number) ** 2))


def add_up(source: str, folder: str) -> None:
    """What a fan-out's parts come to."""
    total = sum(int(path.read_text()) for path in Path(source).rglob("*") if path.is_file())
    (Path(folder) / "total.json").write_text(json.dumps({"total": total}))


def train() -> None:
    """A training container: read everything that SageMaker provides, leave a model, output data and metrics."""
    base = Path(os.environ["SAGEMAKER_BASE_DIR"])
    read = {path.stem: json.loads(path.read_text()) for path in (base / "input" / "config").iterdir()}
    rows = [float(row) for row in (base / "input" / "data" / "train" / "data.csv").read_text().split()]
    if read["hyperparameters"].get("fail") == "yes":
        (base / "output" / "failure").write_text("the rows do not converge")
        sys.exit(1)
    sys.stdout.write("loss=2.5;\nloss=0.5;\n")
    model = {"mean": sum(rows) / len(rows), "hyperparameters": read["hyperparameters"], "channels": read["inputdataconfig"]}
    (base / "model" / "model.json").write_text(json.dumps(model))
    (base / "output" / "data" / "notes.txt").write_text("done")


def evaluate_model(model: str, folder: str) -> None:
    """Unpack a model and write a report on it."""
    with tarfile.open(Path(model) / "model.tar.gz") as archive:
        content = archive.extractfile("model.json")
        assert content is not None
        mean = json.loads(content.read())["mean"]
    (Path(folder) / "report.json").write_text(json.dumps({"metrics": {"mean": mean}}))


def serve(port: str) -> None:
    """A serving container that doubles numbers, one a line, with the factor that its model has."""
    factor = int(Path("/opt/ml/model/factor").read_text()) if Path("/opt/ml/model/factor").exists() else 2

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(b"")

        def do_POST(self) -> None:
            lines = self.rfile.read(int(self.headers["Content-Length"])).decode().split()
            if "bad" in lines:
                self.send_error(400, "not a number")
                return
            self.answer(" ".join(str(factor * int(line)) for line in lines).encode())

        def answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
