"""boto3 clients for tests: as fast to make as a process allows, and none dies of one connection that was reset."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from unittest import mock

import boto3
import botocore.loaders
import botocore.session
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError, EndpointConnectionError

_RESETS = (ConnectionClosedError, EndpointConnectionError, ConnectionError)
_TRIES = 5
ONCE = Config(retries={"mode": "standard", "total_max_attempts": 1}, max_pool_connections=100)
"""What the service answers is seen as it is: errors are not tried again."""


def share_service_models() -> None:
    """Let every session of this process use one loader: AWS's models of its services are parsed once, SageMaker's alone for 0.3 s."""
    botocore.session.create_loader = cache(botocore.loaders.create_loader)


@contextmanager
def new_default_session() -> Iterator[None]:
    """`boto3.client` makes clients anew in here, with the credentials that the environment has now."""
    with mock.patch.object(boto3, "DEFAULT_SESSION", None):
        yield


def sturdy(client: Any) -> Any:
    """The client, made with `ONCE`, that asks again where a connection was reset before there was an answer, and only then."""

    def ask_again(attempts: int, caught_exception: Exception | None, **_: Any) -> float | None:
        return 0.0 if isinstance(caught_exception, _RESETS) and attempts < _TRIES else None

    client.meta.events.register("needs-retry", ask_again)
    return client
