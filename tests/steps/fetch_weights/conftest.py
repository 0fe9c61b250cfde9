from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest

from tests.support.worlds import fetching


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real S3, one for all tests (each takes another repository, so another prefix)."""
    with fetching.seaweed(tmp_path_factory.mktemp("seaweed")) as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """A moto for all tests (stopping one takes half a second)."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # a line for each request, with its signature
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws(moto: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A moto with nothing but the bucket, as this process's AWS."""
    import moto.backends as backends

    for name, value in fetching.step_environment(moto).items():
        monkeypatch.setenv(name, value)
    fetching.client(moto).create_bucket(Bucket=fetching.BUCKET)
    try:
        yield moto
    finally:
        for service in ("s3", "secretsmanager"):
            backends.get_backend(service).reset()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where local_hub finds repositories."""
    folder = tmp_path / "hub"
    folder.mkdir()
    return folder


@pytest.fixture
def make_secret(aws: str) -> Callable[[str, str], None]:
    """Puts a secret into moto's Secrets Manager."""
    secrets = boto3.client("secretsmanager", region_name="us-east-1")

    def make(name: str, value: str) -> None:
        secrets.create_secret(Name=name, SecretString=value)

    return make
