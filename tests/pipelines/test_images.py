"""What the word in `serving.image` stands for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from config.loader import load_environment, load_model
from pipelines.images import SGLANG_VERSION, serving_image

ROOT = Path(__file__).parents[2]
ENVIRONMENT = load_environment(str(Path(__file__).parent / "environments" / "everything.yaml"))  # not the user's own aws.yaml


@pytest.mark.parametrize(
    ("word", "uri"),
    [
        ("project", "111122223333.dkr.ecr.us-west-2.amazonaws.com/release-serving:0123456789abcdef0123"),
        ("registry.example.com/mine:1", "registry.example.com/mine:1"),
    ],
)
def test_project_is_the_environments_and_a_uri_is_itself(word: str, uri: str) -> None:
    serving = load_model("qwen3-32b")[1].serving.model_copy(update={"image": word})
    assert serving_image(serving, ENVIRONMENT) == uri


def test_aws_is_the_sdks_own_answer_for_the_region() -> None:
    serving = load_model("qwen3-32b")[1].serving.model_copy(update={"image": "aws"})
    uri = serving_image(serving, ENVIRONMENT)
    assert uri.startswith(f"763104351884.dkr.ecr.us-west-2.amazonaws.com/sglang:{SGLANG_VERSION}-gpu")


def test_the_sglang_that_we_build_is_the_one_whose_flags_we_check() -> None:
    assert json.loads((ROOT / "container" / "sglang_flags.json").read_text())["sglang"] == SGLANG_VERSION
    assert f"v{SGLANG_VERSION}" in (ROOT / "container" / "Dockerfile").read_text()
