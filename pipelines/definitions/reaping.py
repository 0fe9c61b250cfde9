"""The definition of the pipeline `reap`: one job, Reap, which deletes what has outlived its run.

An hourly EventBridge rule starts it; infra/delivery.yaml has the rule. It is a pipeline and not a function, so that it runs in the steps
image like everything else and fails where everything else fails: in a job with a log, and in the rule for failed executions.
"""

from __future__ import annotations

from config.environment import Environment
from delivery.names import EXECUTION_TAG, REAP_PIPELINE
from pipelines.definitions import layout, requests
from pipelines.definitions.sdk import (
    ExecutionVariables,
    Join,
    ParameterString,
    Pipeline,
    Processing,
    offline_pipeline,
)

_MAX_RUNTIME_S = 3600  # it waits up to half an hour for endpoints that are changing; the next pass begins after an hour
_EXECUTION = ExecutionVariables.PIPELINE_EXECUTION_ID


def build(environment: Environment) -> Pipeline | None:
    """Build the reaper's pipeline; None where the environment has no role for it. Pure; `.definition()` gives the JSON."""
    if environment.roles.reap is None:
        return None
    image = ParameterString("StepsImage", default_value=environment.images.steps)
    instance_type = ParameterString("ControlInstanceType", default_value=environment.job_instance_types.control)
    reap = Processing(
        "Reap",
        requests.processing_job(
            environment,
            step="reap",
            role=environment.roles.reap,
            image=image,
            instance_type=instance_type,
            arguments=["--region", environment.region],
            inputs={},
            output=Join(on="/", values=[layout.executions(environment.bucket, REAP_PIPELINE), _EXECUTION, "reap"]),
            max_runtime_s=_MAX_RUNTIME_S,
            tags={EXECUTION_TAG: _EXECUTION},
        ),
        description="Delete the endpoints, endpoint configs and models that have outlived their run",
    )
    return offline_pipeline(REAP_PIPELINE, environment.region, [image, instance_type], [reap])
