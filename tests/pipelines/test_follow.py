"""`follow`: which execution it follows. What it shows is in test_display.py."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from delivery.names import PROMOTION_PIPELINE
from pipelines.commands.releases import follow
from pipelines.errors import ExecutionError
from pipelines.executions import display, following
from pipelines.executions.execution import ExecutionView
from pipelines.run import main
from pipelines.status.statuses import ExecutionStatus

RELEASE, PROMOTION = "arn:aws:sagemaker:::execution/release", "arn:aws:sagemaker:::execution/promotion"
ENVIRONMENT = SimpleNamespace(kind="local", bucket="bucket")


class _Executions:
    """SageMaker with a release that has that status."""

    def __init__(self, release: str | None, *, fails: bool = False) -> None:
        self._release, self._fails = release, fails

    def newest(self, pipeline: str) -> str | None:
        return RELEASE if self._release else None

    def view(self, arn: str) -> ExecutionView:
        return ExecutionView(arn, self._release or "")

    def follow(self, arn: str, interval_s: float) -> list[ExecutionView]:
        if arn == RELEASE:
            raise InterruptedError(arn)
        return [ExecutionView(arn, "Failed" if self._fails else "Succeeded")]

    def read_json(self, uri: str) -> dict[str, Any]:
        return {"endpoint": "m", "version": 3}


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    model = SimpleNamespace(name="m", env="aws", environment=ENVIRONMENT, sagemaker=None)
    monkeypatch.setattr(follow, "resolve", lambda model, env: SimpleNamespace(name="m", environment=ENVIRONMENT))
    monkeypatch.setattr(follow, "attach", lambda environment: None)
    monkeypatch.setattr(follow, "open_model", lambda name, env: model)
    running = [ExecutionStatus(PROMOTION, PROMOTION_PIPELINE, "Executing", "")]
    monkeypatch.setattr(follow, "executions_under_way", lambda model: running)
    return monkeypatch


@pytest.mark.parametrize("release", ["Succeeded", None])
def test_a_promotion_under_way_is_followed(
    stage: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], release: str | None
) -> None:
    _with(stage, _Executions(release))
    follow.follow("m", "local", as_json=True)
    answer = json.loads(capsys.readouterr().out)
    assert answer == {"execution": PROMOTION, "status": "Succeeded", "production": {"endpoint": "m", "version": 3}}


def test_a_release_under_way_comes_first(stage: pytest.MonkeyPatch) -> None:
    _with(stage, _Executions("Executing"))
    with pytest.raises(InterruptedError, match=RELEASE):
        follow.follow("m", "local", as_json=True)


def test_ctrl_c_says_that_the_promotion_goes_on(stage: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    _with(stage, _Executions(None))
    stage.setattr(display, "follow", interrupted)
    for option in ([], ["--json"]):
        with pytest.raises(SystemExit) as ended, mock.patch.object(sys, "argv", ["run", "follow", "m", *option]):
            main()
        assert ended.value.code == 130
        said = capsys.readouterr()
        assert f"{PROMOTION} goes on. Follow it again: python -m pipelines.run follow m --env aws\n" in said.err
    answer = json.loads(said.out)
    assert answer.pop("error") in said.err
    assert answer == {"execution": PROMOTION, "status": "Executing"}


def test_a_failed_promotion_names_the_command_of_its_own_environment(stage: pytest.MonkeyPatch) -> None:
    _with(stage, _Executions(None, fails=True))
    with pytest.raises(ExecutionError, match=r"python -m pipelines\.run status m --env aws$") as failure:
        follow.follow("m", "aws", as_json=False)
    assert failure.value.facts == {"execution": PROMOTION, "status": "Failed", "production": None}


def _with(stage: pytest.MonkeyPatch, executions: _Executions) -> None:
    stage.setattr(follow, "Executions", lambda environment: executions)
    stage.setattr(following, "Executions", lambda environment: executions)
