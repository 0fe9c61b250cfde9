"""The local stack: a SageMaker and a Hub, two processes that outlive the command, so that production stays up between releases.

Their ports, logs and state are in one folder, `.local/` in the project; `down` stops them. Definitions are the same as for AWS. Elsewhere
`environment.kind` says only what this machine does not have: quotas, prices, zones, a registry of images.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from botocore.exceptions import ConnectionError as ConnectionFailed
from botocore.exceptions import HTTPClientError

from config.environment import Environment
from pipelines.errors import LocalError
from pipelines.setup.local import account, service
from pipelines.setup.local.image_map import image_map
from pipelines.setup.local.service import PROJECT, Service

STATE = Path(os.environ.get("RELEASE_LOCAL_STATE", PROJECT / ".local"))
"""The state folder; RELEASE_LOCAL_STATE names another, so that a second stack can run beside the first."""
_RECORD = "services.json"
_SERVICES = ("sagemaker_local", "local_hub")
_LOOPBACK = ("127.0.0.1", "localhost")
_OWN = {_RECORD, f"{_RECORD}.new", "images.json", "lock", "hub", "sagemaker", *(f"{name}.log" for name in _SERVICES)}
"""What a state folder has."""


@dataclass(frozen=True)
class LocalStack:
    """The two services of one state folder."""

    state: Path
    sagemaker: Service
    hub: Service

    def activate(self, environment: Environment) -> None:
        """Point every AWS client of this process at this machine, with credentials that no AWS account knows."""
        leave_aws(environment.region)
        os.environ["AWS_ENDPOINT_URL"] = self.sagemaker.url


def leave_aws(region: str) -> None:
    """Take from this process, and from those that it starts, all that leads to AWS: the user's settings, credentials and files.

    One variable left would do: AWS_ENDPOINT_URL_EVENTBRIDGE sends that service's calls elsewhere, AWS_IGNORE_CONFIGURED_ENDPOINT_URLS (or that
    line in ~/.aws/config) sends all of them to AWS (AWS SDKs and Tools Reference Guide, "Service-specific endpoints"). Nor does a proxy
    see the traffic of this machine with itself.
    """
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        AWS_REGION=region,
        AWS_DEFAULT_REGION=region,
        AWS_ACCESS_KEY_ID="local",
        AWS_SECRET_ACCESS_KEY="local",  # noqa: S106  (no secret: nothing checks it)
        AWS_EC2_METADATA_DISABLED="true",
    )
    direct = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    hosts = [host.strip() for host in direct.split(",") if host.strip()]
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = ",".join(dict.fromkeys([*hosts, *_LOOPBACK]))


def up(environment: Environment, state: Path = STATE) -> LocalStack:
    """Start what is not running yet and prepare it as the AWS stack prepares an account. Idempotent.

    Args:
        environment: Whose bucket, rule and secret are made; every AWS client of this process is pointed at the stack.
        state: The folder of logs, ports and state.

    Returns:
        Where everything is.

    Raises:
        LocalError: A service does not start (with the end of its log), or the folder cannot be used.
    """
    leave_aws(environment.region)
    with _locked(state):
        recorded = _read_record(state)
        alive = {name: known for name, known in recorded.items() if known.is_running}
        # Hung, or the command that started it was killed before it was ready.
        service.stop(known for name, known in recorded.items() if name not in alive)
        try:
            stack = _stack(state, alive) if len(alive) == len(_SERVICES) else _start(state, alive)
        except OSError as error:
            raise _unwritable(state, error) from error
    stack.activate(environment)
    account.prepare(environment)
    return stack


def running(state: Path = STATE) -> LocalStack | None:
    """Find the services of this state folder; None when its SageMaker is not up. Its Hub may have died: only a release needs it."""
    services = _read_record(state)
    if len(services) < len(_SERVICES) or not services["sagemaker_local"].is_running:
        return None
    return _stack(state, services)


def down(state: Path = STATE) -> list[str]:
    """Stop the services of this state folder and everything that they started; return the names of those that ran. Idempotent."""
    record = state / _RECORD
    if not record.exists():
        return []
    with _locked(state):
        stopped = service.stop(_read_record(state).values())
        record.unlink(missing_ok=True)
    return stopped


def explain_lost_connection(error: Exception) -> str | None:
    """Explain an AWS client's error where this machine's SageMaker went away; None for every other error."""
    url = os.environ.get("AWS_ENDPOINT_URL", "")
    if not isinstance(error, ConnectionFailed | HTTPClientError) or not url.startswith("http://127.0.0.1:"):
        return None
    stack = running()
    if stack is not None and stack.sagemaker.url == url:
        return None
    log = _log("sagemaker_local", STATE)
    return f"the SageMaker of this machine ended (its log: {log}). It remembers all it did; start it: python -m pipelines.run local up"


def _read_record(state: Path) -> dict[str, Service]:
    """Read which services were started last; empty when none were, or they were stopped. LocalError when the record cannot be read."""
    record = state / _RECORD
    try:
        return {name: Service(**values) for name, values in json.loads(record.read_text()).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise LocalError(
            f"{record} is not what this command wrote ({error}); end the processes sagemaker_local and local_hub of {state} if they still "
            "run, then delete that file"
        ) from error


def _write_record(services: dict[str, Service], state: Path) -> None:
    written = state / f"{_RECORD}.new"
    with service.open_private(written, "w") as file:
        json.dump({name: asdict(known) for name, known in services.items()}, file)
    written.replace(state / _RECORD)  # whole or not at all, also on a full disk


def _stack(state: Path, services: dict[str, Service]) -> LocalStack:
    return LocalStack(state, *(services[name] for name in _SERVICES))


def _start(state: Path, alive: dict[str, Service]) -> LocalStack:
    """Start those that are not alive: production outlives a Hub that died."""
    images = state / "images.json"  # JSON is YAML
    with service.open_private(images, "w") as file:  # a proxy's address may have a password
        json.dump(image_map(), file, indent=2)
    hub = state / "hub"  # a folder put here, hub/ORG/NAME/, is a repository of the local Hub
    hub.mkdir(mode=0o700, exist_ok=True)
    commands = {
        "sagemaker_local": ["-m", "sagemaker_local", "--state", str(state / "sagemaker"), "--images", str(images)],
        # A user's own HF_TOKEN is huggingface.co's.
        "local_hub": ["-m", "local_hub", "--root", str(hub), "--ignore-unknown-tokens"],
    }
    services = dict(alive)
    processes: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name in _SERVICES:
            if name not in alive:
                processes[name] = service.spawn(commands[name], _log(name, state))
                services[name] = Service(name, processes[name].pid)
                # Before it is ready: whoever kills this command leaves services that `up` and `down` find.
                _write_record(services, state)
        services |= {name: service.wait_until_ready(name, process, _log(name, state)) for name, process in processes.items()}
        _write_record(services, state)
    except BaseException:
        service.stop(known for name, known in services.items() if name not in alive)
        raise
    return _stack(state, services)


def _log(name: str, state: Path) -> Path:
    return state / f"{name}.log"


@contextmanager
def _locked(state: Path) -> Iterator[None]:
    """Let one command at a time start or stop services."""
    try:
        state.mkdir(parents=True, exist_ok=True)
        if {entry.name for entry in state.iterdir()} <= _OWN:  # a folder of the user's with other things in it stays as it is
            state.chmod(0o700)
        lock = service.open_private(state / "lock", "w")
    except OSError as error:
        raise _unwritable(state, error) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _unwritable(state: Path, error: OSError) -> LocalError:
    """Make the error for a full disk, a folder of somebody else's, a file in its place."""
    return LocalError(f"{state} cannot be written ({error.strerror}); set RELEASE_LOCAL_STATE to a folder that can")
