"""What every action may use: the state, the processes, moto, and a client of the server itself."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.config import Config

from sagemaker_local.identity.identities import Caller
from sagemaker_local.session import make_client
from sagemaker_local.web.wsgi import OWN_USER_AGENT

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    from sagemaker_local.event_queue import EventQueue
    from sagemaker_local.identity.call_log import CallLog
    from sagemaker_local.identity.identities import Identities
    from sagemaker_local.images import ImageMap
    from sagemaker_local.logs.sink import LogSink
    from sagemaker_local.moto_bridge.bridge import Moto
    from sagemaker_local.processes.table import ProcessTable
    from sagemaker_local.state.store import Store

T = TypeVar("T")


@dataclass
class Context:
    """One account of a running server. ``accounts.Accounts`` makes one for each account that is used."""

    state_dir: Path
    """Of this account: the server's own for the default account, ``accounts/ID`` below it for another."""
    account_id: str
    endpoint_url: str
    images: ImageMap
    store: Store
    processes: ProcessTable
    logs: LogSink
    moto: Moto
    events: EventQueue
    loop: asyncio.AbstractEventLoop
    """The server's event loop, on which the data plane lives."""
    calls: CallLog
    identities: Identities
    run_action: Callable[[Context, str, str, dict[str, Any]], dict[str, Any]]
    """``api.dispatch.run``, which the server gives: the rooms that an action leads to know this class."""
    of_account: Callable[[str], Context]
    """The context of an account by its id: what one account shares with another is found there."""
    closers: list[Callable[[], object]] = field(default_factory=list)
    """Called, in order, when the server stops and before its processes are ended."""
    parts: dict[Any, Any] = field(default_factory=dict)
    """One instance a class of what lives as long as the server, such as the fleet of endpoints; see ``part``."""
    _clients: dict[tuple[str, str, str | None], Any] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def client(self, service: str, region: str, role_arn: str | None = None) -> Any:
        """Return a boto3 client of this server, made once for each service, region and role (None: the account's owner)."""
        key = (service, region, role_arn)
        with self._lock:
            if key not in self._clients:
                credentials = self.identities.credentials(self.account_id, role_arn)
                self._clients[key] = make_client(
                    service,
                    region_name=region,
                    endpoint_url=self.endpoint_url,
                    aws_access_key_id=credentials.access_key_id,
                    aws_secret_access_key=credentials.secret_access_key,
                    aws_session_token=credentials.session_token,
                    config=Config(max_pool_connections=32, retries={"total_max_attempts": 2}, user_agent_extra=OWN_USER_AGENT),
                )
            return self._clients[key]

    def part(self, kind: Callable[[Context], T]) -> T:
        """Return the instance of ``kind`` that belongs to this server; ``kind(context)`` makes it at its first use."""
        with self._lock:
            if kind not in self.parts:
                self.parts[kind] = kind(self)
            found: T = self.parts[kind]
            return found

    def invoke(self, region: str, action: str, request: dict[str, Any], role_arn: str | None = None) -> dict[str, Any]:
        """Run a SageMaker action, checked and answered as for a client. With a role it counts as that role's call.

        Raises:
            AwsError: the action's error.
        """
        if role_arn:
            self.calls.made(Caller(self.account_id, role_arn), "sagemaker", action, request)
        return self.run_action(self, region, action, request)

    def child_environment(
        self,
        region: str,
        *,
        container: Mapping[str, str],
        role_arn: str | None,
        job: str | None = None,
        image: Mapping[str, str] | None = None,
        isolated: bool = False,
    ) -> dict[str, str]:
        """Return the whole environment of a container: little of this process's own, then AWS's, the container's, the image map's.

        Args:
            region: of the job or endpoint.
            container: the ``Environment`` of the request.
            role_arn: whose credentials it gets.
            job: the ARN of the job or endpoint, which its credentials name.
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
            "AWS_CONFIG_FILE": os.devnull,  # a container has no ~/.aws of ours: one line there would lead it to AWS
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }
        if not isolated:
            credentials = self.identities.credentials(self.account_id, role_arn, job)
            environment |= {"AWS_ENDPOINT_URL": self.endpoint_url, **credentials.environment()}
        return environment | dict(container) | dict(image or {})
