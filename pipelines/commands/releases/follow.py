"""`follow`: the model's newest release, or the evaluation, promotion or rollback that came after it, shown to its end."""

from __future__ import annotations

from delivery.names import EVALUATION_STEPS, PROMOTION_PIPELINE, evaluation_pipeline_name, pipeline_name
from pipelines.commands.releases.release import follow_release
from pipelines.errors import UsageError
from pipelines.executions import following
from pipelines.executions.execution import Executions
from pipelines.next_command import command
from pipelines.released_model import open_model
from pipelines.resolution import attach, resolve
from pipelines.status.model_status import executions_under_way


def follow(model: str, env: str, *, as_json: bool) -> None:
    """Follow the newest release to its end, or the evaluation, promotion or rollback that came after it, while that is under way.

    Raises:
        UsageError: The model was never released here.
        ExecutionError: The execution failed.
        Interrupted: Ctrl-C; the execution goes on.
    """
    resolved = resolve(model, env)
    attach(resolved.environment)
    executions = Executions(resolved.environment)
    arn = executions.newest(pipeline_name(resolved.name))
    if arn is None or executions.view(arn).is_over:
        released = open_model(model, env)
        under_way = {one.pipeline: one.arn for one in executions_under_way(released)}
        if evaluation := under_way.get(evaluation_pipeline_name(resolved.name)):
            follow_release(model, env, resolved, executions, evaluation, as_json=as_json, steps=EVALUATION_STEPS)
            return
        if promotion := under_way.get(PROMOTION_PIPELINE):
            following.report_promotion(released, promotion, as_json=as_json)
            return
    if arn is None:
        raise UsageError(f"{resolved.name} was never released here; release it: {command(env, model)}")
    follow_release(model, env, resolved, executions, arn, as_json=as_json)
