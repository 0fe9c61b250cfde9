"""What a person sees when a model file is wrong: the file and line, the value, what was expected, what to do."""

from __future__ import annotations

import doctest
from collections.abc import Iterator
from contextlib import suppress
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest
import yaml

from config import loader
from config.errors import ConfigError
from config.loader import MODELS, load_environment, load_model, model_names

QWEN = (MODELS / "qwen3-32b.yaml").read_text()


def line_of(text: str, part: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), 1) if part in line)


def refusal(tmp_path: Path, text: str) -> list[str]:
    file = tmp_path / "model.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_model(str(file))
    return [str(problem).removeprefix(str(file)) for problem in error.value.problems]


@pytest.mark.parametrize("name", model_names())
def test_the_models_of_this_repository_load(name: str) -> None:
    assert load_model(name)[0] == name


@pytest.mark.parametrize("name", ["local", "aws"])
def test_the_environments_of_this_repository_load(name: str) -> None:
    assert load_environment(name).kind == name


def test_qwen_is_served_over_eight_gpus_under_sglangs_own_flag_names() -> None:
    _, model = load_model("qwen3-32b")
    assert model.serving.instance_type == "ml.p5.48xlarge"
    environment = model.container_environment()
    assert environment["SM_SGLANG_TP_SIZE"] == "8"
    assert environment["SM_SGLANG_MEM_FRACTION_STATIC"] == "0.88"
    assert environment["SM_SGLANG_ENABLE_METRICS"] == "true"


@pytest.mark.parametrize(
    ("written", "instead", "says"),
    [
        ("revision: 9216db5781bf21249d130ec9da846c4624c16137", "revision: main", ["'main' is a branch", "40 hexadecimal digits"]),
        ("repository: Qwen/Qwen3-32B", "repository: Qwen3-32B", ["ORGANISATION/NAME"]),
        ("tensor_parallel_size: 8", "tensor_parallel_size: 16", ["ml.p5.48xlarge has 8", "lower it"]),
        ("tensor_parallel_size: 8", "tensor_parallel_size: 9", ["9 needs 9 GPUs, but one ml.p5.48xlarge has 8"]),
        ("instance_type: ml.p5.48xlarge", "instance_type: ml.p5.48xlage", ["did you mean 'ml.p5.48xlarge'"]),
        ("itl_p99_ms: {at_most: 60}", "itl_p99_ms: {}", ["exactly one bound"]),
        ("itl_p99_ms: {at_most: 60}", "itl_p99_ms: {at_most: 60, at_least: 1}", ["exactly one bound"]),
        ("ttft_p99_ms: {at_most: 1500}", "ttft_99_ms: {at_most: 1500}", ["no such metric", "did you mean 'ttft_p99_ms'"]),
        ("duration_s: 300", "duration_s: 0", ["0 will not do", "greater than 0"]),
        ("mem-fraction-static: 0.88", "mem-fraction-statik: 0.88", ["no flag", "did you mean 'mem-fraction-static'"]),
        (
            "instance_type: ml.p5.48xlarge",
            "instance_type: cpu",
            ["'cpu' is not a GPU", "knows; All of them: config/instances.py"],
        ),
        (
            "ttft_p99_ms: {at_most: 1500}",
            "speed: {at_most: 1}",
            ["no such metric; Known: ttft_p50_ms, ", "usd_per_million_output_tokens"],
        ),
        ("mem-fraction-static: 0.88", "qqq: 1", ["no flag 'qqq'; All of them: container/sglang_flags.json"]),
        ("mem-fraction-static: 0.88", "mem-fraction-static: high", ["takes a number", "'high'"]),
        ("reasoning-parser: qwen3", "reasoning-parser: qwen33", ["is one of", "qwen3"]),
        ("enable-metrics: true", "enable-metrics: 1", ["is a switch"]),
        ("enable-metrics: true", "tp-size: 4", ["use serving.tensor_parallel_size"]),
        ("enable-metrics: true", "api-key: hunter2", ["secrets do not belong"]),
        ("enable-metrics: true", "trust-remote-code: true", ["weights.unsafe"]),
        ("duration_s: 300", "durations_s: 300", ["unknown key", "did you mean 'duration_s'"]),
        (
            "ttft_p99_ms: {at_most: 1500}",
            "ttft_p99_ms: 1500",
            ["1500 will not do", "keys with values below it: at_most, at_least"],
        ),
        ("instance_count: 2", "instance_count: two", ["'two'", "valid integer"]),
        ("approval: manual", "approval: maybe", ["'maybe'", "'manual' or 'automatic'"]),
        ("kind: closed_loop", "kind: nonsense", ["nonsense", "closed_loop"]),
        ("strategy: rolling", "strategy: gentle", ["strategy", "'rolling'"]),
        ("batch_percent: 50", "batch: 50", ["unknown key", "did you mean 'batch_percent'"]),
        ("prompt_checks:", "prompt_check:", ["unknown key", "did you mean 'prompt_checks'"]),
        ("prompt_checks:", "canaries:", ["unknown key", "it is called 'prompt_checks' here"]),
    ],
)
def test_a_mistake_is_one_line_with_its_place(tmp_path: Path, written: str, instead: str, says: list[str]) -> None:
    text = QWEN.replace(written, instead)
    [problem] = refusal(tmp_path, text)
    assert problem.startswith(f":{line_of(text, instead.split(': {')[0])}: "), problem
    for part in says:
        assert part in problem


# What the entrypoint of AWS's own image did with each value, run with a python3 that prints its arguments.
@pytest.mark.parametrize(
    ("flag", "says"),
    [
        ("cuda-graph-bs-decode: [1, 2]", "gives SGLang one value for this flag, not the several of [1, 2]"),
        ("lora-paths: a=/x b=/y", "not the several of 'a=/x b=/y'"),
        ("lora-strict-loading: false", "cannot switch this flag off"),
        ("served-model-name: 'true'", "takes 'true' for a switch"),
        ('chat-template: "a\\nb"', "ends a value at the end of its first line"),
    ],
)
def test_a_flag_that_awss_image_would_garble_is_refused_for_that_image_alone(tmp_path: Path, flag: str, says: str) -> None:
    text = QWEN.replace("  sglang:", "  image: aws\n  sglang:").replace("enable-metrics: true", flag)
    [problem] = refusal(tmp_path, text)
    assert problem.startswith(f":{line_of(text, flag)}: ")
    assert says in problem
    (tmp_path / "ours.yaml").write_text(text.replace("  image: aws\n", ""))
    load_model(str(tmp_path / "ours.yaml"))


def test_what_awss_image_passes_on_is_accepted(tmp_path: Path) -> None:
    flags = "enable-metrics: true\n    disable-radix-cache: false\n    served-model-name: two words\n    lora-paths: a=/x"
    (tmp_path / "model.yaml").write_text(
        QWEN.replace("  sglang:", "  image: aws\n  sglang:").replace("enable-metrics: true", flags)
    )
    assert load_model(str(tmp_path / "model.yaml"))[1].serving.image == "aws"


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where everything in a model file stands."""
    if path:
        yield path
    inside = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in inside:
        yield from places(value, (*path, key))


@pytest.mark.parametrize("instead", [None, "x", -1, [], {"x": {"x": 1}}], ids=repr)
def test_whatever_stands_in_a_file_it_loads_or_is_refused_without_a_traceback(tmp_path: Path, instead: object) -> None:
    """At every place in turn, with what belongs there beside it under a misspelt key."""
    file = tmp_path / "model.yaml"
    for place in places(yaml.safe_load(QWEN)):
        content = yaml.safe_load(QWEN)
        parent = reduce(getitem, place[:-1], content)
        if isinstance(parent, dict):
            parent[f"{place[-1]}s"] = parent[place[-1]]
        parent[place[-1]] = instead
        file.write_text(yaml.safe_dump(content))
        with suppress(ConfigError):
            load_model(str(file))


def test_a_misspelt_key_is_refused_without_a_traceback(tmp_path: Path) -> None:
    file = tmp_path / "model.yaml"
    for place in places(yaml.safe_load(QWEN)):
        content = yaml.safe_load(QWEN)
        parent = reduce(getitem, place[:-1], content)
        if isinstance(parent, dict):
            parent[f"{place[-1]}s"] = parent.pop(place[-1])
            file.write_text(yaml.safe_dump(content))
            with suppress(ConfigError):
                load_model(str(file))


def test_a_misspelt_required_key_is_one_problem_not_two(tmp_path: Path) -> None:
    [problem] = refusal(tmp_path, QWEN.replace("weights:", "wieghts:"))
    assert "did you mean 'weights'" in problem


def test_a_missing_key_says_what_it_is_for(tmp_path: Path) -> None:
    [problem] = refusal(tmp_path, QWEN.replace("  endpoint: qwen3-32b\n", ""))
    assert "production.endpoint: missing; add it (The endpoint's name.)" in problem


def test_a_revision_of_digits_only_is_told_to_be_quoted(tmp_path: Path) -> None:
    digits = "1" * 40
    [problem] = refusal(tmp_path, QWEN.replace("9216db5781bf21249d130ec9da846c4624c16137", digits))
    assert f'put it in quotes: "{digits}"' in problem


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    [problem] = refusal(tmp_path, QWEN + "\napproval: automatic\n")
    assert "'approval' stands here a second time" in problem


@pytest.mark.parametrize("text", ["a: [1", "- just\n- a list\n", "", "\x00"])
def test_what_is_no_mapping_is_refused_without_a_traceback(tmp_path: Path, text: str) -> None:
    assert len(refusal(tmp_path, text)) == 1


def test_an_unknown_model_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'qwen3-32b'\? Known: "):
        load_model("qwen3-23b")


def test_a_name_like_no_other_gets_no_guess() -> None:
    with pytest.raises(ConfigError) as raised:
        load_model("none")
    assert "did you mean" not in str(raised.value)
    assert "Known: " in str(raised.value)


@pytest.mark.parametrize(("written", "hint"), [('"300"', True), ("soon", False), ('"soon"', False)])
def test_quotes_are_blamed_only_where_there_are_some(tmp_path: Path, written: str, hint: bool) -> None:
    problems = refusal(tmp_path, QWEN.replace("duration_s: 300", f"duration_s: {written}", 1))
    assert ("without quotes" in problems[0]) is hint, problems


def test_a_file_whose_name_is_no_model_name_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "My_Model.yaml"
    file.write_text(QWEN)
    with pytest.raises(ConfigError, match="lower-case letters"):
        load_model(str(file))


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(loader).failed == 0
