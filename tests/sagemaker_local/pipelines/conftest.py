"""One running sagemaker_local for all of these tests."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from sagemaker_local.session import make_client
from sagemaker_local.testing import running
from tests.sagemaker_local.pipelines.definitions import IMAGES_FILE, Runs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REGION = "us-east-1"


@dataclass
class Server:
    """A running server, and clients of it."""

    url: str
    state_dir: Path
    _clients: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        """A boto3 client, made once."""
        if service not in self._clients:
            self._clients[service] = make_client(
                service, endpoint_url=self.url, region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test"
            )
        return self._clients[service]

    @property
    def sagemaker(self) -> Any:
        """A SageMaker client."""
        return self.client("sagemaker")

    @property
    def s3(self) -> Any:
        """An S3 client."""
        return self.client("s3")


@pytest.fixture(scope="package")
def local_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for the whole package."""
    folder = tmp_path_factory.mktemp("sagemaker-local")
    images = folder / "images.yaml"
    images.write_text(IMAGES_FILE)
    with running(folder / "state", images=images) as server:
        yield Server(server.endpoint_url, folder / "state")


@pytest.fixture
def bucket(local_server: Server) -> str:
    """The name of a fresh bucket."""
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    local_server.s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def runs(local_server: Server) -> Runs:
    """Pipelines and their executions."""
    return Runs(local_server.sagemaker)
