"""What the section `evaluation` of a model file may say, and what follows from it."""

from __future__ import annotations

import pytest
import yaml
from pydantic import ValidationError

from config.loader import MODELS, load_environment
from config.schema import ModelFile, Release


def test_a_staging_instance_that_is_too_small_is_refused_where_it_stands() -> None:
    content = yaml.safe_load((MODELS / "qwen3-32b.yaml").read_text())
    content["evaluation"]["staging"] = {"instance_types": ["ml.p5.48xlarge", "ml.g6.12xlarge"]}
    with pytest.raises(ValidationError, match="needs 8 GPUs, but one ml"):
        ModelFile.model_validate(content)


def test_the_evaluation_job_outlives_every_try_to_find_capacity() -> None:
    content = yaml.safe_load((MODELS / "qwen3-32b.yaml").read_text())
    content["serving"]["provision_timeout_s"] = 600
    content["evaluation"]["staging"] = {
        "instance_types": ["ml.p5.48xlarge", "ml.p4d.24xlarge"],
        "capacity_retries": 2,
        "capacity_wait_s": 120.0,
    }
    model = ModelFile.model_validate(content)
    release = Release(name="a", model=model, environment=load_environment("aws"), serving_image="image")
    assert release.longest_evaluation_s == 9000 + 5 * 600 + 2 * 120
