"""A pipeline is made once, also by two that want it at the same moment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from config.loader import load_environment
from pipelines.executions.execution import Executions
from sagemaker_local.testing import running


def test_two_first_releases_both_want_the_pipeline_of_promotions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(tmp_path) as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        first, second = (Executions(load_environment("local")) for _ in range(2))
        describe, steps = (
            second._sagemaker.describe_pipeline,
            [{"Name": "Over", "Type": "Fail", "Arguments": {"ErrorMessage": "no"}}],
        )
        definition = json.dumps({"Version": "2020-12-01", "Steps": steps})

        def late(*, PipelineName: str) -> object:
            """Let another make it between the look and the making."""
            monkeypatch.setattr(second._sagemaker, "describe_pipeline", describe)
            try:
                return describe(PipelineName=PipelineName)
            finally:
                first.upsert("promotion", definition, "theirs")

        monkeypatch.setattr(second._sagemaker, "describe_pipeline", late)
        second.upsert("promotion", definition.replace(": ", ":"), "ours")
        assert describe(PipelineName="promotion")["PipelineDefinition"] == definition
