"""Files that would take for ever, or end in a traceback, if they were read as any other."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from config.errors import ConfigError
from config.loader import MODELS, load_model

QWEN = (MODELS / "qwen3-32b.yaml").read_text(encoding="utf-8")
BOMB = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9))]
)


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("weights: " + "[" * 5000 + "]" * 5000, 1, "deeper than 32 levels"),
        ("weights: " + "{a: " * 3000 + "1" + "}" * 3000, 1, "deeper than 32 levels"),
        ("- " * 4000 + "x", 1, "deeper than 32 levels"),
        ("weights: &a\n  repository: *a\n", 1, "inside its own anchor"),
        ("weights: &a [[*a]]\n", 1, "inside its own anchor"),
        (BOMB, 5, "more than 20,000 values"),
        ("# " + "x" * 12_000_000 + "\n" + QWEN, None, "more than 262,144 bytes"),
        ("# c\n" * 3_000_000, None, "more than 262,144 bytes"),
        (QWEN.replace("at_most: 1500", "at_most: .nan", 1), 0, "nan will not do"),
        (QWEN.replace("at_most: 1500", "at_most: .inf", 1), 0, "inf will not do"),
        (QWEN.replace("at_most: 1500", "at_most: -.inf", 1), 0, "inf will not do"),
        (QWEN.replace("max_bytes: 70_000_000_000", "max_bytes: 9e99999999"), 7, "9e99999999 will not do"),
        (QWEN.replace("max_bytes: 70_000_000_000", "max_bytes: '9e99999999'"), 7, "valid integer"),
        (QWEN.replace("max_bytes: 70_000_000_000", f"max_bytes: {'9' * 9999}"), 7, "more than 64 bits"),
        (QWEN.replace("max_bytes: 70_000_000_000", f"max_bytes: 0x{'f' * 9999}"), 7, "more than 64 bits"),
        (QWEN.replace("max_bytes: 70_000_000_000", f"max_bytes: {2**63}"), 7, "more than 64 bits"),
        ("\0", None, "is not YAML"),
        ("weights: \ud800".encode("utf-8", "surrogatepass").decode("latin-1"), None, ""),
    ],
)
def test_is_one_clear_error_at_once(tmp_path: Path, text: str, line: int | None, says: str) -> None:
    file = tmp_path / "model.yaml"
    file.write_text(text, encoding="utf-8")
    started = time.process_time()
    with pytest.raises(ConfigError) as refused:
        load_model(str(file))
    assert time.process_time() - started < 5
    message = str(refused.value.problems[0])
    assert says in message
    if line:
        assert message.startswith(f"{file}:{line}: ")


def test_a_link_to_itself_is_no_file(tmp_path: Path) -> None:
    file = tmp_path / "model.yaml"
    file.symlink_to(file)
    with pytest.raises(ConfigError, match="there is no such model file"):
        load_model(str(file))


def test_the_largest_whole_number_is_one(tmp_path: Path) -> None:
    file = tmp_path / "model.yaml"
    file.write_text(QWEN.replace("max_bytes: 70_000_000_000", f"max_bytes: {2**63 - 1}"), encoding="utf-8")
    assert load_model(str(file))[1].weights.max_bytes == 9_223_372_036_854_775_807


def test_an_alias_is_a_value_like_any_other(tmp_path: Path) -> None:
    file = tmp_path / "model.yaml"
    text = QWEN.replace("at_most: 1500", "at_most: &bound 1500", 1)
    assert text != QWEN
    file.write_text(text + "", encoding="utf-8")
    load_model(str(file))
