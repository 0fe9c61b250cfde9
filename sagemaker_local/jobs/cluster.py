"""The instances of a job: one process each, started together, awaited, and stopped as SageMaker stops containers."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import StartError
from sagemaker_local.processes import mounts
from sagemaker_local.processes.table import LaunchSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sagemaker_local.context import Context
    from sagemaker_local.jobs.table import JobContext
    from sagemaker_local.processes.layout import InstanceLayout
    from sagemaker_local.processes.table import ChildProcess

STOP_GRACE_S = 120.0  # between SIGTERM and SIGKILL, as SageMaker gives it
DEFAULT_MAX_RUNTIME_S = 86_400  # one day, the service's default for StoppingCondition


@dataclass(frozen=True)
class Container:
    """What runs on every instance of a job, as its request gives it."""

    kind: str
    """``processing-job``, …: what the process and its log file are named after."""
    name: str
    """The job's."""
    image: str
    instance_type: str
    log_group: str
    entrypoint: Sequence[str] | None = None
    """None: the image's own command, followed by ``command_arguments``."""
    command_arguments: Sequence[str] = ()
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    role_arn: str | None = None
    arn: str | None = None
    """The job's."""
    isolated: bool = False


@dataclass(frozen=True)
class ProcessExit:
    """How the processes ended. ``code`` is the first that was not 0, with 128 + N for signal N, as a container's is."""

    code: int
    timed_out: bool


@dataclass
class Cluster:
    """A job's processes. ``run`` blocks until all have ended; ``stop`` may be called from any thread."""

    context: Context
    region: str
    stop_requested: threading.Event = field(default_factory=threading.Event)
    _children: list[ChildProcess] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def launches(self, container: Container, layouts: Sequence[InstanceLayout]) -> list[LaunchSpec]:
        """Return what to start on each instance, with its sandbox as ``/opt/ml`` or with such paths pointing at it.

        Raises:
            AwsError: no local command stands for the image.
        """
        image = self.context.images.resolve(container.image)
        epoch_ms = int(time.time() * 1000)
        found = []
        for layout in layouts:
            command = image.launch(name=container.name, opt_ml=layout.opt_ml, instance_type=container.instance_type)
            entrypoint = container.entrypoint or [*command.argv, *container.command_arguments]
            words, variables = mounts.contained([*entrypoint, *container.arguments], container.environment, layout)
            found.append(
                LaunchSpec(
                    name=f"{container.kind}/{container.name}/{layout.host}",
                    argv=words,
                    env=self.context.child_environment(
                        self.region,
                        container=variables,
                        role_arn=container.role_arn,
                        job=container.arn,
                        image=command.environment,
                        isolated=container.isolated,
                    ),
                    cwd=command.working_directory or layout.root,
                    log_path=self.context.state_dir / "logs" / f"{container.kind}s" / container.name / f"{layout.host}.log",
                    log_group=container.log_group,
                    log_stream=f"{container.name}/{layout.host}-{epoch_ms}",
                    region=self.region,
                )
            )
        return found

    def run(self, launches: Sequence[LaunchSpec], limit_s: float, on_started: Callable[[], None]) -> ProcessExit:
        """Start a process for each launch and wait for all. After ``limit_s`` seconds they are stopped.

        Raises:
            StartError: one cannot be started; those that were are stopped.
        """
        deadline = time.monotonic() + limit_s
        try:
            with self._lock:
                for launch in launches:
                    if not self.stop_requested.is_set():
                        self._children.append(self.context.processes.start(launch))
        except (OSError, RuntimeError) as error:
            self._terminate_all()
            words = " ".join(launches[0].argv)
            raise StartError(f"AlgorithmError: The container's command cannot be started ({words}): {error}") from error
        on_started()
        return self._wait(deadline)

    def stop(self) -> None:
        """SIGTERM to every process now, SIGKILL to what is left after the grace. Returns at once."""
        with self._lock:
            self.stop_requested.set()
        self._terminate_all()

    def _wait(self, deadline: float) -> ProcessExit:
        """Wait for every process. One that fails ends the others: the failure of an instance fails the job."""
        finished: queue.SimpleQueue[int] = queue.SimpleQueue()
        for child in self._children:
            threading.Thread(target=_report_end, args=(child, finished), name=f"wait {child.pid}", daemon=True).start()
        codes: list[int] = []
        timed_out = False
        while len(codes) < len(self._children):
            try:
                codes.append(finished.get(timeout=None if timed_out else max(0.0, deadline - time.monotonic())))
            except queue.Empty:
                timed_out = True
                self._terminate_all()
                continue
            if codes[-1] != 0:
                self._terminate_all()
        first = next((code for code in codes if code != 0), 0)
        return ProcessExit(first if first >= 0 else 128 - first, timed_out)

    def _terminate_all(self) -> None:
        with self._lock:
            children = list(self._children)
        for child in children:
            if child.poll() is None:
                threading.Thread(target=child.terminate, args=(STOP_GRACE_S,), name="terminate", daemon=True).start()


@dataclass
class ClusterJob:
    """A job whose work is one process an instance: what processing and training jobs have in common."""

    place: JobContext
    request: dict[str, Any]
    _cluster: Cluster = field(init=False)

    def __post_init__(self) -> None:
        self._cluster = Cluster(self.place.context, self.place.region)

    def stop(self) -> None:
        """SIGTERM to its processes, SIGKILL later; returns at once."""
        self._cluster.stop()

    @property
    def _limit_s(self) -> int:
        """MaxRuntimeInSeconds."""
        return int((self.request.get("StoppingCondition") or {}).get("MaxRuntimeInSeconds", DEFAULT_MAX_RUNTIME_S))


def _report_end(child: ChildProcess, finished: queue.SimpleQueue[Any]) -> None:
    finished.put(child.wait(None))
