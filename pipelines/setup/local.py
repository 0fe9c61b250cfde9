"""What runs on this machine in place of AWS and the Hub: the only module that reaches `sagemaker_local`, `local_hub` and `container`.

They run as two processes that outlive the command, so that production stays up between releases; `down` stops them. Their ports, logs and
state are in one folder, `.local/` in the project. How they are reached and run is known here alone: addresses, and which command stands for
which container image. Definitions are the same as for AWS. Elsewhere `environment.kind` says only what this machine does not have: quotas,
prices, zones, a registry of images.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from config.environment import Environment
from config.schema import PACKAGE_GROUP_PREFIX
from pipelines.errors import LocalError

PROJECT = Path(__file__).parents[2]
STATE = Path(os.environ.get("RELEASE_LOCAL_STATE", PROJECT / ".local"))
"""The state folder; RELEASE_LOCAL_STATE names another, so that a second stack can run beside the first."""
APPROVAL_RULE = "release-approved"
"""The EventBridge rule that an approval in the registry meets, here as in infra/delivery.yaml."""
_RECORD = "services.json"
_SERVICES = ("sagemaker_local", "local_hub")
_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 30.0
_ANSWER_TIMEOUT_S = 30.0
"""After this long a service is taken for hung, and `up` starts it anew, with all that it runs: not merely because the machine is busy."""
_PASSED_ON = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy")
"""How this machine reaches the Hub at huggingface.co; jobs need it as the command does."""
_HERE = ("127.0.0.1", "localhost")
_DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Service:
    """A process of ours, and where it listens: what it printed when it was ready, empty until then."""

    name: str
    pid: int
    url: str = ""

    @property
    def exists(self) -> bool:
        """Whether its process is there. A number that the system has given to another program since is not."""
        return self.name in _command_line(self.pid)

    @property
    def is_running(self) -> bool:
        """Whether it is there, was ready, and answers."""
        if not self.url or not self.exists:
            return False
        try:
            _DIRECTLY.open(self.url, timeout=_ANSWER_TIMEOUT_S).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True


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
    see what is said to this machine.
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
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = ",".join(dict.fromkeys([*hosts, *_HERE]))


def up(environment: Environment, state: Path = STATE) -> LocalStack:
    """Start what is not running yet and prepare it as the AWS stack prepares an account; returns where everything is.

    Raises LocalError with the end of a service's log when it does not start.
    """
    leave_aws(environment.region)
    with _locked(state):
        recorded = _recorded(state)
        alive = {name: service for name, service in recorded.items() if service.is_running}
        # Hung, or the command that started it was killed before it was ready.
        _stop(service for name, service in recorded.items() if name not in alive)
        try:
            stack = _stack(state, alive) if len(alive) == len(_SERVICES) else _start(state, alive)
        except OSError as error:
            raise _unusable(state, error) from error
    stack.activate(environment)
    _prepare(environment)
    return stack


def running(state: Path = STATE) -> LocalStack | None:
    """The services of this state folder, None when its SageMaker is not up. Its Hub may have died: only a release needs it, and starts it."""
    services = _recorded(state)
    if len(services) < len(_SERVICES) or not services["sagemaker_local"].is_running:
        return None
    return _stack(state, services)


def down(state: Path = STATE) -> list[str]:
    """Stop the services of this state folder and everything that they started; returns the names of those that ran."""
    record = state / _RECORD
    if not record.exists():
        return []
    with _locked(state):
        stopped = _stop(_recorded(state).values())
        record.unlink(missing_ok=True)
    return stopped


def ended(error: Exception) -> str | None:
    """What to say of an AWS client's error, when it is that this machine's SageMaker went away; None for every other error."""
    from botocore.exceptions import ConnectionError as NoConnection
    from botocore.exceptions import HTTPClientError

    url = os.environ.get("AWS_ENDPOINT_URL", "")
    if not isinstance(error, NoConnection | HTTPClientError) or not url.startswith("http://127.0.0.1:"):
        return None
    stack = running()
    if stack is not None and stack.sagemaker.url == url:
        return None
    log = _log("sagemaker_local", STATE)
    return f"the SageMaker of this machine ended (its log: {log}). It remembers all it did; start it: python -m pipelines.run local up"


def _recorded(state: Path) -> dict[str, Service]:
    """The services that were started last; empty when none were, or they were stopped. LocalError when the record cannot be read."""
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


def _stack(state: Path, services: dict[str, Service]) -> LocalStack:
    return LocalStack(state, *(services[name] for name in _SERVICES))


def _start(state: Path, alive: dict[str, Service]) -> LocalStack:
    """Start those that are not alive: production outlives a Hub that died."""
    images = state / "images.json"  # JSON is YAML
    images.write_text(json.dumps(image_map(), indent=2))
    hub = state / "hub"  # a folder put here, hub/ORG/NAME/, is a repository of the local Hub
    hub.mkdir(exist_ok=True)
    commands = {
        "sagemaker_local": ["-m", "sagemaker_local", "--state", str(state / "sagemaker"), "--images", str(images)],
        "local_hub": ["-m", "local_hub", "--root", str(hub)],
    }
    services = dict(alive)
    processes: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name in _SERVICES:
            if name not in alive:
                processes[name] = _spawn(name, commands[name], state)
                services[name] = Service(name, processes[name].pid)
                _record(
                    services, state
                )  # before it is ready: whoever kills this command leaves services that `up` and `down` find
        services |= {name: _ready(name, process, state) for name, process in processes.items()}
        _record(services, state)
    except BaseException:
        _stop(service for name, service in services.items() if name not in alive)
        raise
    return _stack(state, services)


def _record(services: dict[str, Service], state: Path) -> None:
    written = state / f"{_RECORD}.new"
    written.write_text(json.dumps({name: asdict(service) for name, service in services.items()}))
    written.replace(state / _RECORD)  # whole or not at all, also on a full disk


def image_map() -> dict[str, Any]:
    """Which local command stands for which container image (the format is sagemaker_local's)."""
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    steps = {
        "match": "*/release-steps:*",
        "environment": {"PYTHONPATH": str(PROJECT), "PYTHONUNBUFFERED": "1", **passed_on},
        "working_directory": str(PROJECT),
    }
    engines = {"local": _best_engine(), "llamacpp": "llamacpp", "simulated": "simulated", "sglang": "sglang"}
    serving = [_serving(f"*/release-serving:{tag}", engine) for tag, engine in engines.items()]
    return {"images": [steps, *serving, _serving("*/sglang:*", _best_engine())]}


def _serving(match: str, engine: str) -> dict[str, Any]:
    launch = [] if engine == "sglang" else ["--launch", f"{sys.executable} -m container.engines.{engine}"]
    return {
        "match": match,
        "command": ["{python}", str(PROJECT / "container" / "serve"), *launch],
        "environment": {
            "PYTHONPATH": str(PROJECT),
            "PYTHONUNBUFFERED": "1",
            "SM_SGLANG_HOST": "127.0.0.1",
            "SM_SGLANG_PORT": "{port}",
            "SM_SGLANG_MODEL_PATH": "{opt_ml}/model",
        },
        "working_directory": str(PROJECT),
    }


def _best_engine() -> str:
    """SGLang itself where there is a GPU and SGLang is installed, llama.cpp elsewhere."""
    from importlib.util import find_spec
    from shutil import which

    return "sglang" if which("nvidia-smi") and find_spec("sglang") else "llamacpp"


def _prepare(environment: Environment) -> None:
    """What infra/ does in an AWS account: the bucket, the rule for approvals, and the Hub's token if the user has one."""
    import boto3

    _approvals_start_promotions(environment)

    s3 = boto3.client("s3", region_name=environment.region)
    if environment.bucket not in {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}:
        where = (
            {} if environment.region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": environment.region}}
        )
        s3.create_bucket(Bucket=environment.bucket, **where)
    token = os.environ.get("HF_TOKEN")
    if token and environment.hub_token_secret:
        secrets = boto3.client("secretsmanager", region_name=environment.region)
        try:
            secrets.create_secret(Name=environment.hub_token_secret, SecretString=token)
        except secrets.exceptions.ResourceExistsException:
            secrets.put_secret_value(SecretId=environment.hub_token_secret, SecretString=token)


def _approvals_start_promotions(environment: Environment) -> None:
    """The EventBridge rule of infra/delivery.yaml: a version that is approved in the registry starts the promotion pipeline.

    One that is there already is left as it is, disabled if somebody disabled it.
    """
    import boto3

    from delivery.names import PROMOTION_PIPELINE

    events = boto3.client("events", region_name=environment.region)
    try:
        events.describe_rule(Name=APPROVAL_RULE)
        return
    except events.exceptions.ResourceNotFoundException:
        pattern = {
            "source": ["aws.sagemaker"],
            "detail-type": ["SageMaker Model Package State Change"],
            "detail": {"ModelPackageGroupName": [{"prefix": PACKAGE_GROUP_PREFIX}], "ModelApprovalStatus": ["Approved"]},
        }
        events.put_rule(Name=APPROVAL_RULE, EventPattern=json.dumps(pattern), State="ENABLED")
    pipeline = f"arn:aws:sagemaker:{environment.region}:{environment.account_id}:pipeline/{PROMOTION_PIPELINE}"
    parameters = [{"Name": "ModelPackageArn", "Value": "$.detail.ModelPackageArn"}]
    events.put_targets(
        Rule=APPROVAL_RULE,
        Targets=[
            {
                "Id": "promotion",
                "Arn": pipeline,
                "RoleArn": f"arn:aws:iam::{environment.account_id}:role/release-events",
                "SageMakerPipelineParameters": {"PipelineParameterList": parameters},
            }
        ],
    )


def _spawn(name: str, command: list[str], state: Path) -> subprocess.Popen[bytes]:
    with _log(name, state).open("wb") as log:
        return subprocess.Popen(
            [sys.executable, *command],
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C stops the command, not production
            env={name: value for name, value in os.environ.items() if name != "HF_TOKEN"},
        )


def _ready(name: str, process: subprocess.Popen[bytes], state: Path) -> Service:
    """Wait for the line `NAME=URL` that both services print when they are ready."""
    log = _log(name, state)
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        for line in log.read_text(errors="replace").splitlines():
            variable, _, url = line.partition("=")
            if variable in {"AWS_ENDPOINT_URL", "HF_ENDPOINT"} and url.startswith("http"):
                return Service(name, process.pid, url)
        if process.poll() is not None:
            break
        time.sleep(0.05)
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
    raise LocalError(f"{name} did not start; the end of its log, {log}:\n{tail}")


def _stop(services: Iterable[Service]) -> list[str]:
    """SIGTERM, and SIGKILL to what is still there after a while; returns the names of those that ran."""
    ran = [service for service in services if service.exists]
    for service in ran:
        os.kill(service.pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_TIMEOUT_S
    for service in ran:
        while service.exists and time.monotonic() < deadline:
            time.sleep(0.05)
        if service.exists:
            os.kill(service.pid, signal.SIGKILL)
    return [service.name for service in ran]


def _command_line(pid: int) -> str:
    """The words that a process was started with; empty when there is none, or only its exit code is left."""
    if not Path("/proc/self").exists():
        listed = subprocess.run(
            ["ps", "-p", str(pid), "-o", "stat=,command="], capture_output=True, text=True, check=False
        ).stdout
        return "" if listed.startswith("Z") else listed
    try:  # Linux, where small images have no `ps`
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _log(name: str, state: Path) -> Path:
    return state / f"{name}.log"


@contextmanager
def _locked(state: Path) -> Iterator[None]:
    """One command at a time starts or stops services."""
    try:
        state.mkdir(parents=True, exist_ok=True)
        lock = (state / "lock").open("w")
    except OSError as error:
        raise _unusable(state, error) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _unusable(state: Path, error: OSError) -> LocalError:
    """A full disk, a folder of somebody else's, a file in its place."""
    return LocalError(f"{state} cannot be written ({error.strerror}); set RELEASE_LOCAL_STATE to a folder that can")
