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
from pipelines.executions import display
from pipelines.executions.execution import Executions, ExecutionView
from pipelines.next_command import command
from pipelines.released_model import ReleasedModel

_PROMOTION_INTERVAL_S = {"local": 0.3, "aws": 2.0}
_EVENT_TAKES_S = 120.0
"""How long after an approval EventBridge may take to start its execution."""
_CLOCK_SKEW = timedelta(minutes=5)
_LOG_LINES = 15


@dataclass(frozen=True)
class PromotionResult:
    """How a promotion or rollback ended."""

    view: ExecutionView
    production: dict[str, Any] | None
    """promotion.json; None when production was not changed."""


def watch(
    executions: Executions, arn: str, steps: list[str], interval_s: float, *, progress: TextIO, follow_again: str
) -> ExecutionView:
    """Show an execution until it is over.

    Args:
        executions: The pipelines of its environment.
        arn: The execution's.
        steps: Those that are shown before they start.
        interval_s: The pause between two looks. Seconds.
        progress: Where it is shown.
        follow_again: The command line that a person is told after Ctrl-C.

    Returns:
        How it ended.

    Raises:
        Interrupted: Ctrl-C; the execution goes on.
    """
    try:
        return display.follow(executions.follow(arn, interval_s), steps, progress)
    except KeyboardInterrupt:
        raise Interrupted(
            f"no longer following; the execution {arn} goes on. Follow it again: {follow_again}",
            {"execution": arn, "status": "Executing"},
        ) from None


def failure_message(view: ExecutionView, executions: Executions, go_on: str) -> str:
    """Explain why an execution did not succeed: the step, the reason, the end of its log and where the rest is, and `go_on`: what to do next."""
    failed = view.failed
    if failed is None:
        return f"the execution ended as {view.status}: {view.failure or 'no reason was given'}\n{go_on}"
    lines = [f"{failed.name} failed: {failed.failure or view.failure}"]
    if failed.job:
        lines += [f"  | {line}" for line in executions.log_tail(failed.job, _LOG_LINES)]
        lines.append(f"its log: aws logs tail /aws/sagemaker/ProcessingJobs --log-stream-name-prefix {failed.job}/")
    return "\n".join([*lines, go_on])


def follow_promotion(model: ReleasedModel, arn: str, progress: TextIO = sys.stdout) -> PromotionResult:
    """Show a promotion or rollback until it is over. ExecutionError, with the step, the reason and its log, when it did not succeed."""
    executions = Executions(model.environment)
    interval_s = _PROMOTION_INTERVAL_S[model.environment.kind]
    again = command(model.env, "follow", model.name)
    view = watch(executions, arn, PROMOTION_STEPS, interval_s, progress=progress, follow_again=again)
    if view.status != "Succeeded":
        go_on = f"what production serves now: {command(model.env, 'status', model.name)}"
        raise ExecutionError(
            failure_message(view, executions, go_on), {"execution": arn, "status": view.status, "production": None}
        )
    folder = layout.executions(model.environment.bucket, PROMOTION_PIPELINE)
    return PromotionResult(view, executions.read_json(f"{folder}/{arn.rsplit('/', 1)[1]}/promote/{PROMOTION_FILE}"))


def report_promotion(model: ReleasedModel, arn: str, *, as_json: bool) -> None:
    """Follow a promotion or rollback that somebody started before, and print what production serves after it. Errors as of `follow_promotion`."""
    progress = sys.stderr if as_json else sys.stdout
    print(f"{model.name}: execution {arn}", file=progress)
    promotion = follow_promotion(model, arn, progress)
    if as_json:
        print(json.dumps({"execution": arn, "status": promotion.view.status, "production": promotion.production}))
    elif promotion.production:
        print(production_line(promotion.production))


def production_line(promotion: dict[str, Any]) -> str:
    """Say in one line what promotion.json says.

    >>> production_line({"endpoint": "chat", "version": 2, "action": "under_way", "execution": "e1"})
    'production: version 2 of endpoint chat is being promoted by the execution e1'
    """
    endpoint, version, execution = promotion["endpoint"], promotion["version"], promotion.get("execution")
    match promotion["action"]:
        case "under_way":
            return f"production: version {version} of endpoint {endpoint} is being promoted by the execution {execution}"
        case "superseded":
            serving = promotion["previous_version"]
            return f"production: endpoint {endpoint} serves version {serving}; version {version} was promoted before it by {execution}"
        case "unchanged":
            return f"production: endpoint {endpoint} serves version {version}, promoted by the execution {execution}"
        case "retired":
            return f"production: endpoint {endpoint} is out of service"
        case _:
            return f"production: endpoint {endpoint} serves version {version}"


def wait_for_promotion(model: ReleasedModel, model_package: str, since: datetime, *, not_among: set[str]) -> str:
    """Wait for the execution that an approval starts through EventBridge.

    Args:
        model: Whose version was approved.
        model_package: The version's ARN.
        since: When it was approved.
        not_among: ARNs of executions that were there before.

    Returns:
        The execution's ARN.

    Raises:
        ExecutionError: None came in time.
    """
    deadline = time.monotonic() + _EVENT_TAKES_S
    while time.monotonic() < deadline:
        for arn in list_promotions(model, model_package, since - _CLOCK_SKEW):
            if arn not in not_among:
                return arn
        time.sleep(_PROMOTION_INTERVAL_S[model.environment.kind])
    raise ExecutionError(
        f"the approval is made, but no execution of {PROMOTION_PIPELINE} came within {_EVENT_TAKES_S:.0f} s; look at the EventBridge rule "
        "and its dead-letter queue, or start it by hand"
    )


def list_promotions(model: ReleasedModel, model_package: str, since: datetime) -> list[str]:
    """List the executions of the pipeline `promotion` since then that are about this version, newest first: their ARNs."""
    sagemaker = model.sagemaker
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
