"""All processing jobs of one server: their records in the store, and the running ones."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import ResourceInUse, ResourceNotFound, ValidationError
from sagemaker_local.processing import inputs, outputs
from sagemaker_local.processing.job import DEFAULT_MAX_RUNTIME_S, Ended, RunningJob

if TYPE_CHECKING:
    from sagemaker_local.context import Context

TERMINAL = frozenset({"Completed", "Failed", "Stopped"})
_KIND = "processing-job"
_LOGGER = logging.getLogger(__name__)
_EVENT = "SageMaker Processing Job State Change"


@dataclass
class ProcessingJobs:
    """Creates, describes, stops and awaits processing jobs. Records are DescribeProcessingJob's answers."""

    context: Context
    _running: dict[str, tuple[RunningJob, threading.Thread]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        for key, record in self.context.store.list(_KIND):
            if record["ProcessingJobStatus"] not in TERMINAL:
                ended = Ended("Failed", "InternalServerError: sagemaker_local was stopped while the job ran.")
                self.context.store.put(_KIND, key, _with_ending(record, ended))

    def create(self, region: str, account_id: str, request: dict[str, Any]) -> str:
        """Start a job for this CreateProcessingJob request; returns its ARN.

        Raises:
            ResourceInUse: the name is taken.
            NotImplementedHere: the request asks for something that is not emulated.
        """
        name = request["ProcessingJobName"]
        inputs.refuse_unsupported(request.get("ProcessingInputs") or [])
        outputs.refuse_unsupported((request.get("ProcessingOutputConfig") or {}).get("Outputs") or [])
        arn = f"arn:aws:sagemaker:{region}:{account_id}:processing-job/{name}"
        key = _key(region, name)
        sandbox = self.context.state_dir / "jobs" / f"{name}-{uuid.uuid4().hex[:8]}"
        job = RunningJob(self.context, region, request, arn, sandbox)
        job.on_started = lambda: self._update(key, ProcessingStartTime=time.time())
        thread = threading.Thread(target=self._run, args=(key, job), name=f"processing-job {name}", daemon=True)
        with self._lock:
            if self.context.store.get(_KIND, key) is not None:
                raise ResourceInUse(
                    f"Job name must be unique within an AWS account and region, and a job with this name already exists ({arn})"
                )
            self.context.store.put(_KIND, key, _new_record(request, arn))
            self._running[key] = (job, thread)
        self._announce(key)
        thread.start()
        return arn

    def describe(self, region: str, name: str) -> dict[str, Any]:
        """DescribeProcessingJob's answer; ValidationError when there is no such job, as the service answers."""
        record: dict[str, Any] | None = self.context.store.get(_KIND, _key(region, name))
        if record is None:
            raise ValidationError("Could not find requested job with name: " + name)
        return record

    def all_in(self, region: str) -> list[dict[str, Any]]:
        """Every job of a region."""
        return [record for key, record in self.context.store.list(_KIND) if key.startswith(f"{region}/")]

    def stop(self, region: str, name: str) -> None:
        """Stop a job: it becomes Stopping now and Stopped when its processes have ended.

        Raises:
            ResourceNotFound: there is no such job.
            ValidationError: it has already ended.
        """
        key = _key(region, name)
        record = self.context.store.get(_KIND, key)
        if record is None:
            raise ResourceNotFound("Could not find requested job with name: " + name)
        if record["ProcessingJobStatus"] in TERMINAL:
            status = record["ProcessingJobStatus"]
            raise ValidationError(f"The request was rejected because the processing job is in status {status}.")
        with self._lock:
            running = self._running.get(key)
        if running is not None and record["ProcessingJobStatus"] != "Stopping":
            self._update(key, ProcessingJobStatus="Stopping")
            self._announce(key)
            running[0].stop()

    def wait(self, region: str, name: str) -> dict[str, Any]:
        """Block until a job has ended; returns its record."""
        with self._lock:
            running = self._running.get(_key(region, name))
        if running is not None:
            running[1].join()
        return self.describe(region, name)

    def delete(self, region: str, name: str) -> None:
        """Forget a job that has ended (DeleteProcessingJob)."""
        if self.describe(region, name)["ProcessingJobStatus"] not in TERMINAL:
            raise ValidationError(f"The processing job {name} cannot be deleted while it runs: stop it first.")
        self.context.store.delete(_KIND, _key(region, name))

    def _run(self, key: str, job: RunningJob) -> None:
        ended = Ended("Failed", "InternalServerError: We encountered an internal error. Please try again.")
        try:
            ended = job.run()
        except Exception:
            _LOGGER.exception("processing job %s", key)
        finally:
            record = self.context.store.get(_KIND, key)
            self.context.store.put(_KIND, key, _with_ending(record, ended))
            self._announce(key)
            with self._lock:
                self._running.pop(key, None)

    def _update(self, key: str, **changes: Any) -> None:
        record = self.context.store.get(_KIND, key)
        if record["ProcessingJobStatus"] not in TERMINAL:
            self.context.store.put(_KIND, key, {**record, **changes, "LastModifiedTime": time.time()})

    def _announce(self, key: str) -> None:
        """Send the job's state as an EventBridge event: the detail is DescribeProcessingJob's answer."""
        record = self.context.store.get(_KIND, key)
        region = key.partition("/")[0]
        self.context.events.put(region, _EVENT, [record["ProcessingJobArn"]], record)


def _key(region: str, name: str) -> str:
    return f"{region}/{name}"


def _new_record(request: dict[str, Any], arn: str) -> dict[str, Any]:
    now = time.time()
    kept = {name: value for name, value in request.items() if name != "Tags"}
    kept.setdefault("StoppingCondition", {"MaxRuntimeInSeconds": DEFAULT_MAX_RUNTIME_S})
    return {
        **kept,
        "ProcessingJobArn": arn,
        "ProcessingJobStatus": "InProgress",
        "CreationTime": now,
        "LastModifiedTime": now,
    }


def _with_ending(record: dict[str, Any], ended: Ended) -> dict[str, Any]:
    now = time.time()
    changes = {"ProcessingJobStatus": ended.status, "ProcessingEndTime": now, "LastModifiedTime": now}
    if ended.failure_reason:
        changes["FailureReason"] = ended.failure_reason[:1024]
    if ended.exit_message:
        changes["ExitMessage"] = ended.exit_message
    return {**record, **changes}
