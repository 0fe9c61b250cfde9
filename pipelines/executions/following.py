"""Following an execution until it is over: a release's, or one of the pipeline `promotion` after an approval or a rollback."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TextIO

from delivery.names import PROMOTION_FILE, PROMOTION_PIPELINE, PROMOTION_STEPS
from pipelines.definitions import layout
from pipelines.errors import ExecutionError, Interrupted
from pipelines.executions.execution import Executions, ExecutionView
from pipelines.next_command import command
from pipelines.released_model import ReleasedModel

_PROMOTION_INTERVAL_S = {"local": 0.3, "aws": 2.0}
_EVENT_TAKES_S = 120.0
"""How long after an approval EventBridge may take to start its execution."""
_CLOCKS = timedelta(minutes=5)
_LOG_LINES = 15


@dataclass(frozen=True)
class Ended:
    """How a promotion or rollback ended."""

    view: ExecutionView
    promotion: dict[str, Any] | None
    """promotion.json; None when production was not changed."""


def watch(
    executions: Executions, arn: str, steps: list[str], interval_s: float, *, progress: TextIO, follow_again: str
) -> ExecutionView:
    """Show an execution until it is over; returns how it ended. `steps` are those that are shown before they start.

    Ctrl-C is Interrupted and leaves the execution alone; `follow_again` is the command line that it names then.
    """
    from pipelines.executions import display

    try:
        return display.follow(executions.follow(arn, interval_s), steps, progress)
    except KeyboardInterrupt:
        raise Interrupted(
            f"no longer following; the execution {arn} goes on. Follow it again: {follow_again}",
            {"execution": arn, "status": "Executing"},
        ) from None


def failure(view: ExecutionView, executions: Executions, go_on: str) -> str:
    """Why an execution did not succeed: the step, the reason, the end of its log and where the rest is, and `go_on`: what to do next."""
    failed = view.failed
    if failed is None:
        return f"the execution ended as {view.status}: {view.failure or 'no reason was given'}\n{go_on}"
    lines = [f"{failed.name} failed: {failed.failure or view.failure}"]
    if failed.job:
        lines += [f"  | {line}" for line in executions.log_tail(failed.job, _LOG_LINES)]
        lines.append(f"its log: aws logs tail /aws/sagemaker/ProcessingJobs --log-stream-name-prefix {failed.job}/")
    return "\n".join([*lines, go_on])


def promotion(about: ReleasedModel, arn: str, progress: TextIO = sys.stdout) -> Ended:
    """Show a promotion or rollback until it is over. ExecutionError, with the step, the reason and its log, when it did not succeed."""
    executions = Executions(about.environment)
    interval_s = _PROMOTION_INTERVAL_S[about.environment.kind]
    again = command(about.env, "follow", about.name)
    view = watch(executions, arn, PROMOTION_STEPS, interval_s, progress=progress, follow_again=again)
    if view.status != "Succeeded":
        go_on = f"what production serves now: {command(about.env, 'status', about.name)}"
        raise ExecutionError(failure(view, executions, go_on), {"execution": arn, "status": view.status, "production": None})
    folder = layout.executions(about.environment.bucket, PROMOTION_PIPELINE)
    return Ended(view, executions.read_json(f"{folder}/{arn.rsplit('/', 1)[1]}/promote/{PROMOTION_FILE}"))


def show_promotion(about: ReleasedModel, arn: str, *, as_json: bool) -> None:
    """Follow a promotion or rollback that somebody started before, and say what production serves after it. Errors as of `promotion`."""
    progress = sys.stderr if as_json else sys.stdout
    print(f"{about.name}: execution {arn}", file=progress)
    ended = promotion(about, arn, progress)
    if as_json:
        print(json.dumps({"execution": arn, "status": ended.view.status, "production": ended.promotion}))
    elif ended.promotion:
        print(f"production: endpoint {ended.promotion['endpoint']} serves version {ended.promotion['version']}")


def started_by_event(about: ReleasedModel, model_package: str, since: datetime, *, not_among: set[str]) -> str:
    """The execution that an approval at `since` started for this version. ExecutionError when none comes."""
    deadline = time.monotonic() + _EVENT_TAKES_S
    while time.monotonic() < deadline:
        for arn in promotions_of(about, model_package, since - _CLOCKS):
            if arn not in not_among:
                return arn
        time.sleep(_PROMOTION_INTERVAL_S[about.environment.kind])
    raise ExecutionError(
        f"the approval is made, but no execution of {PROMOTION_PIPELINE} came within {_EVENT_TAKES_S:.0f} s; look at the EventBridge rule "
        "and its dead-letter queue, or start it by hand"
    )


def promotions_of(about: ReleasedModel, model_package: str, since: datetime) -> list[str]:
    """The executions of the pipeline `promotion` since then that are about this version, newest first."""
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
