"""lm-eval tasks against the staging endpoint: checked before it is paid for, asked over its OpenAI path, scored as objectives."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import math
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config.evaluation import LmEval, LmEvalTask
from delivery.aws import s3
from delivery.errors import DeliveryError, InputError
from delivery.job.frame import progress
from loadtest.measurement.models import ObjectiveResult
from loadtest.measurement.scoring import score
from loadtest.transports.openai import OpenAITransport

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

logger = logging.getLogger(__name__)

_Z = 1.96  # standard errors to either side: 95 %
_POLL_S = 1.0
_SHOWN_LINES = 12
_SHOWN = 300  # characters of a failure in the report
_ERROR_OF_CODE = {2: InputError}


@dataclass
class LmEvalTasks:
    """The lm-eval tasks of one evaluation; made before there is an endpoint."""

    wanted: LmEval
    folder: Path
    """For task files, orders, answers and the log."""

    @classmethod
    def prepare(cls, wanted: LmEval | None, client: S3Client, folder: Path) -> LmEvalTasks | None:
        """Fetch what the model file brings and let lm-eval load every task.

        Args:
            wanted: The model file's section; None where there is none.
            client: The client of the archive's bucket.
            folder: Made for task files, orders, answers and the log.

        Returns:
            The tasks; None where the model file names none.

        Raises:
            InputError: lm-eval is not installed, has no such task, cannot get its data, or scores it by log-likelihoods.
        """
        if wanted is None:
            return None
        folder.mkdir()
        made = cls(wanted, folder)
        if wanted.archive:
            made._unpack(client, wanted.archive)
        progress(f"checking the lm-eval tasks {', '.join(wanted.tasks)}")
        made._run_lm_eval("check", {})
        return made

    def ask(
        self, transport: OpenAITransport, timeout_s: float, within_s: float, on_poll: Callable[[], None] = lambda: None
    ) -> dict[str, dict[str, float]]:
        """Ask every task's questions.

        Args:
            transport: How the endpoint is reached.
            timeout_s: Of one request.
            within_s: After this long the endpoint expires.
            on_poll: Called every second; what it raises ends lm-eval and goes through.

        Returns:
            Task → every number that lm-eval gives.

        Raises:
            DeliveryError: lm-eval failed, or had not ended in time.
        """
        progress(f"lm-eval: {', '.join(self.wanted.tasks)}")
        order = {
            "base_url": f"{transport.url}/chat/completions",
            "model": transport.model,
            "concurrency": self.wanted.concurrency,
            "timeout_s": timeout_s,
        }
        found: dict[str, dict[str, float]] = self._run_lm_eval(
            "run", order, key=transport.bearer, within_s=within_s, on_poll=on_poll
        )["results"]
        for name, task in self.wanted.tasks.items():
            logger.info(f"lm-eval {name}: {task.metric} {found[name].get(task.key)}")
        return found

    def _unpack(self, client: S3Client, address: str) -> None:
        """Lay the model file's own tasks beside their data. (zipfile keeps every member inside the folder, whatever it is called.)"""
        body = s3.read(client, s3.S3Uri.parse(address))
        if body is None:
            raise InputError(f"{address} is not there; the model file names it as evaluation.lm_eval.archive")
        try:
            with zipfile.ZipFile(io.BytesIO(body)) as archive:
                archive.extractall(self.folder / "tasks")
        except zipfile.BadZipFile as error:
            raise InputError(f"{address} is not a zip file: {error}") from error
        if not any((self.folder / "tasks").rglob("*.yaml")):
            raise InputError(f"{address} has no task files; put the YAML files of tasks into it, and their data")

    def _run_lm_eval(
        self,
        action: str,
        more: dict[str, Any],
        *,
        key: str = "",
        within_s: float = math.inf,
        on_poll: Callable[[], None] = lambda: None,
    ) -> dict[str, Any]:
        tasks = self.folder / "tasks"
        tasks.mkdir(exist_ok=True)
        order, answer, log = (self.folder / f"{action}.{kind}" for kind in ("order", "answer", "log"))
        named = {name: task.model_dump(include={"examples", "fewshot", "max_tokens"}) for name, task in self.wanted.tasks.items()}
        order.write_text(json.dumps({**more, "tasks": named, "folder": str(tasks) if self.wanted.archive else None}))
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "steps.evaluate_staging.lm_eval.process", action, str(order), str(answer)],
                cwd=tasks,  # so that a task's data files are named as they lie beside it
                env={**os.environ, "OPENAI_API_KEY": key, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
            code = _wait(process, within_s, on_poll)
        said: dict[str, Any] = json.loads(answer.read_text()) if answer.exists() else {}
        if code != 0:
            raise _ERROR_OF_CODE.get(code, DeliveryError)(said.get("error") or f"lm-eval ended with {code}: {_tail(log)}")
        return said


def results(
    wanted: LmEval | None, found: dict[str, dict[str, float]] | str, before: dict[str, ObjectiveResult], note: str = ""
) -> dict[str, ObjectiveResult]:
    """Score each task as an objective.

    Args:
        wanted: The model file's section; None where there is none.
        found: Task → every number that lm-eval gives; or how lm-eval failed: then the run is invalid, and the version not to blame.
        before: Those of production.
        note: Why there are none although production serves.

    Returns:
        A result for each task.
    """
    if wanted is None:
        return {}
    if isinstance(found, str):
        failure = found if len(found) <= _SHOWN else f"{found[:_SHOWN]}… (the step's log has all of it)"
        return {name: score(task, None).model_copy(update={"undecided": failure}) for name, task in wanted.tasks.items()}
    return {name: _result(task, found[name], before.get(name), note) for name, task in wanted.tasks.items()}


def _result(task: LmEvalTask, numbers: dict[str, float], before: ObjectiveResult | None, note: str) -> ObjectiveResult:
    value, error = numbers.get(task.key), numbers.get(task.error_key)
    interval = (value - _Z * error, value + _Z * error) if value is not None and error is not None else None
    result = score(task, value, before.value if before else None, interval, note=note)
    if value is None:
        return result.model_copy(update={"note": f"lm-eval gives no {task.key}; it gives {', '.join(sorted(numbers))}"})
    return result


def _wait(process: subprocess.Popen[bytes], within_s: float, on_poll: Callable[[], None]) -> int:
    """Wait for lm-eval's exit code. It is ended when its time is up, or when `on_poll` raises."""
    until_s = time.monotonic() + within_s
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(max(0.0, min(_POLL_S, until_s - time.monotonic())))
            on_poll()
            if time.monotonic() >= until_s:
                raise DeliveryError(
                    f"lm-eval had not ended after {within_s:.0f} s, when the staging endpoint expires; raise evaluation.max_runtime_s, "
                    "or bound the tasks' examples"
                )
    finally:
        process.kill()
        process.wait()


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-_SHOWN_LINES:])
