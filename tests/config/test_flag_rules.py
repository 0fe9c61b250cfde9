"""Flags that SGLang would refuse together: a model file and `container/serve` go by the same table, each with its own code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from config.errors import ConfigError
from config.loader import MODELS, inspect_model
from container import flag_rules
from container.errors import LaunchRefused

CONTAINER = Path(__file__).parents[2] / "container"
QWEN = yaml.safe_load((MODELS / "qwen3-32b.yaml").read_text(encoding="utf-8"))
CASES: list[tuple[dict[str, object], str | None]] = [
    ({}, None),
    ({"mem-fraction-static": 88}, "expected more than 0 and less than 1"),
    ({"mem-fraction-static": 1.0}, "expected more than 0 and less than 1"),
    ({"mem-fraction-static": 0.999}, None),
    ({"context-length": "0k"}, "expected at least 1"),
    ({"context-length": "32Ki", "max-total-tokens": 32768}, None),
    ({"context-length": "33Ki", "max-total-tokens": 32768}, "no request of context-length"),
    ({"chunked-prefill-size": -1, "page-size": 64}, None),
    ({"chunked-prefill-size": -2}, "expected at least 1 or -1"),
    ({"chunked-prefill-size": 8192, "page-size": 64}, None),
    ({"chunked-prefill-size": 8192, "page-size": 100}, "must be a multiple of page-size 100"),
    ({"dp-size": 8, "enable-dp-attention": True}, None),
    ({"dp-size": 3, "enable-dp-attention": True}, "is no divisor"),
    ({"ep-size": 8}, None),
    ({"ep-size": 9}, "9 are more"),
    ({"ep-size": 6}, "6 is no divisor"),
    ({"ep-size": 4, "moe-dp-size": 2}, None),
    ({"ep-size": 8, "moe-dp-size": 2}, "8 are more"),
    ({"attn-cp-size": 4}, None),
    ({"attn-cp-size": 3}, "must be a multiple of dp-size 1 x attn-cp-size 3"),
    ({"retraction-policy": "priority"}, "needs enable-priority-scheduling"),
    ({"retraction-policy": "priority", "enable-priority-scheduling": True}, None),
    ({"schedule-policy": "lpm", "enable-priority-scheduling": True}, "fcfs or lof"),
    ({"enable-torch-compile": True, "disable-cuda-graph-padding": True}, "torch compiles anew"),
    ({"enable-lora": True}, "needs lora-paths"),
    ({"enable-lora": True, "max-lora-rank": 16, "lora-target-modules": ["all"]}, None),
    ({"max-loaded-loras": 2, "max-loras-per-batch": 4, "lora-paths": "/a"}, "4 is more than max-loaded-loras, 2"),
]


@pytest.mark.parametrize(("flags", "says"), CASES, ids=str)
def test_the_file_and_the_container_say_the_same(flags: dict[str, object], says: str | None, tmp_path: Path) -> None:
    content = json.loads(json.dumps(QWEN))
    content["serving"]["sglang"] = flags
    file = tmp_path / "m.yaml"
    file.write_text(yaml.safe_dump(content))
    values = {f"--{name}": value if isinstance(value, str) else json.dumps(value) for name, value in flags.items()}
    values["--tp-size"] = "8"
    if says is None:
        inspect_model(file)
        flag_rules.check(values)
        return
    with pytest.raises(ConfigError, match=says) as refused:
        inspect_model(file)
    assert len(refused.value.problems) >= 1
    with pytest.raises(LaunchRefused, match=says):
        flag_rules.check(values)


@pytest.mark.parametrize(
    ("flags", "says"),
    [({"enable-dp-attention": True}, "add dp-size: 8"), ({"max-loras-per-batch": 4}, "does nothing without lora-paths")],
)
def test_what_does_nothing_is_a_warning(flags: dict[str, object], says: str, tmp_path: Path) -> None:
    content = json.loads(json.dumps(QWEN))
    content["serving"]["sglang"] = flags
    file = tmp_path / "m.yaml"
    file.write_text(yaml.safe_dump(content))
    [warning] = inspect_model(file)[2]
    assert says in warning.message
    flag_rules.check({f"--{name}": json.dumps(value) for name, value in flags.items()})


def test_the_rules_name_flags_that_there_are_by_their_first_spelling() -> None:
    rules = json.loads((CONTAINER / "flag_rules.json").read_text())
    flags = {flag["spellings"][0][2:] for flag in json.loads((CONTAINER / "sglang_flags.json").read_text())["flags"]}
    named = {*rules["ranges"], *rules["defaults"], *rules["one_machine"], *rules["no_network"]}
    for relation in rules["relations"]:
        named.add(relation["blame"])
        for name, operator, *value in [*relation["if"], relation["then"]]:
            named |= set(name.replace("|", "*").split("*"))
            named |= set(value[0].split("*")) if operator in {">", "<=", "%"} and isinstance(value[0], str) else set()
    assert named <= flags
