"""`container/serve` as a process: what it starts, how it refuses, and whose signals and exit codes it has."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.container.processes import SERVE, environment, free_port, run_serve
from tests.support.waiting import HANG_S

ECHO = "import json, os, sys; print(json.dumps({'argv': sys.argv[1:], 'pid': os.getpid()}))"


@pytest.fixture
def model(tmp_path: Path) -> str:
    (tmp_path / "config.json").write_text("{}")
    return str(tmp_path)


def test_the_server_gets_every_value_whole_and_is_the_same_process(model: str, tmp_path: Path) -> None:
    script = tmp_path / "echo.py"
    script.write_text(ECHO)
    value = '{"a": "b c",\n "d": "$HOME"}'
    variables = {"SM_SGLANG_MODEL_PATH": model, "SM_SGLANG_PORT": str(free_port()), "SM_SGLANG_JSON_MODEL_OVERRIDE_ARGS": value}
    process = subprocess.Popen(
        [sys.executable, str(SERVE), "serve", "--launch", f"{sys.executable} {script}"],
        env=environment(**variables),
        stdout=subprocess.PIPE,
        text=True,
    )
    told = json.loads(process.communicate(timeout=HANG_S)[0])
    assert told["argv"][told["argv"].index("--json-model-override-args") + 1] == value
    assert told["pid"] == process.pid
    assert process.returncode == 0


def test_without_launch_it_is_sglang() -> None:
    done = run_serve("--dry-run", SM_SGLANG_TP_SIZE="8")
    assert done.stdout.split("\n")[:3] == ["python3", "-m", "sglang.launch_server"]
    assert "--tp-size\n8\n" in done.stdout


@pytest.mark.parametrize(
    ("variables", "arguments", "message"),
    [
        ({"SM_SGLANG_TP_SIZZE": "8"}, (), r"serve: SM_SGLANG_TP_SIZZE: .*SM_SGLANG_TP_SIZE"),
        ({"SM_SGLANG_MODEL_PATH": "/nowhere"}, (), r"serve: model directory /nowhere does not exist"),
        ({"SM_SGLANG_TP_SIZE": "64"}, (), r"serve: --tp-size 64 needs 64 GPUs"),
        ({}, ("--launch", ""), r"serve: --launch is empty"),
        ({}, ("--launch", "/no/such/program"), r"serve: cannot start /no/such/program: No such file"),
    ],
)
def test_refusals_are_one_line_and_exit_2(
    model: str, variables: dict[str, str], arguments: tuple[str, ...], message: str
) -> None:
    settings = {"SM_SGLANG_MODEL_PATH": model, "SM_SGLANG_PORT": str(free_port()), **variables}
    done = run_serve(*arguments, **settings)
    *before, last = done.stderr.splitlines()
    assert done.returncode == 2
    assert re.match(message, last)
    assert all(re.match(r"serve: (starting|\d+ GPUs visible) ", line) for line in before)
    assert done.stdout == ""


@pytest.mark.parametrize(("code", "expected"), [("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", -9)])
def test_the_exit_code_is_the_servers(model: str, tmp_path: Path, code: str, expected: int) -> None:
    script = tmp_path / "server.py"
    script.write_text(code)
    port = str(free_port())
    done = run_serve("--launch", f"{sys.executable} {script}", SM_SGLANG_MODEL_PATH=model, SM_SGLANG_PORT=port)
    assert done.returncode == expected


SUPERVISED = "import sys; from container.supervise import supervise; raise SystemExit(supervise(sys.argv[1:]))"


@pytest.mark.parametrize(
    ("code", "expected", "last"),
    [
        ("raise SystemExit(7)", 7, "serve: the server ended with code 7\n"),
        ("import os; os.kill(os.getpid(), 9)", 128 + 9, "serve: the server was ended by signal 9 (Killed)\n"),
    ],
)
def test_supervised_ends_with_the_servers_exit_code_and_says_so(code: str, expected: int, last: str) -> None:
    command = [sys.executable, "-c", SUPERVISED, sys.executable, "-c", code]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=HANG_S)
    assert (done.returncode, done.stderr) == (expected, last)


def test_the_log_begins_with_the_machine_and_the_whole_command_without_secrets(model: str, tmp_path: Path) -> None:
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\nfor n in 0 1 2 3 4 5 6 7; do echo "GPU $n: NVIDIA H100"; done\n')
    (tool.parent / "python3").write_text("#!/bin/sh\n")
    for program in tool.parent.iterdir():
        program.chmod(0o755)
    (tmp_path / "weights.safetensors").write_bytes(bytes(200_000_000))
    variables = environment(
        SM_SGLANG_MODEL_PATH=model, SM_SGLANG_TP_SIZE="8", SM_SGLANG_API_KEY="hunter2", SM_SGLANG_PORT=str(free_port())
    )
    command = [sys.executable, str(SERVE), "serve"]
    done = subprocess.run(
        command, env={**variables, "PATH": f"{tool.parent}:{variables['PATH']}"}, capture_output=True, text=True
    )
    machine, starting = done.stderr.splitlines()
    assert re.fullmatch(rf"serve: 8 GPUs visible \(.*\), /dev/shm [\d,]+ MB, {re.escape(model)} 0\.2 GB in 4 files", machine)
    assert starting.startswith("serve: starting python3 -m sglang.launch_server --api-key '***' --host 0.0.0.0 --model-path ")
    assert starting.endswith(" --tp-size 8")


def test_supervised_signals_reach_the_server_and_not_its_children() -> None:
    # As SGLang does: the server takes SIGTERM as "finish", its child works on until the server says that all is done.
    code = (
        "import os, signal, sys\n"
        "inlet, outlet = os.pipe()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os.read(inlet, 1)\n"
        "    os._exit(3)\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n"
        "print('up', flush=True)\n"
        "signal.sigwait([signal.SIGTERM])\n"
        "os.write(outlet, b'.')\n"
        "sys.exit(40 + os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    command = [sys.executable, "-c", SUPERVISED, sys.executable, "-c", code]
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=HANG_S) == 43


@pytest.mark.skipif(shutil.which("unshare") is None or os.geteuid() != 0, reason="needs root to make a process 1")
def test_as_process_1_it_reaps_orphans_and_ends_with_128_plus_n(model: str, tmp_path: Path) -> None:
    server = tmp_path / "server.py"
    # An orphan ends at once; as process 1's it must not stay behind as a zombie.
    server.write_text(
        "import os, pathlib, signal, time\n"
        "middle = os.fork()\n"
        "if middle == 0:\n"
        "    if os.fork() == 0:\n"
        "        time.sleep(0.1); os._exit(0)\n"
        "    os._exit(0)\n"
        "os.waitpid(middle, 0)\n"
        "deadline = time.monotonic() + 10\n"
        "def others(): return [p.name for p in pathlib.Path('/proc').iterdir() if p.name.isdigit() and int(p.name) > 2]\n"
        "while others() and time.monotonic() < deadline: time.sleep(0.02)\n"
        "print('left', others(), 'parent', os.getppid(), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    probe = ["unshare", "--pid", "--fork", "--mount-proc", "true"]
    if subprocess.run(probe, capture_output=True).returncode != 0:
        pytest.skip("process namespaces are not allowed here")
    done = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, str(SERVE), "--launch", f"{sys.executable} {server}"],
        env=environment(SM_SGLANG_MODEL_PATH=model, SM_SGLANG_PORT=str(free_port())),
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert done.stdout == "left [] parent 1\n"
    assert done.returncode == 128 + signal.SIGTERM
