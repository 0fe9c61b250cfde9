"""A boto3 session whose every client talks to this server, whatever address the code that makes the client names.

``AWS_ENDPOINT_URL`` is enough for boto3 and the AWS CLI. The SageMaker SDK (3.27) names AWS's own address of STS where it needs
the account's number, as for its default bucket (``Session.account_id`` in ``sagemaker/core/helper/session_helper.py``), and an
address that code names counts more than the environment's. So give the SDK a session of this kind::

    from sagemaker_local.session import Session
    session = PipelineSession(boto_session=Session("http://127.0.0.1:4566"))
"""

from __future__ import annotations

import os
from typing import Any, cast

import boto3
import botocore.session


def make_client(service: str, **settings: Any) -> Any:
    """Make a boto3 client of a service that is only known by its name at run time: the type stubs name each service."""
    return cast("Any", boto3.client)(service, **settings)


class Session(boto3.Session):
    """A session of one server, with credentials, which nothing checks, and a region."""

    def __init__(self, endpoint_url: str | None = None, *, region_name: str | None = None, **settings: Any) -> None:
        """Make a session.

        Args:
            endpoint_url: what the server printed; by default the variable AWS_ENDPOINT_URL.
            region_name: by default AWS_DEFAULT_REGION, else ``us-east-1``.
            settings: boto3's; without credentials there they are ``local``.

        Raises:
            ValueError: neither an address nor the variable is given. No client may reach AWS by mistake.
        """
        url = endpoint_url or os.environ.get("AWS_ENDPOINT_URL")
        if not url:
            raise ValueError("Session needs the server's address: give endpoint_url, or set AWS_ENDPOINT_URL to what it printed")
        if not settings.keys() & {"aws_access_key_id", "profile_name"}:
            settings |= {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
        region = region_name or os.environ.get("AWS_DEFAULT_REGION", "us-east-1")
        super().__init__(region_name=region, botocore_session=_OneServer(url), **settings)
        self.endpoint_url = url


class _OneServer(botocore.session.Session):
    """Makes the clients of a session: all of one server. An ``endpoint_url`` given for a client is not used."""

    def __init__(self, endpoint_url: str) -> None:
        super().__init__()
        self._endpoint_url = endpoint_url

    def create_client(self, *arguments: Any, **settings: Any) -> Any:
        """Make a client of the server; boto3 gives everything but the service's name by keyword."""
        return super().create_client(*arguments, **{**settings, "endpoint_url": self._endpoint_url})
