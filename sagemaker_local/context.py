"""What every action may use: the state, the processes, moto, and a client of the server itself."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    from sagemaker_local.events import EventSink
    from sagemaker_local.images import ImageMap
    from sagemaker_local.logs import LogSink
    from sagemaker_local.moto import Moto
    from sagemaker_local.processes import ProcessTable
    from sagemaker_local.snapshot import Snapshots
    from sagemaker_local.store import Store

T = TypeVar("T")

ACCESS_KEY_ID = "local"
SECRET_ACCESS_KEY = "local"  # noqa: S105 -- nothing checks it


@dataclass
class Context:
    """One running server."""

    state_dir: Path
    account_id: str
    endpoint_url: str
    images: ImageMap
    store: Store
    processes: ProcessTable
    logs: LogSink
    moto: Moto
    events: EventSink
    loop: asyncio.AbstractEventLoop
    """The server's event loop, on which the data plane lives."""
    snapshots: Snapshots
    closers: list[Callable[[], None]] = field(default_factory=list)
    """Called, in order, when the server stops and before its processes are ended."""
    parts: dict[Any, Any] = field(default_factory=dict)
    """One instance a class of what lives as long as the server, such as the fleet of endpoints; see ``part``."""
    _clients: dict[tuple[str, str], Any] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def client(self, service: str, region: str) -> Any:
        """A boto3 client of this server, made once for each service and region."""
        with self._lock:
            if (service, region) not in self._clients:
                import boto3
                from botocore.config import Config

                self._clients[service, region] = boto3.client(
                    service,
                    region_name=region,
                    endpoint_url=self.endpoint_url,
                    aws_access_key_id=ACCESS_KEY_ID,
                    aws_secret_access_key=SECRET_ACCESS_KEY,
                    config=Config(max_pool_connections=32, retries={"total_max_attempts": 2}),
                )
            return self._clients[service, region]

    def part(self, kind: Callable[[Context], T]) -> T:
        """The instance of ``kind`` that belongs to this server; ``kind(context)`` makes it at its first use."""
        with self._lock:
            if kind not in self.parts:
                self.parts[kind] = kind(self)
            found: T = self.parts[kind]
            return found

    def invoke(self, region: str, action: str, request: dict[str, Any]) -> dict[str, Any]:
        """Run a SageMaker action, checked and answered as for a client.

        Raises:
            AwsError: the action's error.
        """
        from sagemaker_local.actions import run

        return run(self, region, action, request)

    def child_environment(
        self, region: str, *, container: Mapping[str, str], image: Mapping[str, str] | None = None, isolated: bool = False
    ) -> dict[str, str]:
        """The whole environment of a container: little of this process's own, then AWS's, the container's, the image map's.

        Args:
            region: of the job or endpoint.
            container: the ``Environment`` of the request.
            image: the environment of the images file's entry; wins.
            isolated: network isolation: no AWS endpoint and no credentials.
        """
        environment = {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
            "HOME": str(Path.home()),
            "LANG": os.environ.get("LANG", "C.UTF-8"),
            "TMPDIR": tempfile.gettempdir(),
            "PYTHONUNBUFFERED": "1",
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
        }
        if not isolated:
            environment |= {
                "AWS_ENDPOINT_URL": self.endpoint_url,
                "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
                "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
            }
        return environment | dict(container) | dict(image or {})
