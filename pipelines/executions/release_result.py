"""What a release led to: what is in production now, how to call it, where the report is."""

from __future__ import annotations

import json
import os
from typing import Any

from config.schema import Release
from delivery.names import EVALUATION_FILE, PROMOTION_FILE, REPORT_PAGE
from pipelines.definitions import layout
from pipelines.executions import following
from pipelines.executions.execution import Executions, ExecutionView
from pipelines.next_command import command

_EXAMPLE = json.dumps(
    {"messages": [{"role": "user", "content": "Which city is the capital of France?"}], "max_tokens": 32, "temperature": 0}
)


def release_result(release: Release, env: str, view: ExecutionView, executions: Executions) -> tuple[dict[str, Any], str]:
    """Read what a release led to.

    Args:
        release: What was released.
        env: The environment's name as it was given to the command.
        view: Its execution, which is over.
        executions: The pipelines of that environment.

    Returns:
        The facts for `--json`, and the same as text for a person.
    """
    execution = view.arn.rsplit("/", 1)[1]
    report = f"{release.evaluations_prefix}/{execution}/{EVALUATION_FILE}"
    evaluation = executions.read_json(report)
    folder = layout.executions(release.environment.bucket, view.arn.split("/")[1])
    promotion = executions.read_json(f"{folder}/{execution}/promote/{PROMOTION_FILE}")
    facts = {
        "execution": view.arn,
        "status": view.status,
        "steps": {
            step.name: {"status": step.status, "seconds": round(step.elapsed_s, 3), "detail": step.detail} for step in view.steps
        },
        "evaluation": evaluation and {"verdict": evaluation["verdict"], "summary": evaluation["summary"], "report": report},
        "production": promotion,
    }
    lines = []
    if evaluation:
        lines += [
            f"gate: {evaluation['verdict']} — {evaluation['summary']}",
            *_report_lines(release, env, report, evaluation),
            *(f"not done: {line}" for line in evaluation.get("not_done", [])),
        ]
    if promotion:
        lines += [following.production_line(promotion), *_call_lines(release)]
    elif view.status == "Succeeded":
        lines += _approval_lines(release, env, evaluation)
    return facts, "\n".join(lines)


def _report_lines(release: Release, env: str, report: str, evaluation: dict[str, Any]) -> list[str]:
    page = f"{report.rsplit('/', 1)[0]}/{REPORT_PAGE}"
    return [f"report: {page}", f"  {command(env, 'report', release.name, evaluation['version'])}   (brings it here)"]


def _call_lines(release: Release) -> list[str]:
    endpoint, region = release.model.production.endpoint, release.environment.region
    if release.environment.kind == "local":
        url = f"{os.environ['AWS_ENDPOINT_URL']}/endpoints/{endpoint}/openai/v1/chat/completions"
        return ["call it:", f"  curl -s {url} -H 'Content-Type: application/json' -d '{_EXAMPLE}'"]
    return [
        "call it:",
        f"  aws sagemaker-runtime invoke-endpoint --region {region} --endpoint-name {endpoint} --content-type application/json \\",
        f"    --cli-binary-format raw-in-base64-out --body '{_EXAMPLE}' /dev/stdout",
    ]


def _approval_lines(release: Release, env: str, evaluation: dict[str, Any] | None) -> list[str]:
    number = evaluation["version"] if evaluation else "VERSION"
    return [
        f"version {number} passed and waits for a person: approve it in the Model Registry, and the pipeline `promotion` promotes it:",
        f"  {command(env, 'approve', release.name, number, '--comment', 'WHY')}",
    ]
