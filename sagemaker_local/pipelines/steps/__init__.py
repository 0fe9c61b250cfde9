"""The step types, one function each: ``RUN`` says which function runs a step of which type."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sagemaker_local.pipelines.steps import callback, cleanup, control, for_each, jobs, lambda_step, resources

if TYPE_CHECKING:
    from sagemaker_local.pipelines.steps.base import RunStep

RUN: dict[str, RunStep] = {
    "Condition": control.run_condition,
    "Fail": control.run_fail,
    "Lambda": lambda_step.run,
    "Callback": callback.run,
    "ForEach": for_each.run,
    "Cleanup": cleanup.run,
    "Processing": jobs.run_processing,
    "Training": jobs.run_training,
    "Transform": jobs.run_transform,
    "RegisterModel": resources.run_register_model,
    "Model": resources.run_model,
    "EndpointConfig": resources.run_endpoint_config,
    "Endpoint": resources.run_endpoint,
}
"""Step types not named here exist on AWS but are not emulated: an execution that reaches one fails there, by its name."""
