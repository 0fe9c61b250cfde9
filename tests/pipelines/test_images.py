"""What the word in `serving.image` stands for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from config.environment import Images
from config.loader import load_environment, load_model
from pipelines.setup.images import SGLANG_VERSION, content_tag, serving_image, tag_images

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


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A project of one image."""
    (tmp_path / "made.Dockerfile").write_text("FROM base@sha256:0\nCOPY code/ code/\nCOPY lock \\\n     LICENSE ./\n")
    for name in ("lock", "LICENSE", "code/step.py", "code/__pycache__/step.pyc", "code/models/one.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / ".dockerignore").write_text("# what never goes in\n**/__pycache__\ncode/models\n")
    return tmp_path


@pytest.mark.parametrize("name", ["made.Dockerfile", "lock", "LICENSE", "code/step.py", "code/new.py"])
def test_whatever_goes_into_an_image_changes_its_tag(tree: Path, name: str) -> None:
    before = content_tag("made.Dockerfile", tree)
    with (tree / name).open("a") as file:
        file.write("# changed")
    assert content_tag("made.Dockerfile", tree) != before


def test_an_executable_is_another_file(tree: Path) -> None:
    before = content_tag("made.Dockerfile", tree)
    (tree / "code" / "step.py").chmod(0o755)
    assert content_tag("made.Dockerfile", tree) != before


def test_what_does_not_go_in_changes_nothing(tree: Path) -> None:
    before = content_tag("made.Dockerfile", tree)
    for name in ("README.md", "code/models/two.yaml", "code/__pycache__/other.pyc"):
        (tree / name).write_text("new")
    assert content_tag("made.Dockerfile", tree) == before


def test_an_address_with_a_tag_or_a_digest_is_left_alone() -> None:
    images = {"steps": "registry:5000/steps", "serving": "registry:5000/serving@sha256:0"}
    whole = tag_images(ENVIRONMENT.model_copy(update={"images": Images(**images)})).images
    assert whole.serving == images["serving"]
    assert whole.steps == f"registry:5000/steps:{content_tag('container/steps.Dockerfile')}"
    assert tag_images(ENVIRONMENT) == ENVIRONMENT
