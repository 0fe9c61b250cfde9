"""A real server for tests: ``with running(tmp_path) as server: server.client("sagemaker")``, or a pytest fixture."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sagemaker_local.session import make_client

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_STOP_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class RunningServer:
    """A server process, and clients of it."""

    endpoint_url: str
    state_dir: Path
    pid: int
    region: str = "us-east-1"

    def client(self, service: str, **settings: Any) -> Any:
        """Make a boto3 client of this server; ``settings`` are boto3's."""
        own = {"endpoint_url": self.endpoint_url, "region_name": self.region}
        own |= {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
        return make_client(service, **{**own, **settings})

    def environment(self, role_arn: str | None = None) -> dict[str, str]:
        """Environment variables that point any AWS client at this server, with the credentials of a role or of the account's owner."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            **self._credentials(role_arn),
        }

    def _credentials(self, role_arn: str | None) -> dict[str, str]:
        if role_arn is None:
            return {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
        given = self.client("sts").assume_role(RoleArn=role_arn, RoleSessionName="testing")["Credentials"]
        return {
            "AWS_ACCESS_KEY_ID": given["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"],
            "AWS_SESSION_TOKEN": given["SessionToken"],
        }


@contextmanager
def running(state_dir: Path, images: Path | None = None, port: int = 0, arguments: Sequence[str] = ()) -> Iterator[RunningServer]:
    """Run a server process for the time of the ``with`` block; it and its children are ended afterwards.

    Args:
        state_dir: the server's ``--state``; made if it is not there.
        images: its ``--images``.
        port: its ``--port``.
        arguments: more of its options.

    Raises:
        RuntimeError: it did not start; the message has what it wrote to stderr.
    """
    command = [sys.executable, "-m", "sagemaker_local", "--state", str(state_dir), "--port", str(port), *arguments]
    if images is not None:
        command += ["--images", str(images)]
    state_dir.mkdir(parents=True, exist_ok=True)
    with (state_dir / "stderr.log").open("ab") as stderr:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
    try:
        assert process.stdout is not None  # noqa: S101 -- it is a pipe
        name, _, url = process.stdout.readline().strip().partition("=")
        if name != "AWS_ENDPOINT_URL":
            raise RuntimeError(f"sagemaker_local did not start: {(state_dir / 'stderr.log').read_text()}")
        yield RunningServer(url, state_dir, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def server_fixture(
    images: Path | None = None, scope: Literal["session", "package", "module", "class", "function"] = "session"
) -> Any:
    """Return a pytest fixture that gives a ``RunningServer``: ``sagemaker = server_fixture(images=Path("images.yaml"))``."""
    import pytest  # optional: only tests have it

    def sagemaker_local_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
        with running(tmp_path_factory.mktemp("sagemaker_local") / "state", images) as server:
            yield server

    return pytest.fixture(scope=scope)(sagemaker_local_server)
