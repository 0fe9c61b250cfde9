"""One instance of a production variant: a process, its port, its requests in flight."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import AwsError, DownloadError, InstanceFailed
from sagemaker_local.hosting.instances.capacity import NO_CAPACITY, Capacity
from sagemaker_local.hosting.instances.download import ModelDataCache
from sagemaker_local.limits import STARTUP_TIMEOUT_S
from sagemaker_local.processes import mounts
from sagemaker_local.processes.layout import InstanceLayout
from sagemaker_local.processes.table import LaunchSpec

if TYPE_CHECKING:
    from sagemaker_local.context import Context
    from sagemaker_local.hosting.instances.containers import ContainerPlan
    from sagemaker_local.hosting.instances.health import HealthClient
    from sagemaker_local.processes.table import ChildProcess

# "How SageMaker AI Provides Inference: a container must answer /ping with 200 within 2 seconds.
PING_TIMEOUT_S = 2.0
STOP_GRACE_S = 30.0
_PING_INTERVAL_S = 0.05
_PLACE_INTERVAL_S = 0.2
_taken_ports: set[int] = set()


@dataclass(eq=False)
class Instance:
    """One instance. Everything but ``stop``'s waiting happens on the server's event loop."""

    context: Context
    region: str
    endpoint: str
    variant: dict[str, Any]
    """The ProductionVariant of the endpoint config."""
    plan: ContainerPlan
    config: str
    """The name of the endpoint config."""
    id: str = field(default_factory=lambda: f"i-{secrets.token_hex(9)[:17]}")
    port: int = 0
    in_flight: int = 0
    child: ChildProcess | None = None
    instance_type: str = ""
    """What it runs on; empty while it has no place."""
    _idle: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def name(self) -> str:
        """The production variant's name."""
        return str(self.variant["VariantName"])

    @property
    def log_stream(self) -> str:
        """Its stream in the log group ``/aws/sagemaker/Endpoints/ENDPOINT``."""
        return f"{self.name}/{self.id}"

    @property
    def url(self) -> str:
        """Where its container answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def _sandbox(self) -> Path:
        return self.context.state_dir / "endpoints" / self.endpoint / self.id

    def acquire(self) -> None:
        """Count a request that begins."""
        self.in_flight += 1
        self._idle.clear()

    def release(self) -> None:
        """Count a request that has ended."""
        self.in_flight -= 1
        if not self.in_flight:
            self._idle.set()

    async def start(self, health: HealthClient) -> None:
        """Bring the model data, start the process, wait until it is healthy.

        Raises:
            InstanceFailed: it is not; the process, if there was one, has been ended.
        """
        self.instance_type = await self._place()
        try:
            await asyncio.to_thread(self._launch)
            await self._until_healthy(health)
        except BaseException:
            await self.stop()
            raise

    async def _place(self) -> str:
        """Return the instance type that there is room for: the first of the variant's pools, by priority, that has it.

        VariantInstanceProvisionTimeoutInSeconds in the API reference of ProductionVariant: SageMaker "retries with the next instance
        pool (if configured) or waits until the timeout expires".

        Raises:
            InstanceFailed: there is none, and no time to wait is given, or it is over.
        """
        pools = sorted(self.variant.get("InstancePools") or [], key=lambda pool: pool["Priority"])
        types = [pool["InstanceType"] for pool in pools] or [self.variant["InstanceType"]]
        wait_s = self.variant.get("VariantInstanceProvisionTimeoutInSeconds") or 0
        deadline = time.monotonic() + min(self.context.images.limits.provision_timeout_s, wait_s)
        while True:
            for instance_type in types:
                if self.context.part(Capacity).take(instance_type):
                    return str(instance_type)
            if time.monotonic() >= deadline:
                raise InstanceFailed(NO_CAPACITY)
            await asyncio.sleep(_PLACE_INTERVAL_S)

    def _launch(self) -> None:
        opt_ml = self._sandbox / "opt" / "ml"
        limit_s = self.context.images.limits.download_timeout_s
        until = time.monotonic() + min(limit_s, self.variant.get("ModelDataDownloadTimeoutInSeconds") or limit_s)
        try:
            image = self.context.images.resolve(self.plan.image)
            for data in self.plan.data:
                self.context.part(ModelDataCache).provide(data, self.region, self.plan.role_arn, opt_ml / data.directory, until)
        except (AwsError, DownloadError) as error:
            raise InstanceFailed(error.message if isinstance(error, AwsError) else str(error)) from error
        opt_ml.mkdir(parents=True, exist_ok=True)
        self.port = _free_port()
        command = image.launch(name=self.endpoint, opt_ml=opt_ml, instance_type=self.instance_type, port=self.port)
        words, variables = mounts.contained(command.argv, self.plan.environment, InstanceLayout(self._sandbox, self.id))
        launch = LaunchSpec(
            name=f"endpoint/{self.endpoint}/{self.log_stream}",
            argv=words,
            env=self.context.child_environment(
                self.region,
                container=variables,
                role_arn=self.plan.role_arn,
                job=f"arn:aws:sagemaker:{self.region}:{self.context.account_id}:endpoint/{self.endpoint}",
                image=command.environment,
                isolated=self.plan.isolated,
            ),
            cwd=command.working_directory or self._sandbox,
            log_path=self.context.state_dir / "logs" / "endpoints" / self.endpoint / self.name / f"{self.id}.log",
            log_group=f"/aws/sagemaker/Endpoints/{self.endpoint}",
            log_stream=self.log_stream,
            region=self.region,
        )
        try:
            self.child = self.context.processes.start(launch)
        except (OSError, RuntimeError, IndexError) as error:
            raise InstanceFailed(f"The command for image {self.plan.image} cannot be started: {error} ({launch.argv})") from error

    async def _until_healthy(self, health: HealthClient) -> None:
        asked_s = self.variant.get("ContainerStartupHealthCheckTimeoutInSeconds") or STARTUP_TIMEOUT_S
        deadline = time.monotonic() + min(self.context.images.limits.startup_timeout_s, asked_s)
        while True:
            if self.exit_code() is not None:
                raise InstanceFailed(self._unhealthy())
            if await health.ping(self.url, min(PING_TIMEOUT_S, max(0.1, deadline - time.monotonic()))):
                return
            if time.monotonic() >= deadline:
                raise InstanceFailed(self._unhealthy())
            await asyncio.sleep(_PING_INTERVAL_S)

    def exit_code(self) -> int | None:
        """Return the exit code of its process, None while it runs."""
        return self.child.poll() if self.child is not None else None

    def memory_percent(self) -> float:
        """Return how much of the machine's memory its process has, in per cent; 0 once it has ended."""
        try:
            resident_pages = int(Path(f"/proc/{self.child.pid if self.child else 0}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return 0.0
        return 100 * resident_pages / os.sysconf("SC_PHYS_PAGES")

    async def drained(self, timeout_s: float) -> None:
        """Wait until no request is in flight, at most so long."""
        if self.in_flight:
            try:
                await asyncio.wait_for(self._idle.wait(), timeout_s)
            except TimeoutError:
                return

    async def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """End its process and remove its files; its log stays."""
        if self.child is not None:
            await asyncio.to_thread(self.child.terminate, grace_s)
        await asyncio.to_thread(shutil.rmtree, self._sandbox, ignore_errors=True)
        _taken_ports.discard(self.port)
        if self.instance_type:
            self.context.part(Capacity).give(self.instance_type)
            self.instance_type = ""

    def _unhealthy(self) -> str:
        return (
            f"The primary container for production variant {self.name} did not pass the ping health check. "
            "Please check CloudWatch logs for this endpoint."
        )


def _free_port() -> int:
    """Return a port that nothing listens on and that no other instance was given."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port not in _taken_ports:
            _taken_ports.add(port)
            return port
