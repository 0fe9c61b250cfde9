"""A boto3 session whose every client talks to this server, whatever address the code that makes the client names.

``AWS_ENDPOINT_URL`` is enough for boto3 and the AWS CLI. The SageMaker SDK (3.27) names AWS's own address of STS where it needs
the account's number, as for its default bucket (``Session.account_id`` in ``sagemaker/core/helper/session_helper.py``), and an
address that code names counts more than the environment's. So give the SDK a session of this kind::

    from sagemaker_local.session import Session
    session = PipelineSession(boto_session=Session("http://127.0.0.1:4566"))
"""

from __future__ import annotations

import os
from typing import Any

import boto3


class Session(boto3.Session):  # type: ignore[misc]  # boto3 publishes no types
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
        super().__init__(region_name=region_name or os.environ.get("AWS_DEFAULT_REGION", "us-east-1"), **settings)
        self.endpoint_url = url

    def client(self, service_name: str, region_name: str | None = None, **settings: Any) -> Any:
        """A client of the server. An ``endpoint_url`` given here is not used."""
        return super().client(service_name, region_name, **{**settings, "endpoint_url": self.endpoint_url})
