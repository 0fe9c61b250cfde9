"""The model's container of a transform job: its data, its process, and requests to it."""

from __future__ import annotations

import http.client
import socket
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import ContainerError, DownloadError
from sagemaker_local.hosting.instances.containers import plan
from sagemaker_local.hosting.instances.download import ModelDataCache
from sagemaker_local.limits import STARTUP_TIMEOUT_S
from sagemaker_local.processes import mounts
from sagemaker_local.processes.table import LaunchSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sagemaker_local.jobs.table import JobContext
    from sagemaker_local.processes.layout import InstanceLayout
    from sagemaker_local.processes.table import ChildProcess

LOG_GROUP = "/aws/sagemaker/TransformJobs"
_PING_INTERVAL_S = 0.05
_STOP_GRACE_S = 30.0


@dataclass
class ModelContainer:
    """A model's container on one port of this machine. Use as a context manager: it is stopped at the end."""

    place: JobContext
    layout: InstanceLayout
    job_name: str
    model_name: str
    instance_type: str
    environment: Mapping[str, str]
    _port: int = 0
    _child: ChildProcess | None = field(default=None)

    def __enter__(self) -> ModelContainer:
        """Bring the model data, start the process, wait until ``/ping`` answers.

        Raises:
            ContainerError: it does not.
            AwsError: the model does not exist, or no local command stands for its image.
        """
        context, region = self.place.context, self.place.region
        model = context.invoke(region, "DescribeModel", {"ModelName": self.model_name})
        container = plan(context, region, model)
        image = context.images.resolve(container.image)
        opt_ml = self.layout.opt_ml
        opt_ml.mkdir(parents=True, exist_ok=True)
        try:
            for data in container.data:
                context.part(ModelDataCache).provide(data, region, container.role_arn, opt_ml / data.directory)
        except DownloadError as error:
            raise ContainerError(f"ClientError: {error}") from error
        self._port = _free_port()
        command = image.launch(name=self.job_name, opt_ml=opt_ml, instance_type=self.instance_type, port=self._port)
        words, variables = mounts.contained(command.argv, {**container.environment, **self.environment}, self.layout)
        launch = LaunchSpec(
            name=f"transform-job/{self.job_name}",
            argv=words,
            env=context.child_environment(
                region,
                container=variables,
                role_arn=self.place.role_arn,
                job=self.place.arn,
                image=command.environment,
                isolated=container.isolated,
            ),
            cwd=command.working_directory or self.layout.root,
            log_path=context.state_dir / "logs" / "transform-jobs" / self.job_name / "data-log.log",
            log_group=LOG_GROUP,
            log_stream=f"{self.job_name}/i-{int(time.time() * 1000):x}/data-log",
            region=region,
        )
        try:
            self._child = context.processes.start(launch)
        except (OSError, RuntimeError) as error:
            raise ContainerError(f"ClientError: The command for image {container.image} cannot be started: {error}") from error
        try:
            self._until_healthy()
        except ContainerError:
            self._child.terminate(_STOP_GRACE_S)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the process."""
        if self._child is not None:
            self._child.terminate(_STOP_GRACE_S)

    def interrupt(self) -> None:
        """End the process now: requests under way fail."""
        if self._child is not None:
            self._child.terminate(0.0)

    def invoke(self, body: bytes, headers: Mapping[str, str], timeout_s: float) -> bytes:
        """POST ``/invocations``.

        Raises:
            ContainerError: the answer is not 200, or there is none in time.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=timeout_s)
        try:
            connection.request("POST", "/invocations", body, dict(headers))
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise ContainerError(f"AlgorithmError: The model container did not answer: {error}") from error
        finally:
            connection.close()
        if answer.status != 200:
            text = content[:200].decode(errors="replace")
            raise ContainerError(f"ClientError: See job logs for more information (status {answer.status}: {text})")
        return content

    def _until_healthy(self) -> None:
        deadline = time.monotonic() + min(self.place.context.images.limits.startup_timeout_s, STARTUP_TIMEOUT_S)
        while not self._pings():
            if self._child is None or self._child.wait(_PING_INTERVAL_S) is not None or time.monotonic() > deadline:
                raise ContainerError("AlgorithmError: Model server did not respond to /ping requests. See job logs.")

    def _pings(self) -> bool:
        connection: Any = http.client.HTTPConnection("127.0.0.1", self._port, timeout=2.0)
        try:
            connection.request("GET", "/ping")
            return bool(connection.getresponse().status == 200)
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
