"""From `SM_SGLANG_*` variables to a running server: what `container/serve` does.

SageMaker gives a serving container nothing but environment variables. AWS's own SGLang image turns
`SM_SGLANG_TP_SIZE=8` into `--tp-size 8`, and this module keeps that contract, without its shell: every value is one
argument whatever is in it (spaces, newlines, JSON, quotes).

- A switch (`--trust-remote-code`) is given by `true` (or an empty value) and left out by `false`. A switch that has a
  negative (`--no-lora-strict-loading`) is given by its negative when the value is `false`.
- A flag that takes a value gets the value as it stands, so the words true and false reach it.
- A flag that takes several values (`--lora-paths`) gets the items of a JSON list, a JSON object as one item, or else
  the words between white space.

The server listens on `SAGEMAKER_BIND_TO_PORT` where SageMaker sets it, which the Dockerfile's label accept-bind-to-port
promises ("Run Real-time Predictions with an Inference Pipeline", SageMaker developer guide), else on 8080.

**Which parser decides.** Flags are checked against `sglang_flags.json`, not by importing the image's SGLang: that
import costs some ten seconds and touches CUDA before the server does, and the file was written by the parser of the
very version that the Dockerfile pins. Should the installed SGLang be another version after all, the file is wrong, not
the user: `serve` says so on stderr and leaves unknown flags to SGLang's own parser.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from container.errors import LaunchRefused
from container.flags import Flag, FlagTable

__all__ = [
    "DEFAULTS",
    "PREFIX",
    "SGLANG_COMMAND",
    "Plan",
    "check_gpus",
    "check_model",
    "check_port",
    "installed_sglang",
    "machine",
    "plan",
    "visible_gpus",
]

PREFIX = "SM_SGLANG_"
PORT_VARIABLE = "SAGEMAKER_BIND_TO_PORT"
SGLANG_COMMAND = ("python3", "-m", "sglang.launch_server")
DEFAULTS = {"--host": "0.0.0.0", "--port": "8080", "--model-path": "/opt/ml/model"}  # noqa: S104 - SageMaker's contract

_SECRET = ("-key", "-password")
_SIZE = re.compile(r"\d+(\.\d+)?[kMGT]|\d+[KMGT]i|[+-]?\d+")


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """A server to start: `argv` is the whole command, `values` its flags by SGLang's primary spelling.

    A switch that is on has the value `"true"`; a flag with several values has them joined by a space.
    """

    argv: tuple[str, ...]
    values: Mapping[str, str]

    @property
    def shown(self) -> str:
        """The command as one line for a log, in the shell's quoting; the values of keys and passwords are left out."""
        words = list(self.argv)
        for secret in (value for name, value in self.values.items() if name.endswith(_SECRET)):
            words = [word.replace(secret, "***") for word in words]
        return shlex.join(words)

    def integer(self, name: str, default: int) -> int:
        """Return the value of an integer flag (`--tp-size`), or `default` when it is not set."""
        return int(self.values.get(name, default))


def plan(environment: Mapping[str, str], table: FlagTable, launch: Sequence[str], *, strict: bool = True) -> Plan:
    """Plan the command that `environment` asks for: `launch` followed by flags, in the order of their names.

    `strict=False` passes a flag that `table` does not know on as it is. Raises `LaunchRefused` for an unknown flag (its
    message names the nearest ones), a value of the wrong type or outside the flag's choices, and two variables that set
    one flag to different values.
    """
    arguments: dict[str, list[str]] = {}
    values: dict[str, str] = {}
    origin: dict[str, str] = {}
    for variable in sorted(name for name in environment if name.startswith(PREFIX)):
        value = environment[variable]
        found = table.find(variable.removeprefix(PREFIX))
        if found is None:
            if strict:
                raise LaunchRefused(_unknown(variable, table))
            spelling = "--" + variable.removeprefix(PREFIX).lower().replace("_", "-")
            flag = Flag(spellings=(spelling,), nargs=0 if value.lower() in ("true", "false", "") else 1, type="str")
        else:
            flag, spelling = found
        if flag.name in origin:
            if environment[origin[flag.name]] == value:
                continue
            raise LaunchRefused(
                f"{origin[flag.name]} and {variable} both set {flag.name}, to different values; remove one of them"
            )
        origin[flag.name] = variable
        arguments[flag.name], text = _arguments(variable, flag, spelling, value)
        if text is not None:
            values[flag.name] = text
    defaults = DEFAULTS | ({"--port": environment[PORT_VARIABLE]} if environment.get(PORT_VARIABLE) else {})
    for name, default in defaults.items():
        if name not in origin:
            arguments[name], values[name] = [name, default], default
    return Plan((*launch, *(item for name in sorted(arguments) for item in arguments[name])), values)


def _unknown(variable: str, table: FlagTable) -> str:
    nearest = table.nearest(variable.removeprefix(PREFIX))
    name = "--" + variable.removeprefix(PREFIX).lower().replace("_", "-")
    hint = f"did you mean {' or '.join(PREFIX + _variable(flag) for flag in nearest)}?" if nearest else "remove it"
    return f"{variable}: SGLang {table.version} has no flag {name}; {hint}"


def _variable(spelling: str) -> str:
    return spelling.lstrip("-").replace("-", "_").upper()


def _arguments(variable: str, flag: Flag, spelling: str, value: str) -> tuple[list[str], str | None]:
    """Return the arguments for one flag, and its value for `Plan.values` (None: as if it had not been set)."""
    if flag.is_switch:
        return _switch(variable, flag, spelling, value)
    if flag.nargs == "?" and value.lower() in ("true", "false", ""):
        return ([spelling], "true") if value.lower() != "false" else ([], None)
    if value == "":
        raise LaunchRefused(f"{variable} is empty, and {spelling} needs a value; set one or remove the variable")
    if flag.is_list:
        items = _items(variable, value)
        for item in items:
            _check(variable, flag, item)
        return [spelling, *items], " ".join(items)
    _check(variable, flag, value)
    # A value that begins with a dash would be taken for a flag; written this way it cannot be.
    return ([f"{spelling}={value}"] if value.startswith("-") else [spelling, value]), value


def _switch(variable: str, flag: Flag, spelling: str, value: str) -> tuple[list[str], str | None]:
    word = value.strip().lower()
    if word not in ("true", "false", ""):
        raise LaunchRefused(f"{variable}={value!r}: {spelling} takes no value; use true or false")
    on = word != "false"
    if spelling in flag.negative:
        return ([spelling], "false") if on else ([], None)
    if on:
        return [spelling], "true"
    return ([flag.negative[0]], "false") if flag.negative else ([], None)


def _items(variable: str, value: str) -> list[str]:
    """Return the values of a flag that takes several: a JSON list's items, a JSON object whole, or words."""
    text = value.strip()
    if not text.startswith(("[", "{")):
        return text.split()
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise LaunchRefused(f"{variable} looks like JSON and is not: {error}") from error
    if isinstance(parsed, list):
        return [item if isinstance(item, str) else json.dumps(item) for item in parsed]
    return [text]


def _check(variable: str, flag: Flag, value: str) -> None:
    """Refuse what SGLang's parser would refuse, before it spends ten seconds importing."""
    if flag.choices and value not in {str(choice) for choice in flag.choices}:
        allowed = ", ".join(str(choice) for choice in flag.choices)
        raise LaunchRefused(f"{variable}={value!r}: {flag.name} is one of {allowed}")
    try:
        if flag.type == "int":
            int(value)
        elif flag.type == "float":
            float(value)
        elif flag.type in ("json", "json-list"):
            json.loads(value)
        elif flag.type == "size" and not _SIZE.fullmatch(value):
            raise ValueError
    except ValueError as error:
        expected = {"int": "an integer", "float": "a number", "size": "an integer or a size such as 32k"}
        detail = f" ({error})" if flag.type.startswith("json") else ""
        raise LaunchRefused(f"{variable}={value!r}: {flag.name} takes {expected.get(flag.type, 'JSON')}{detail}") from error


def installed_sglang() -> str | None:
    """Return the version of the SGLang in this environment, without importing it; None when there is none."""
    try:
        return importlib.metadata.version("sglang")
    except importlib.metadata.PackageNotFoundError:
        return None


def visible_gpus(environment: Mapping[str, str]) -> int:
    """Return how many GPUs a server started in `environment` sees.

    `nvidia-smi -L` counts the machine's (or, where it is not installed, the `/dev/nvidia0` style device files);
    `CUDA_VISIBLE_DEVICES` can only lower that: CUDA stops at the first entry that it does not know, so an empty or
    negative entry ends the list.
    """
    present = _present_gpus()
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return present
    named = 0
    for entry in (part.strip() for part in visible.split(",")):
        if entry == "" or entry.startswith("-"):
            break
        named += 1
    return min(present, named)


def _present_gpus() -> int:
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=True).stdout
        return sum(line.startswith("GPU ") for line in listing.splitlines())
    except (OSError, subprocess.SubprocessError):
        return sum(1 for device in Path("/dev").glob("nvidia*") if device.name.removeprefix("nvidia").isdigit())


def machine(launch: Plan, gpus: int) -> str:
    """Return what a failed start is first asked about, as one line: driver, GPUs, shared memory (NCCL's), the weights' size."""
    try:
        driver = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8").splitlines()[0]
    except (OSError, IndexError):
        driver = "no NVIDIA driver"
    sizes = [path.stat().st_size for path in Path(launch.values["--model-path"]).rglob("*") if path.is_file()]
    shared = shutil.disk_usage("/dev/shm").total  # noqa: S108 - looked at, not written to
    return (
        f"{gpus} GPUs visible ({driver}), /dev/shm {shared / 1e6:,.0f} MB, "
        f"{launch.values['--model-path']} {sum(sizes) / 1e9:,.1f} GB in {len(sizes)} files"
    )


def check_gpus(launch: Plan, gpus: int) -> None:
    """Refuse a plan that needs more GPUs on this machine than the `gpus` it sees.

    SGLang places tensor-parallel x pipeline-parallel ranks, times the data-parallel replicas unless data parallelism is
    inside attention, over `--nnodes` machines. A plan that sets none of these needs one GPU and is left to SGLang.
    """
    tensor, pipeline = launch.integer("--tp-size", 1), launch.integer("--pp-size", 1)
    replicas = 1 if "--enable-dp-attention" in launch.values else launch.integer("--dp-size", 1)
    nodes = max(1, launch.integer("--nnodes", 1))
    needed = -(-tensor * pipeline * replicas // nodes)
    if needed <= max(gpus, 1) or launch.values.get("--device", "cuda") != "cuda":
        return
    parts = [f"--tp-size {tensor}"]
    parts += [f"--pp-size {pipeline}"] if pipeline > 1 else []
    parts += [f"--dp-size {replicas}"] if replicas > 1 else []
    raise LaunchRefused(
        f"{' '.join(parts)} needs {needed} GPUs on this machine and {gpus} are visible; lower it or choose an instance"
        " type with more GPUs (CUDA_VISIBLE_DEVICES counts)"
    )


def check_model(launch: Plan) -> None:
    """Refuse a model directory that is missing or empty. A model named by its Hub repository is left to SGLang."""
    model = launch.values["--model-path"]
    path = Path(model)
    if not model.startswith(("/", ".", "~")) and not path.exists():
        return
    if not path.exists():
        raise LaunchRefused(f"model directory {model} does not exist; SageMaker puts the model package's weights there")
    if path.is_dir() and not any(path.iterdir()):
        raise LaunchRefused(f"model directory {model} is empty; check the model package's ModelDataSource")


def check_port(launch: Plan) -> None:
    """Refuse an address on which another process listens already, or that is not this machine's."""
    host, port = launch.values["--host"], launch.integer("--port", 8080)
    if not 0 <= port <= 65535:
        raise LaunchRefused(f"--port {port} is not a port; use a number from 0 to 65535")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise LaunchRefused(
                f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}; stop what uses it or set another {PREFIX}PORT"
            ) from error


def split_command(text: str) -> list[str]:
    """Split a launch command given as one string, in the shell's quoting; raise `LaunchRefused` when it has none."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise LaunchRefused(f"--launch {text!r}: {error}") from error
    if not words:
        raise LaunchRefused("--launch is empty; give the command that starts the server")
    return words
