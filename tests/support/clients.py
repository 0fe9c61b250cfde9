"""boto3 clients for tests: as fast to make as a process allows, and none dies of one connection that was reset."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from unittest import mock

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError, EndpointConnectionError
from botocore.loaders import Loader

_RESETS = (ConnectionClosedError, EndpointConnectionError, ConnectionError)
_TRIES = 5
ONCE = Config(retries={"mode": "standard", "total_max_attempts": 1}, max_pool_connections=100)
"""What the service answers is seen as it is: errors are not tried again."""


@cache
def _loader() -> Loader:
    """AWS's models of its services, parsed once a process: SageMaker's alone takes a third of a second."""
    loader: Loader = botocore.session.get_session().get_component("data_loader")
    return loader


def session() -> boto3.Session:
    """A session of its own that finds its credentials in the environment as it is now."""
    made = botocore.session.get_session()
    made.register_component("data_loader", _loader())
    return boto3.Session(botocore_session=made)


@contextmanager
def new_default_session() -> Iterator[None]:
    """`boto3.client` makes clients anew in here."""
    with mock.patch.object(boto3, "DEFAULT_SESSION", session()):
        yield


def sturdy(client: Any) -> Any:
    """The client, made with `ONCE`, that asks again where a connection was reset before there was an answer, and only then."""

    def ask_again(attempts: int, caught_exception: Exception | None, **_: Any) -> float | None:
        return 0.0 if isinstance(caught_exception, _RESETS) and attempts < _TRIES else None

    client.meta.events.register("needs-retry", ask_again)
    return client
