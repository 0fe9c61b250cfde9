"""`SM_SGLANG_*` variables become SGLang's arguments, or one clear refusal."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from container import launch
from container.errors import LaunchRefused
from container.flags import FlagTable

TABLE = FlagTable.load()


def arguments(**variables: str) -> list[str]:
    """The arguments after the command, without the three defaults."""
    environment = {f"SM_SGLANG_{name}": value for name, value in variables.items()}
    argv = list(launch.plan(environment, TABLE, ["server"]).argv)
    assert argv[0] == "server"
    for name, value in launch.DEFAULTS.items():
        if name[2:].upper().replace("-", "_") not in variables:
            place = argv.index(name)
            assert argv[place : place + 2] == [name, value]
            del argv[place : place + 2]
    return argv[1:]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("TP_SIZE", "8", ["--tp-size", "8"]),
        ("TENSOR_PARALLEL_SIZE", "8", ["--tensor-parallel-size", "8"]),
        ("TRUST_REMOTE_CODE", "true", ["--trust-remote-code"]),
        ("TRUST_REMOTE_CODE", "True", ["--trust-remote-code"]),
        ("TRUST_REMOTE_CODE", "", ["--trust-remote-code"]),
        ("TRUST_REMOTE_CODE", "false", []),
        ("DISABLE_RADIX_CACHE", "false", []),
        ("DLLM_FDFO", "false", ["--no-dllm-fdfo"]),
        ("DLLM_FDFO", "true", ["--dllm-fdfo"]),
        ("NO_DLLM_FDFO", "true", ["--no-dllm-fdfo"]),
        ("NO_DLLM_FDFO", "false", []),
        ("SERVED_MODEL_NAME", "false", ["--served-model-name", "false"]),
        ("SERVED_MODEL_NAME", "true", ["--served-model-name", "true"]),
        ("SERVED_MODEL_NAME", "two words\nand a 'line\"", ["--served-model-name", "two words\nand a 'line\""]),
        ("SERVED_MODEL_NAME", "$(reboot); `x` * ?", ["--served-model-name", "$(reboot); `x` * ?"]),
        ("SERVED_MODEL_NAME", "--port", ["--served-model-name=--port"]),
        ("RANDOM_SEED", "-1", ["--random-seed=-1"]),
        ("CONTEXT_LENGTH", "32k", ["--context-length", "32k"]),
        ("MEM_FRACTION_STATIC", "0.88", ["--mem-fraction-static", "0.88"]),
        ("MODEL_CHECKSUM", "true", ["--model-checksum"]),
        ("MODEL_CHECKSUM", "sums.txt", ["--model-checksum", "sums.txt"]),
        ("MODEL_CHECKSUM", "false", []),
        ("CUDA_GRAPH_BS_DECODE", "1 2  4", ["--cuda-graph-bs-decode", "1", "2", "4"]),
        ("CUDA_GRAPH_BS_DECODE", "[1, 2]", ["--cuda-graph-bs-decode", "1", "2"]),
        ("LORA_PATHS", '[{"lora_name": "a b"}, "c=/d"]', ["--lora-paths", '{"lora_name": "a b"}', "c=/d"]),
        ("LORA_PATHS", '{"lora_name": "a b"}', ["--lora-paths", '{"lora_name": "a b"}']),
    ],
)
def test_a_variable_becomes_arguments(name: str, value: str, expected: list[str]) -> None:
    assert arguments(**{name: value}) == expected


def test_json_is_one_argument() -> None:
    value = json.dumps({"rope_scaling": {"factor": 4.0}, "text": "a 'b' \"c\"\n"}, indent=1)
    assert arguments(JSON_MODEL_OVERRIDE_ARGS=value) == ["--json-model-override-args", value]


def test_defaults_give_way() -> None:
    plan = launch.plan({"SM_SGLANG_PORT": "9000", "SM_SGLANG_MODEL": "/weights", "OTHER": "x"}, TABLE, ["s"])
    assert plan.argv == ("s", "--host", "0.0.0.0", "--model", "/weights", "--port", "9000")
    assert plan.values["--model-path"] == "/weights"


@pytest.mark.parametrize(
    ("extra", "port"), [({}, "14000"), ({"SM_SGLANG_PORT": "9000"}, "9000"), ({"SAGEMAKER_BIND_TO_PORT": ""}, "8080")]
)
def test_the_port_is_the_one_that_sagemaker_names(extra: dict[str, str], port: str) -> None:
    argv = launch.plan({"SAGEMAKER_BIND_TO_PORT": "14000", **extra}, TABLE, ["s"]).argv
    assert argv[argv.index("--port") + 1] == port


def test_the_order_does_not_depend_on_the_environment() -> None:
    variables = {"SM_SGLANG_TP_SIZE": "2", "SM_SGLANG_DTYPE": "bfloat16", "SM_SGLANG_PORT": "1"}
    assert launch.plan(variables, TABLE, ["s"]) == launch.plan(dict(reversed(variables.items())), TABLE, ["s"])


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"TP_SIZ": "8"}, "SM_SGLANG_TP_SIZ: SGLang .* has no flag --tp-siz; did you mean SM_SGLANG_TP_SIZE"),
        ({"TP": "8"}, "did you mean SM_SGLANG_TP_SIZE"),
        ({"ZZZZZZZZ": "8"}, "no flag --zzzzzzzz; remove it"),
        ({"TP_SIZE": "eight"}, "--tp-size takes an integer"),
        ({"TP_SIZE": ""}, "is empty, and --tp-size needs a value"),
        ({"MEM_FRACTION_STATIC": "most"}, "takes a number"),
        ({"CONTEXT_LENGTH": "32 thousand"}, "a size such as 32k"),
        ({"TRUST_REMOTE_CODE": "yes"}, "takes no value; use true or false"),
        ({"TOOL_CALL_PARSER": "qwen99"}, "--tool-call-parser is one of .*qwen"),
        ({"LORA_PATHS": "[oops"}, "looks like JSON and is not"),
        ({"DEFAULT_CHAT_TEMPLATE_KWARGS": "{oops"}, "takes JSON"),
        ({"TP_SIZE": "8", "TENSOR_PARALLEL_SIZE": "4"}, "both set --tp-size, to different values"),
    ],
)
def test_refusals_name_the_variable_and_the_way_out(variables: dict[str, str], message: str) -> None:
    with pytest.raises(LaunchRefused, match=message):
        arguments(**variables)


def test_two_spellings_that_agree_are_one() -> None:
    assert arguments(TP_SIZE="8", TENSOR_PARALLEL_SIZE="8") == ["--tensor-parallel-size", "8"]


def test_unknown_flags_pass_when_the_installed_sglang_is_another() -> None:
    variables = {"SM_SGLANG_BRAND_NEW": "7", "SM_SGLANG_NEWER_STILL": "true", "SM_SGLANG_NOT_THIS": "false"}
    argv = launch.plan(variables, TABLE, ["s"], strict=False).argv
    assert argv[1:3] == ("--brand-new", "7")
    assert "--newer-still" in argv
    assert "--not-this" not in argv


@pytest.mark.parametrize(
    ("variables", "gpus", "refused"),
    [
        ({}, 0, None),
        ({"TP_SIZE": "8"}, 8, None),
        ({"TP_SIZE": "8"}, 4, "--tp-size 8 needs 8 GPUs on this machine and 4 are visible"),
        ({"TP_SIZE": "8", "NNODES": "2"}, 4, None),
        ({"TP_SIZE": "4", "PP_SIZE": "2"}, 4, "--tp-size 4 --pp-size 2 needs 8"),
        ({"TP_SIZE": "4", "DP_SIZE": "2"}, 4, "--dp-size 2 needs 8"),
        ({"TP_SIZE": "4", "DP_SIZE": "4", "ENABLE_DP_ATTENTION": "true"}, 4, None),
        ({"TP_SIZE": "2", "DEVICE": "cpu"}, 0, None),
    ],
)
def test_gpus_are_counted(variables: dict[str, str], gpus: int, refused: str | None) -> None:
    plan = launch.plan({f"SM_SGLANG_{name}": value for name, value in variables.items()}, TABLE, ["s"])
    if refused is None:
        launch.check_gpus(plan, gpus)
    else:
        with pytest.raises(LaunchRefused, match=refused):
            launch.check_gpus(plan, gpus)


@pytest.mark.parametrize(
    ("visible", "expected"),
    [(None, 4), ("0,1", 2), ("0,1,2,3,4,5", 4), ("", 0), ("-1", 0), ("0,-1,2", 1), ("GPU-8f, GPU-9a", 2)],
)
def test_visible_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, visible: str | None, expected: int) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text('#!/bin/sh\nfor n in 0 1 2 3; do echo "GPU $n: NVIDIA H100 (UUID: GPU-$n)"; done\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert launch.visible_gpus({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}) == expected


def test_model_directory(tmp_path: Path) -> None:
    def plan(path: str) -> launch.Plan:
        return launch.plan({"SM_SGLANG_MODEL_PATH": path}, TABLE, ["s"])

    with pytest.raises(LaunchRefused, match="is empty"):
        launch.check_model(plan(str(tmp_path)))
    with pytest.raises(LaunchRefused, match="does not exist"):
        launch.check_model(plan(str(tmp_path / "none")))
    (tmp_path / "config.json").write_text("{}")
    launch.check_model(plan(str(tmp_path)))
    launch.check_model(plan("Qwen/Qwen3-32B"))


def test_port_in_use() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        plan = launch.plan({"SM_SGLANG_HOST": "127.0.0.1", "SM_SGLANG_PORT": port}, TABLE, ["s"])
        with pytest.raises(LaunchRefused, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"):
            launch.check_port(plan)
    launch.check_port(plan)
