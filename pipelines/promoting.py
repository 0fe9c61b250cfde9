"""Following an execution of the pipeline `promotion`: what an approval or a rollback led to."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TextIO

from pipelines import layout
from pipelines.errors import ExecutionError
from pipelines.execution import Executions, ExecutionView
from pipelines.subject import Subject
from steps.names import PROMOTION_FILE, PROMOTION_PIPELINE, PROMOTION_STEPS

_FOLLOW_INTERVAL_S = {"local": 0.3, "aws": 2.0}
_EVENT_TAKES_S = 120.0
"""How long after an approval EventBridge may take to start its execution."""
_CLOCKS = timedelta(minutes=5)
_LOG_LINES = 15


@dataclass(frozen=True)
class Ended:
    """How an execution ended."""

    view: ExecutionView
    promotion: dict[str, Any] | None
    """promotion.json; None when production was not changed."""


def follow(about: Subject, arn: str, progress: TextIO = sys.stdout) -> Ended:
    """Show the execution until it is over. ExecutionError, with the step, the reason and its log, when it did not succeed."""
    from pipelines import display

    executions = Executions(about.environment)
    try:
        view = display.follow(executions.follow(arn, _FOLLOW_INTERVAL_S[about.environment.kind]), PROMOTION_STEPS, progress)
    except KeyboardInterrupt:
        again = f"python -m pipelines.run follow {about.name}" + (
            "" if about.environment.kind == "local" else " --env ENVIRONMENT"
        )
        print(f"\nno longer following; the execution {arn} goes on. Follow it again: {again}", file=sys.stderr)
        sys.exit(130)
    if view.status != "Succeeded":
        raise ExecutionError(_failure(about, view, executions))
    folder = layout.executions(about.environment.bucket, PROMOTION_PIPELINE)
    return Ended(view, executions.read_json(f"{folder}/{arn.rsplit('/', 1)[1]}/promote/{PROMOTION_FILE}"))


def show(about: Subject, arn: str, *, as_json: bool) -> None:
    """Follow an execution that somebody started before, and say what production serves after it. Errors as of `follow`."""
    progress = sys.stderr if as_json else sys.stdout
    print(f"{about.name}: execution {arn}", file=progress)
    ended = follow(about, arn, progress)
    if as_json:
        print(json.dumps({"execution": arn, "status": ended.view.status, "production": ended.promotion}))
    elif ended.promotion:
        print(f"production: endpoint {ended.promotion['endpoint']} serves version {ended.promotion['version']}")


def started_by_event(about: Subject, model_package: str, since: datetime, *, not_among: set[str]) -> str:
    """The execution that an approval at `since` started for this version. ExecutionError when none comes."""
    deadline = time.monotonic() + _EVENT_TAKES_S
    while time.monotonic() < deadline:
        for arn in executions_for(about, model_package, since - _CLOCKS):
            if arn not in not_among:
                return arn
        time.sleep(_FOLLOW_INTERVAL_S[about.environment.kind])
    raise ExecutionError(
        f"the approval is made, but no execution of {PROMOTION_PIPELINE} came within {_EVENT_TAKES_S:.0f} s; look at the EventBridge rule "
        "and its dead-letter queue, or start it by hand"
    )


def executions_for(about: Subject, model_package: str, since: datetime) -> list[str]:
    """The executions of the promotion pipeline since then that are about this version, newest first."""
    sagemaker = about.sagemaker
    try:
        listed = sagemaker.list_pipeline_executions(
            PipelineName=PROMOTION_PIPELINE, CreatedAfter=since, SortBy="CreationTime", SortOrder="Descending", MaxResults=20
        )["PipelineExecutionSummaries"]
    except sagemaker.exceptions.ResourceNotFound:
        return []
    found = []
    for arn in (execution["PipelineExecutionArn"] for execution in listed):
        given = sagemaker.list_pipeline_parameters_for_execution(PipelineExecutionArn=arn)["PipelineParameters"]
        if {"Name": "ModelPackageArn", "Value": model_package} in given:
            found.append(arn)
    return found


def _failure(about: Subject, view: ExecutionView, executions: Executions) -> str:
    failed = next((step for step in view.steps if step.status == "Failed"), None)
    if failed is None:
        return f"the execution ended as {view.status}: {view.failure or 'no reason was given'}"
    log = [f"  | {line}" for line in executions.log_tail(failed.job, _LOG_LINES)] if failed.job else []
    return "\n".join(
        [
            f"{failed.name} failed: {failed.failure or view.failure}",
            *log,
            f"what production serves now: python -m pipelines.run status {about.name}",
        ]
    )
