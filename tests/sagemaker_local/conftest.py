"""A real server for these tests, whose images file knows one container: ``container.py``."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sagemaker_local.testing import RunningServer, running
from tests.sagemaker_local.hosting_client import HostingClient
from tests.support.clients import ONCE, sturdy

CONTAINER = Path(__file__).with_name("container.py")
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/tests:1"


def write_images_file(folder: Path) -> Path:
    """An images file for the test container; it runs in its /opt/ml, to find its model."""
    entry = {
        "match": "*/tests:*",
        "command": ["{python}", str(CONTAINER), "{instance_type}"],
        "environment": {"PORT": "{port}"},
        "working_directory": "{opt_ml}",
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "images.yaml"
    path.write_text(yaml.safe_dump({"images": [entry]}))
    return path


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("sagemaker_local")
    with running(folder / "state", write_images_file(folder)) as started:
        yield started


@pytest.fixture(scope="session")
def client(server: RunningServer) -> Callable[[str], Any]:
    """boto3 clients of the server, one a service."""
    clients: dict[str, Any] = {}

    def get(service: str) -> Any:
        if service not in clients:
            clients[service] = sturdy(server.client(service, config=ONCE))
        return clients[service]

    return get


@pytest.fixture(scope="session")
def sagemaker(client: Callable[[str], Any]) -> Any:
    return client("sagemaker")


@pytest.fixture(scope="session")
def runtime(client: Callable[[str], Any]) -> Any:
    return client("sagemaker-runtime")


@pytest.fixture(scope="session")
def s3(client: Callable[[str], Any]) -> Any:
    return client("s3")


@pytest.fixture
def a_bucket(s3: Any) -> str:
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def hosting(sagemaker: Any) -> Iterator[HostingClient]:
    """Makes endpoints, and deletes them after the test."""
    hosting = HostingClient(sagemaker, IMAGE)
    yield hosting
    hosting.clean_up()
