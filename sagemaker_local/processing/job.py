"""One processing job while it runs: inputs, N processes, outputs, and how it ended."""

from __future__ import annotations

import queue
import shutil
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import AwsError
from sagemaker_local.processes import Launch
from sagemaker_local.processing.inputs import InputError, bring
from sagemaker_local.processing.layout import EXIT_MESSAGE_BYTES, InstanceLayout
from sagemaker_local.processing.outputs import OutputError, Uploader

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sagemaker_local.context import Context
    from sagemaker_local.processes import Child

STOP_GRACE_S = 120.0  # between SIGTERM and SIGKILL, as SageMaker gives it
DEFAULT_MAX_RUNTIME_S = 86_400  # one day, DescribeProcessingJob's default for StoppingCondition
LOG_GROUP = "/aws/sagemaker/ProcessingJobs"


@dataclass(frozen=True)
class Ended:
    """How a job ended: a terminal ProcessingJobStatus, and why when it is not ``Completed``."""

    status: str
    failure_reason: str = ""
    exit_message: str = ""


@dataclass
class RunningJob:
    """A job's processes and files. ``run`` blocks until the job has ended; ``stop`` may be called from any thread."""

    context: Context
    region: str
    request: dict[str, Any]
    """CreateProcessingJob's request."""
    arn: str
    sandbox: Path
    on_started: Callable[[], None] = lambda: None
    """Called when the processes have been started."""
    _stop_requested: threading.Event = field(default_factory=threading.Event)
    _children: list[Child] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> Ended:
        """Run the job to its end. Its sandbox is gone afterwards; its logs stay."""
        try:
            return self._run()
        finally:
            shutil.rmtree(self.sandbox, ignore_errors=True)

    def _run(self) -> Ended:
        layouts = self._layouts()
        s3 = self.context.client("s3", self.region)
        outputs = (self.request.get("ProcessingOutputConfig") or {}).get("Outputs") or []
        uploader = Uploader(s3, outputs, layouts)
        try:
            bring(s3, self.request.get("ProcessingInputs") or [], layouts)
            uploader.create_folders()
            launches = self._launches(layouts)
        except InputError as error:
            return Ended("Failed", str(error))
        except AwsError as error:
            return Ended("Failed", f"ClientError: {error.message}")
        try:
            uploader.start_continuous()
            ended = self._run_processes(launches, layouts)
        finally:
            try:
                uploader.finish()
            except OutputError as error:
                ended = Ended("Failed", str(error))
        return ended

    def stop(self) -> None:
        """Ask the job to stop: SIGTERM now, SIGKILL to what is left after the grace. Returns at once."""
        with self._lock:
            self._stop_requested.set()
            children = list(self._children)
        for child in children:
            _terminate_in_background(child)

    def _layouts(self) -> list[InstanceLayout]:
        cluster = self.request["ProcessingResources"]["ClusterConfig"]
        hosts = [f"algo-{index + 1}" for index in range(cluster["InstanceCount"])]
        layouts = [InstanceLayout(self.sandbox / host, host) for host in hosts]
        for layout in layouts:
            layout.write_configuration(hosts, cluster["InstanceType"], {"ProcessingJobArn": self.arn, **self.request})
        return layouts

    def _launches(self, layouts: list[InstanceLayout]) -> list[Launch]:
        """What to start on each instance: the job's entrypoint, else the image's, with ``/opt/ml`` paths rewritten."""
        specification = self.request["AppSpecification"]
        image = self.context.images.resolve(specification["ImageUri"])
        isolated = bool((self.request.get("NetworkConfig") or {}).get("EnableNetworkIsolation"))
        name = self.request["ProcessingJobName"]
        epoch_ms = int(time.time() * 1000)
        launches = []
        for layout in layouts:
            command = image.launch(
                name=name,
                opt_ml=layout.opt_ml,
                instance_type=self.request["ProcessingResources"]["ClusterConfig"]["InstanceType"],
            )
            entrypoint = specification.get("ContainerEntrypoint") or command.argv
            arguments = specification.get("ContainerArguments") or []
            own = {key: layout.rewrite(value) for key, value in (self.request.get("Environment") or {}).items()}
            launches.append(
                Launch(
                    name=f"processing-job/{name}/{layout.host}",
                    argv=[layout.rewrite(word) for word in [*entrypoint, *arguments]],
                    env=self.context.child_environment(
                        self.region,
                        container={"PROCESSING_JOB_ARN": self.arn, **own},
                        image=command.environment,
                        isolated=isolated,
                    ),
                    cwd=command.working_directory or layout.root,
                    log_path=self.context.state_dir / "logs" / "processing-jobs" / name / f"{layout.host}.log",
                    log_group=LOG_GROUP,
                    log_stream=f"{name}/{layout.host}-{epoch_ms}",
                    region=self.region,
                )
            )
        return launches

    def _run_processes(self, launches: list[Launch], layouts: list[InstanceLayout]) -> Ended:
        """Start the processes, wait for all of them, and say how the job ended."""
        limit_s = (self.request.get("StoppingCondition") or {}).get("MaxRuntimeInSeconds", DEFAULT_MAX_RUNTIME_S)
        deadline = time.monotonic() + limit_s
        try:
            with self._lock:
                if self._stop_requested.is_set():
                    return Ended("Stopped")
                for launch in launches:
                    self._children.append(self.context.processes.start(launch))
        except (OSError, RuntimeError) as error:
            self.stop()
            return Ended("Failed", f"AlgorithmError: Cannot start the container's command {launches[0].argv}: {error}")
        self.on_started()
        codes, timed_out = self._wait(deadline)
        return self._ending(codes, layouts, timed_out, limit_s)

    def _wait(self, deadline: float) -> tuple[list[int], bool]:
        """The exit codes of all processes, and whether they had to be ended because the job's time was up.

        One instance that fails ends the others, as the failure of a host fails the job.
        """
        finished: queue.SimpleQueue[int] = queue.SimpleQueue()
        for child in self._children:
            threading.Thread(target=lambda child=child: finished.put(_wait_for(child)), daemon=True).start()
        codes: list[int] = []
        timed_out = False
        while len(codes) < len(self._children):
            try:
                timeout = None if timed_out else max(0.0, deadline - time.monotonic())
                codes.append(finished.get(timeout=timeout))
            except queue.Empty:
                timed_out = True
                self._terminate_all()
                continue
            if codes[-1] != 0:
                self._terminate_all()
        return codes, timed_out

    def _terminate_all(self) -> None:
        for child in self._children:
            if child.poll() is None:
                _terminate_in_background(child)

    def _ending(self, codes: list[int], layouts: list[InstanceLayout], timed_out: bool, limit_s: int) -> Ended:
        try:
            message = "".join(layout.exit_message() for layout in layouts)
            message = message.encode()[:EXIT_MESSAGE_BYTES].decode(errors="ignore")
        except UnicodeDecodeError:
            return Ended("Failed", "ClientError: The file /opt/ml/output/message is not UTF-8 encoded.")
        if self._stop_requested.is_set():
            return Ended("Stopped", exit_message=message)
        if timed_out:
            return Ended("Stopped", f"MaxRuntimeExceeded: the job ran longer than MaxRuntimeInSeconds ({limit_s}).", message)
        failed = next((code for code in codes if code != 0), 0)
        if failed == 0:
            return Ended("Completed", exit_message=message)
        # A process ended by signal N counts as exit code 128 + N, as a container's does.
        code = failed if failed > 0 else 128 - failed
        hint = "See job logs for more information" if message else ""
        return Ended("Failed", f"AlgorithmError: {hint}, exit code: {code}", message)


def _wait_for(child: Child) -> int:
    code = child.wait(None)
    return code if code is not None else -1


def _terminate_in_background(child: Child) -> None:
    threading.Thread(target=child.terminate, args=(STOP_GRACE_S,), name="terminate", daemon=True).start()
