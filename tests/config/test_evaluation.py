"""What the section `evaluation` of a model file may say, and what follows from it."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from config.loader import MODELS, load_environment
from config.rules import evaluation_rules
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


LOOP = {"kind": "closed_loop", "concurrency": 4, "warmup_s": 5, "duration_s": 60, "objectives": {"ttft_p50_ms": {"at_most": 500}}}
LADDER = {**LOOP, "kind": "ladder", "concurrencies": [1, 2]}
del LADDER["concurrency"]
RAMP = {"kind": "ramp", "from_rate_per_s": 1, "to_rate_per_s": 2, "duration_s": 60, "objectives": LOOP["objectives"]}


@pytest.mark.parametrize(
    ("profile", "max_runtime_s", "found"),
    [
        (LOOP, 7200, []),
        (LADDER, 7200, []),
        (RAMP, 7200, []),
        (LADDER | {"concurrencies": [2, 1]}, 7200, [("concurrencies-fall", "do not rise")]),
        (RAMP | {"to_rate_per_s": 1}, 7200, [("ramp-is-flat", "for an even rate write kind: open_loop")]),
        (LOOP | {"timeout_s": 900}, 7200, [("timeout-beyond-sagemakers", "SageMaker ends a stream after 480 s")]),
        (LOOP | {"warmup_s": 90}, 7200, [("warmup-outlasts-load", "did you mean it the other way round")]),
        (LOOP, 60, [("load-does-not-fit", "60 s are over before the load is: its profiles alone take 65 s")]),
        (LOOP | {"duration_at_most_s": 120}, 130, [("measuring-on-does-not-fit", "120 s are never reached: .* they take 130 s")]),
        (LOOP | {"duration_at_most_s": 120}, 131, []),
        (LOOP | {"duration_at_most_s": 60}, 66, []),
        (LOOP, 70, []),
    ],
)  # fmt: skip
def test_what_an_evaluation_cannot_do_is_found(profile: dict[str, Any], max_runtime_s: int, found: list[tuple[str, str]]) -> None:
    content = yaml.safe_load((MODELS / "qwen3-32b.yaml").read_text())
    content["evaluation"] |= {"load_profiles": {"chat": profile}, "max_runtime_s": max_runtime_s}
    findings = list(evaluation_rules.findings(ModelFile.model_validate(content).evaluation))
    assert [finding.code for finding in findings] == [code for code, _ in found]
    for finding, (code, says) in zip(findings, found, strict=True):
        assert re.search(says, finding.message)
        assert finding.is_error == (code == "load-does-not-fit")
