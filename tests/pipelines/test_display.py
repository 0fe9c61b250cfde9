"""What a person sees of an execution where there is no terminal."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

from pipelines.executions.display import follow
from pipelines.executions.execution import ExecutionView, StepView

START = datetime(2026, 1, 1, tzinfo=UTC)


def view(status: str, **steps: str) -> ExecutionView:
    shown = [
        StepView(name, state, started=START, ended=START + timedelta(seconds=75), detail="98.4 MB, 120 MB/s")
        for name, state in steps.items()
    ]
    return ExecutionView("arn:aws:sagemaker:us-east-1:1:pipeline/p/execution/e", status, steps=shown)


def test_a_line_when_a_step_changes_and_none_when_it_does_not() -> None:
    stream = io.StringIO()
    views = [
        view("Executing", FetchWeights="Executing"),
        view("Executing", FetchWeights="Executing"),
        view("Succeeded", FetchWeights="Succeeded"),
    ]
    last = follow(iter(views), ["FetchWeights"], stream)
    assert last.status == "Succeeded"
    lines = stream.getvalue().splitlines()
    assert [line.split()[2] for line in lines] == ["Executing", "Succeeded"]
    assert "1 min 15 s" in lines[-1]
    assert "98.4 MB, 120 MB/s" in lines[-1]
